"""Named regions of work, for those who measure: `with region("synthesis"): ...` costs next to nothing unless somebody
listens, and needs no library.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

Listener = Callable[[str], AbstractContextManager[None]]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def region(name: str) -> AbstractContextManager[None]:
    """Work of this name happens inside."""
    listener = _listener.get()
    return nullcontext() if listener is None else listener(name)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Hand every region that this thread enters inside to `listener`, which gives what surrounds it."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
