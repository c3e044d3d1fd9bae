"""One process or many: which part of the work is whose, and waiting for one another. They share the output folder."""

import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Processes(NamedTuple):
    """This process among `total`; `wait` returns when every process has called it; `device` is the one to use."""

    rank: int
    total: int
    wait: Callable[[], None]
    device: str

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[T]) -> list[T]:
        """This process's part of a list of work, every total-th item."""
        return list(items[self.rank :: self.total])


def join(device: str) -> Processes:
    """The processes that `accelerate launch` or torchrun started, or this one alone.

    device is "auto", "cpu" or "cuda"; with several processes each takes its own GPU, where there are any.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return Processes(0, 1, lambda: None, device)
    import torch
    from accelerate import PartialState

    # Work is shared out beforehand, so the quickest process may wait for hours.
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    state = PartialState(cpu=on_cpu, timeout=timedelta(days=7))
    return Processes(state.process_index, state.num_processes, state.wait_for_everyone, str(state.device))
