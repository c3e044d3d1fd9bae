"""Calls from within compiled functions: torch.compile must not trace what decides integers, it runs as it stands."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

P = ParamSpec("P")
T = TypeVar("T")


def eager(function: Callable[P, T]) -> Callable[P, T]:
    """The function as it is, never traced by torch.compile; imports no torch where there was none."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if "torch._dynamo" not in sys.modules:  # nothing is being compiled
            return function(*args, **kwargs)
        return cast(T, sys.modules["torch"].compiler.disable(function)(*args, **kwargs))

    vars(call)["_torchdynamo_disable"] = True  # what torch.compiler.disable leaves on its functions
    return call
