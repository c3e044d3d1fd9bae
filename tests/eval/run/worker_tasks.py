"""What the workers of test_workers.py do; a module of its own, for they import it."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def prepare(number: int) -> tuple[str, Callable[[Any], Any]]:
    def do(task: int) -> int:
        if task == 13:
            os.abort()
        if task == 99:
            raise ValueError("ninety-nine is wrong")
        return task * task

    return f"worker {number}", do


def prepare_to_wait(pid: str, number: int) -> tuple[None, Callable[[Any], None]]:
    def do(task: Any) -> None:
        Path(pid).write_text(str(os.getpid()))
        time.sleep(60)

    return None, do


def unfit(number: int) -> tuple[None, Callable[[Any], Any]]:
    os.abort()
