"""Some thousands of mutants in every run of the tests; `fuzz.py` says how to try millions."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # as for the script

from fuzz import fuzz


@pytest.mark.parametrize(("target", "inputs"), [("header", 3000), ("file", 1000), ("model", 150)])
def test_mutants_end_in_what_is_documented(target: str, inputs: int) -> None:
    result = fuzz(target, seed=1, first=0, inputs=inputs)
    assert not result.found, "\n".join(f"input {found.number}: {found.what}" for found in result.found[:3])
    assert result.counts.total() == inputs
    assert len(result.counts) > 5, "the mutants all end alike: nothing behind that is tried"


def test_an_input_is_found_again_by_its_number() -> None:
    a = fuzz("header", seed=2, first=0, inputs=40).counts
    b = fuzz("header", seed=2, first=0, inputs=25).counts + fuzz("header", seed=2, first=25, inputs=15).counts
    assert a == b
