"""Running out of memory, said in the caller's own kind of error and with the size that asked for it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

_OUT_OF_MEMORY = re.compile(
    r"out of memory|can(no|')t allocate memory|failed to allocate|unable to allocate|DefaultCPUAllocator|bad[_ ]alloc|"
    r"ALLOC_FAILED|failed to map segment",
    re.IGNORECASE,
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is Python's, torch's or another library's way of saying that memory has run out."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


@contextmanager
def memory_for(width: int, height: int, kind: type[ValueError]) -> Iterator[None]:
    """Turn running out of memory over an image of width x height pixels into an error of `kind`."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise kind(f"not enough memory for an image of {width}x{height} pixels") from error
