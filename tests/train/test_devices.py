"""What the hardware decides."""

import pytest
import torch

from gencomp.train import devices
from gencomp.train.devices import accumulator, peak_memory_gib, precision_of

CPU = torch.device("cpu")


@pytest.mark.parametrize(("multiplies", "precision"), [(True, "bf16"), (False, "no")])
def test_auto_is_bf16_only_where_the_processor_has_it(
    multiplies: bool, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda device: multiplies)
    assert precision_of("auto", CPU) == precision
    assert precision_of("bf16", CPU) == "bf16"
    assert precision_of("no", CPU) == "no"


def test_apples_gpus_sum_in_float32_and_multiply_in_float32() -> None:
    assert accumulator(torch.device("mps")) == torch.float32
    assert accumulator(CPU) == torch.float64
    assert precision_of("auto", torch.device("mps")) == "no"


def test_memory_is_that_of_this_process() -> None:
    assert 0.05 < peak_memory_gib(CPU) < 64
