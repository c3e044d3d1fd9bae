"""What the hardware decides: number formats that it has, and memory in use."""

from typing import Literal

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from gencomp import machine
from gencomp.runtime.torch import multiplies_bfloat16

Precision = Literal["no", "bf16", "fp16"]


def own_device() -> torch.device:
    """The device that Accelerate gives this process: known before its precision, which cannot be changed, is chosen."""
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU")).device


def precision_of(wanted: str, device: torch.device) -> Precision:
    """The precision that `wanted` (Recipe.precision) means on this device.

    "auto": bf16 where the hardware multiplies it (a GPU, or a CPU with AVX-512 BF16 or AMX; without them it is emulated
    and several times slower than float32), fp16 on older GPUs, else float32 ("no").
    """
    if wanted != "auto":
        return wanted  # type: ignore[return-value]
    if device.type == "cuda":
        return "bf16" if multiplies_bfloat16(device) else "fp16"
    return "bf16" if multiplies_bfloat16(device) else "no"


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory: of the device where there is one, else of this process; 0 where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    if device.type == "mps":
        return torch.mps.driver_allocated_memory() / 2**30
    return (machine.peak_memory() or 0) / 2**30
