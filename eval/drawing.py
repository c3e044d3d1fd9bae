"""Figures under matplotlib's own settings, whoever draws them."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def plainly(draw: Callable[P, T]) -> Callable[P, T]:
    """The function without what a `matplotlibrc` says, which matplotlib reads in the working folder before any other:
    among photographs it may be anybody's."""

    @functools.wraps(draw)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        from matplotlib import rc_context, rcParamsDefault

        with rc_context(rcParamsDefault):
            return draw(*args, **kwargs)

    return call
