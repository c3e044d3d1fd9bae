"""From what the user names to what is done: inputs, outputs and the codec, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gencomp.cli.group import WrongUsage
from gencomp.files import NamingError, Plan, find_inputs, plan_outputs

if TYPE_CHECKING:
    from gencomp.codec import Codec


def plan(paths: Sequence[Path], suffixes: frozenset[str], output: str | None, suffix: str) -> Plan:
    try:
        return plan_outputs(paths, find_inputs(paths, suffixes), output, suffix)
    except NamingError as error:
        raise WrongUsage(str(error)) from error


def make_folder(planned: Plan) -> None:
    if planned.folder is not None:
        planned.folder.mkdir(parents=True, exist_ok=True)


def load_codec(model: str | None, device: str) -> Codec:
    """The codec of a model named as the user does. Imports torch: --help and info answer without."""
    from gencomp import codec

    return codec.load(model, device=device)
