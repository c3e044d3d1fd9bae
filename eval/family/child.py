"""A command of gencomp in a process of its own that does not outlive this one: `python -m gencomp.eval.family.child`.

The parent holds the other end of the child's standard input. When the parent is gone, killed as it may be, the input
ends and so does the child: no orphan writes into a run that the same command goes on with.
"""

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from gencomp.processes import python

STOP_SECONDS = 60.0


class ChildError(RuntimeError):
    """A command that failed; the message is its own last line."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def started(arguments: Sequence[str], output: Path, threads: int) -> Iterator[subprocess.Popen[bytes]]:
    """`gencomp ARGUMENTS`, all that it says written to `output`; stopped when the block is left.

    threads: of the numerical libraries, unless OMP_NUM_THREADS says otherwise.
    """
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("wb") as file:
        command = python("-m", __name__, *arguments)
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, stderr=file, env=environment)
        try:
            yield process
        finally:
            process.terminate()  # a training run saves where it stands
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def finished(process: "subprocess.Popen[bytes]", output: Path) -> bool:
    """Whether a child has ended well; ChildError where it has ended otherwise."""
    status = process.poll()
    if status:
        lines = [line for line in output.read_text("utf-8", "replace").split("\n") if line.strip()]
        last = lines[-1].split("\r")[-1].strip() if lines else f"status {status}"
        raise ChildError(last.removeprefix("Error: "), status)
    return status == 0


def call(arguments: Sequence[str], output: Path, threads: int) -> str:
    """What a command says, when it has ended; ChildError."""
    with started(arguments, output, threads) as process:
        process.wait()
        finished(process, output)
    return output.read_text("utf-8", "replace")


def _end_with_parent() -> None:
    while os.read(0, 1):  # not through sys.stdin, whose lock this thread would hold at the interpreter's end
        pass
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from gencomp.cli.main import main

    main(prog_name="gencomp")
