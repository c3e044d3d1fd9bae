"""The parts of a report that can be made side by side, each a call of its own."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Step(NamedTuple):
    """A call that can be sent to a process: an importable function with plain arguments. label: what it makes."""

    label: str
    call: Callable[[], Any]


Run = Callable[[Sequence[Step]], list[Any]]  # what each step returned, in their order


def in_turn(steps: Sequence[Step]) -> list[Any]:
    """All steps here, one after the other."""
    return [step.call() for step in steps]
