"""Every measure that the suite knows: what it is called, which way is better, how it is defined, what computes it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gencomp.eval import fidelity, networks, realism
from gencomp.perceptual import WeightsError

Better = Literal["more", "less", "one"]


class Metric(NamedTuple):
    """A column of the results. `better`: more, less, or nearer to one; `definition` is all that a number depends on."""

    name: str
    label: str
    better: Better
    unit: str
    definition: str


class Meter(NamedTuple):
    """What computes one or several columns for one pair of pictures (1, 3, H, W) in [0, 1], original first."""

    columns: tuple[str, ...]
    measure: Callable[[Tensor, Tensor], tuple[float, ...]]


_SWD = "7x7 patches on a Laplacian pyramid of 4 levels, 512 a level and picture, 512 directions, x1000 (Karras 2018)"
METRICS = {
    m.name: m
    for m in (
        Metric("psnr", "PSNR", "more", "dB", "RGB, 8 bits; mean of the pictures' dB"),
        Metric("ssim", "SSIM", "more", "", "pytorch-msssim: 11x11 Gaussian window of 1.5, mean over RGB"),
        Metric("ms_ssim", "MS-SSIM", "more", "", "pytorch-msssim: 5 scales, mean over RGB; dB of the mean in curves"),
        Metric("lpips_alex", "LPIPS (AlexNet)", "less", "", "lpips package, version 0.1"),
        Metric("lpips_vgg", "LPIPS (VGG)", "less", "", "lpips package, version 0.1"),
        Metric("dists", "DISTS", "less", "", "torchmetrics' network, pictures at full size"),
        Metric("nlpd", "NLPD", "less", "", "normalised Laplacian pyramid of the luma (Laparra 2016)"),
        Metric("gmsd", "GMSD", "less", "", "piq: gradient magnitude similarity deviation of the luma (Xue 2014)"),
        Metric("haarpsi", "HaarPSI", "more", "", "piq: Haar wavelet similarity (Reisenhofer 2018)"),
        Metric("band_energy", "band energy", "one", "", "finest Laplacian band, reconstruction over original"),
        Metric("band_energy_2", "band energy, 2nd", "one", "", "second Laplacian band, reconstruction over original"),
        Metric("band_energy_3", "band energy, 3rd", "one", "", "third Laplacian band, reconstruction over original"),
        Metric("texture_error", "texture error", "less", "dB", "|dB| of the two finest bands in blocks of 16x16"),
        Metric("wasserstein", "Wasserstein dist.", "less", "", "steerable features, pooled over 16 pixels, x1000"),
        Metric("swd", "sliced Wasserstein", "less", "", _SWD),
        Metric("fid", "FID", "less", "", "Inception (torch-fidelity), HiFiC's patches"),
        Metric("fid_whole", "FID, whole pictures", "less", "", "Inception (torch-fidelity), one vector a picture"),
        Metric("kid", "KID", "less", "", "Inception (torch-fidelity), HiFiC's patches, cubic kernel"),
    )
}
NAMES = (
    "psnr", "ssim", "ms_ssim", "lpips_alex", "lpips_vgg", "dists", "nlpd", "gmsd", "haarpsi", "fid", "kid", "swd",
    "band_energy", "texture_error", "wasserstein",
)  # fmt: skip
SET_MEASURES = ("fid", "kid", "swd")


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
            absent[name] = f"not measured: {error}"
        except ImportError as error:
            absent[name] = f"not measured: needs {error.name}: pip install 'gencomp[metrics]'"
    return ready, absent


def goodness(metric: str, value: float) -> float:
    """A mean value on an axis that grows with quality: dB for MS-SSIM, negated where less is better."""
    if metric == "ms_ssim":
        from gencomp.eval.curves import decibels

        return decibels(value)
    return value if METRICS[metric].better == "more" else -value
