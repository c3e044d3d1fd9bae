"""Runs on several processes, and runs that are killed (see scenarios.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCENARIOS = Path(__file__).with_name("scenarios.py")


def play(*arguments: object) -> dict[str, Any]:
    """Run one scenario in its own program and read its report."""
    command = [sys.executable, str(SCENARIOS), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-2000:]
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert not any(report["statuses"]), done.stderr[-2000:]
    return report


def test_two_processes_and_accumulation_give_the_losses_of_one(photographs: Path, tmp_path: Path) -> None:
    """Both stages, every loss of every step, to float accuracy."""
    report = play("equal", photographs, tmp_path, 2)
    for kind in ("processes", "accumulated"):
        assert report[kind]["lines"] == 24
        assert report[kind]["largest_relative_log_difference"] < 1e-4
        assert report[kind]["largest_difference"] < 1e-2  # of any weight or moment


@pytest.mark.parametrize(("processes", "kills"), [(1, 3), (2, 1)])
def test_killed_run_ends_bit_identical(photographs: Path, tmp_path: Path, processes: int, kills: int) -> None:
    """`scenarios.py kill ... 10` does it ten times over."""
    report = play("kill", photographs, tmp_path, processes, kills)
    assert report["identical"]
    assert report["logs_identical"]
    assert report["resumed"] == kills
