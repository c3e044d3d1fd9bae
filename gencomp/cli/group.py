"""The group of verbs behind the command: verbs by entry point, and errors in one line.

Packages bring verbs by the entry-point group `gencomp.commands`, so that the codec imports none of them; an entry point
names the extra that its verb needs ("module:verb [extra]"). A verb that cannot be loaded stays in the list and says
why. Whatever a verb raises becomes one line on stderr and exit status 1; with GENCOMP_DEBUG=1 in the environment the
traceback is shown instead.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from gencomp.files import shown
from gencomp.machine import is_out_of_memory
from gencomp.processes import guarded

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_DISTRIBUTION_OF = {"skimage": "scikit-image"}  # where the importable name is not the one that is installed


class WrongUsage(click.ClickException):
    """A command that cannot be meant as it was given; nothing has been done. One line, status 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(shown(message))


class Verbs(click.Group):
    """A click group with the verbs of other packages in it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        others = {name: self.get_command(ctx, name) for name in sorted(_entry_points().keys() - self.commands.keys())}
        return [*self.commands, *sorted(others, key=lambda name: isinstance(others[name], _Unavailable))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is None and (entry_point := _entry_points().get(cmd_name)):
            command = _load(entry_point)
        return command

    def main(self, *args: Any, **extra: Any) -> Any:
        open_streams()
        try:
            with guarded():
                return super().main(*args, **extra)
        except OSError as error:  # of the standard output: --help on a full disk
            if debugging() or not extra.get("standalone_mode", True):
                raise
            click.echo(f"Error: {explain(error)}", err=True)
            sys.exit(1)
        finally:
            _settle_output()

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except KeyboardInterrupt:  # while verbs are imported for --help
            click.echo("Interrupted", err=True)
            raise click.exceptions.Exit(130) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:  # click's own name what was typed
            vars(error)["message"] = "\n".join(map(shown, error.message.split("\n")))
            raise
        except (click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted", err=True)
            ctx.exit(130)
        except Exception as error:
            if debugging():
                raise
            extras = getattr(_entry_points().get(ctx.invoked_subcommand or ""), "extras", [])
            raise click.ClickException(explain(error, *extras[:1])) from error


def open_streams() -> None:
    """Give this process the standard streams that a service, cron or `>&-` has closed, which Python then calls None.
    They lead nowhere. Their numbers are taken, too, or the next file that is opened would be what others print to."""
    for number, (name, mode) in enumerate({"stdin": "r", "stdout": "w", "stderr": "w"}.items()):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                try:
                    os.fstat(number)
                except OSError:
                    os.dup2(os.open(os.devnull, os.O_RDWR), number)
                    os.set_inheritable(number, True)
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for as long as it lives


def _settle_output() -> None:
    """Let what cannot be written any more go nowhere, or Python complains of it once again at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def debugging() -> bool:
    return os.environ.get("GENCOMP_DEBUG", "0") not in {"", "0"}


def explain(error: BaseException, extra: str | None = None) -> str:
    """What went wrong, in one line without a traceback. extra: what installs all that the verb at hand needs."""
    text = shown(" ".join(str(error).split()))
    if is_out_of_memory(error):
        return "not enough memory" + (f" ({text})" if text else "")
    if isinstance(error, OSError) and error.strerror:
        return f"{shown(error.filename)}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _missing(error.name, extra)
    if isinstance(error, (ValueError, OSError)) and text:  # ours, or of a library that says what it wants
        return text
    return f"{type(error).__name__}: {text} (unexpected; GENCOMP_DEBUG=1 shows where)"


def _entry_points() -> dict[str, EntryPoint]:
    from importlib import metadata  # slow to import, and only needed for verbs that are not the codec's own

    return {entry_point.name: entry_point for entry_point in metadata.entry_points(group="gencomp.commands")}


def _load(entry_point: EntryPoint) -> click.Command:
    try:
        command = entry_point.load()
        if not isinstance(command, click.Command):
            raise TypeError(f"{entry_point.value} is no command")
        return command
    except Exception as error:
        if debugging():
            raise
        return _Unavailable(entry_point.name, explain(error, *entry_point.extras[:1]))


class _Unavailable(click.Command):
    """Stands in for a verb that cannot be loaded, and says so whatever its arguments."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, add_help_option=False, short_help=f"(not available: {reason})")
        self.reason = reason

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        raise click.ClickException(f"{self.name} is not available: {self.reason}")


def _missing(module: str, extra: str | None) -> str:
    package = module.partition(".")[0]
    if package == "gencomp":
        return f"this installation lacks {module}"
    distribution = _DISTRIBUTION_OF.get(package, package)
    extra = extra or _extra_of(distribution)
    return f"{distribution} is not installed: pip install " + (f"'gencomp[{extra}]'" if extra else distribution)


def _extra_of(distribution: str) -> str | None:
    """The extra of gencomp that installs a distribution, by the package's own metadata."""
    from importlib import metadata

    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    try:
        requirements = metadata.requires("gencomp") or []
    except metadata.PackageNotFoundError:
        return None
    for requirement in requirements:
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"""extra == ["']([\w-]+)["']""", requirement)
        if name and extra and plain(name[0]) == plain(distribution):
            return extra[1]
    return None
