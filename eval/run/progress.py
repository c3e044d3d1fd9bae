"""How far a run is: a bar with the time left on a terminal, a line now and then elsewhere, nothing when quiet."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
SECONDS_BETWEEN_LINES = 5.0


def shown(
    items: Iterable[T], total: int, what: str, quiet: bool, label: Callable[[T], str], write: Callable[[str], None]
) -> Iterator[T]:
    """The items as they come, each reported when it is done; the last line always."""
    if quiet or not total:
        yield from items
        return
    if sys.stderr.isatty():
        from tqdm import tqdm

        with tqdm(total=total, desc=what, unit="", dynamic_ncols=True) as bar:
            for item in items:
                bar.set_postfix_str(label(item), refresh=False)
                bar.update()
                yield item
        return
    start = said = time.monotonic()
    for done, item in enumerate(items, 1):
        now = time.monotonic()
        if done == total or now - said >= SECONDS_BETWEEN_LINES:
            left = (now - start) / done * (total - done)
            write(f"{what}: {done} of {total}, {label(item)}" + (f", {duration(left)} left" if done < total else ""))
            said = now
        yield item


def duration(seconds: float) -> str:
    """Seconds for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
