"""What computes the measures of single pictures; where their weights or packages are absent, why they are not."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gencomp.perceptual import WeightsError

from . import fidelity, networks, realism
from .table import SET_MEASURES


class Meter(NamedTuple):
    """What computes one or several columns for one pair of pictures (1, 3, H, W) in [0, 1], original first."""

    columns: tuple[str, ...]
    measure: Callable[[Tensor, Tensor], tuple[float, ...]]


def reason(error: WeightsError) -> str:
    """Which file is wanted, or what is wrong with the one that stands under its name; without the remedy."""
    return str(error).partition(":")[0]


def one(function: Callable[[Tensor, Tensor], float]) -> Callable[[Tensor, Tensor], tuple[float, ...]]:
    """A measure of one number as a meter's function."""
    return lambda x, y: (function(x, y),)


def meters(
    names: Sequence[str], weights: Path | None = None, device: str = "cpu"
) -> tuple[list[Meter], dict[str, str]]:
    """Meters of the named measures of single pictures, and by name why others are not measured."""
    where = torch.device(device)
    make: dict[str, Callable[[], Meter]] = {
        "psnr": lambda: Meter(("psnr",), one(fidelity.psnr)),
        "ssim": lambda: Meter(("ssim",), one(fidelity.ssim)),
        "ms_ssim": lambda: Meter(("ms_ssim",), one(fidelity.ms_ssim)),
        "lpips_alex": lambda: Meter(("lpips_alex",), one(networks.lpips("alex", weights, where))),
        "lpips_vgg": lambda: Meter(("lpips_vgg",), one(networks.lpips("vgg", weights, where))),
        "dists": lambda: Meter(("dists",), one(networks.dists(weights, where))),
        "nlpd": lambda: Meter(("nlpd",), one(fidelity.nlpd)),
        "gmsd": lambda: Meter(("gmsd",), one(fidelity.gmsd)),
        "haarpsi": lambda: Meter(("haarpsi",), one(fidelity.haarpsi)),
        "band_energy": lambda: Meter(("band_energy", "band_energy_2", "band_energy_3"), realism.band_energy),
        "regular_grain": lambda: Meter(("regular_grain",), one(realism.regular_grain)),
        "texture_error": lambda: Meter(("texture_error",), one(realism.texture_error)),
        "wasserstein": lambda: Meter(("wasserstein",), one(realism.wasserstein)),
    }
    ready, absent = [], {}
    for name in names:
        if name in SET_MEASURES:
            continue
        try:
            ready.append(make[name]())
        except WeightsError as error:
            absent[name] = f"not measured: {reason(error)}"
        except ImportError as error:
            absent[name] = f"not measured: needs {error.name}: pip install 'gencomp[metrics]'"
    return ready, absent
