"""One process or many: which part of the work is whose, and waiting for one another. They share the output folder."""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Processes(NamedTuple):
    """This process among `count`; `wait` returns when every process has called it; `device` is the one to use."""

    rank: int
    count: int
    wait: Callable[[], None]
    device: str

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of a list of work, every count-th item."""
        return list(items[self.rank :: self.count])


def join(device: str) -> Processes:
    """The processes that `accelerate launch` or torchrun started, or this one alone.

    device is "auto", "cpu" or "cuda"; with several processes each takes its own GPU, where there are any.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes(0, 1, lambda: None, device)
    from accelerate import PartialState

    # Work is shared out beforehand, so the quickest process may wait for hours.
    state = PartialState(cpu=device == "cpu" or None, timeout=timedelta(days=7))
    mine = str(state.device) if state.device.type == "cuda" and device != "cpu" else "cpu"
    return Processes(state.process_index, state.num_processes, state.wait_for_everyone, mine)
