"""Every metric that the suite knows, one row each; everything else (records, CSV, curves, page, help) derives from it.

To add one, write its function (fidelity.py for the pixels' truth, realism.py for how real they look, networks.py where
it needs a feature network, distances.py for sets) and add a row here; tests/eval/metrics/test_table.py then holds that
it measures, and a test of its own should hold it to an independent implementation or a closed form.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

Direction = Literal["higher", "lower", "one"]
Scope = Literal["image", "images", "patches", "wholes"]


class Resources(NamedTuple):
    """What a metric may need beyond pixels: a folder with weights of feature networks, and a device."""

    weights: Path | None = None
    device: str = "cpu"


class Metric(NamedTuple):
    """One metric, a column of the results.

    direction: which values are better, or nearer to one. definition: all that a number depends on. scope, and with it
    the function that `make` returns (it raises WeightsError or ImportError where the metric cannot be had):

    image    (original, reconstruction), float (1, 3, H, W) in [0, 1] -> number
    images   the same of two iterables of images: a metric of the whole set
    patches  two sets of feature vectors (N, D) of HiFiC's patches -> number; as often as there are feature networks
    wholes   the same of whole images
    """

    name: str
    label: str
    direction: Direction
    unit: str
    digits: int  # after the point, in tables
    scope: Scope
    definition: str
    make: Callable[[Resources], Callable[..., float]]
    part_of: str = ""  # the metric by whose name this one is asked for
    headline: bool = False  # stands in the summary's table
    in_decibels: bool = False  # a similarity whose mean is shown as -10 log10(1 - mean) on axes
    agreement: str = ""  # how far it is from an independent implementation, which a test holds


def _fidelity() -> Any:
    from . import fidelity  # here, so that `--help` does not wait for torch

    return fidelity


def _realism() -> Any:
    from . import realism

    return realism


def _networks() -> Any:
    from . import networks

    return networks


def _distances() -> Any:
    from . import distances

    return distances


_SWD = "7x7 patches on a Laplacian pyramid of 4 levels, 512 per level and image, 512 directions, x1000 (Karras 2018)"
_BANDS = "Laplacian band, energy of the reconstruction over that of the original"
METRICS: Mapping[str, Metric] = {
    m.name: m
    for m in (
        Metric("psnr", "PSNR", "higher", "dB", 2, "image", "RGB, 8 bits; mean of the images' dB",
               lambda _: _fidelity().psnr, headline=True, agreement="scikit-image: 1e-5 dB"),
        Metric("ssim", "SSIM", "higher", "", 4, "image", "kornia: 11x11 Gaussian window of 1.5, mean over RGB",
               lambda _: _fidelity().ssim, agreement="scikit-image: 1e-5"),
        Metric("ms_ssim", "MS-SSIM", "higher", "", 4, "image",
               "pytorch-msssim: 5 scales, mean over RGB; dB of the mean in curves",
               lambda _: _fidelity().ms_ssim, headline=True,
               in_decibels=True, agreement="its definition in float64: 2e-5"),
        Metric("lpips_alex", "LPIPS (AlexNet)", "lower", "", 4, "image", "lpips package, version 0.1",
               lambda r: _networks().lpips("alex", r.weights, r.device), headline=True,
               agreement="the lpips package called directly: equal"),
        Metric("lpips_vgg", "LPIPS (VGG)", "lower", "", 4, "image", "lpips package, version 0.1",
               lambda r: _networks().lpips("vgg", r.weights, r.device),
               agreement="the lpips package called directly: equal"),
        Metric("dists", "DISTS", "lower", "", 4, "image",
               "torchmetrics' network; the shorter side resized to 256 pixels where it is longer, as its authors do",
               lambda r: _networks().dists(r.weights, r.device), headline=True,
               agreement="torchmetrics with the same trunk: 1e-6"),
        Metric("nlpd", "NLPD", "lower", "", 4, "image", "normalised Laplacian pyramid of the luma (Laparra 2016)",
               lambda _: _fidelity().nlpd(), agreement="its definition with SciPy: 1e-6 relative"),
        Metric("gmsd", "GMSD", "lower", "", 4, "image",
               "piq: gradient magnitude similarity deviation of the luma (Xue 2014)", lambda _: _fidelity().gmsd),
        Metric("haarpsi", "HaarPSI", "higher", "", 4, "image", "piq: Haar wavelet similarity (Reisenhofer 2018)",
               lambda _: _fidelity().haarpsi),
        Metric("fid", "FID", "lower", "", 2, "patches", "Inception (torch-fidelity), HiFiC's patches",
               lambda _: _distances().frechet, headline=True),
        Metric("fid_whole", "FID, whole images", "lower", "", 2, "wholes",
               "Inception (torch-fidelity), one vector per image", lambda _: _distances().frechet, part_of="fid"),
        Metric("kid", "KID", "lower", "", 4, "patches", "Inception (torch-fidelity), HiFiC's patches, cubic kernel",
               lambda _: _distances().kernel),
        Metric("swd", "sliced Wasserstein", "lower", "", 1, "images", _SWD, lambda _: _realism().swd(), headline=True,
               agreement="SciPy's one-dimensional distances: 1e-4 relative"),
        Metric("band_energy", "band energy", "one", "", 2, "image", f"finest {_BANDS}",
               lambda _: _realism().band_energy(0), headline=True),
        Metric("band_energy_2", "band energy, 2nd", "one", "", 2, "image", f"second {_BANDS}",
               lambda _: _realism().band_energy(1), part_of="band_energy"),
        Metric("band_energy_3", "band energy, 3rd", "one", "", 2, "image", f"third {_BANDS}",
               lambda _: _realism().band_energy(2), part_of="band_energy"),
        Metric("texture_error", "texture error", "lower", "dB", 2, "image",
               "|dB| of the two finest bands in blocks of 16x16", lambda _: _realism().texture_error(), headline=True,
               agreement="its definition in NumPy: 1e-4 dB"),
        Metric("regular_grain", "regular grain", "lower", "grey levels", 2, "image",
               "rms, of what repeats every 8 pixels", lambda _: _realism().regular_grain(), headline=True),
        Metric("wasserstein", "Wasserstein dist.", "lower", "", 2, "image",
               "steerable features, pooled over 16 pixels, x1000", lambda _: _realism().wasserstein()),
    )
}  # fmt: skip
NAMES = tuple(name for name, metric in METRICS.items() if not metric.part_of)  # what can be asked for


def asked(names: Sequence[str], *scopes: Scope) -> list[Metric]:
    """The metrics of some scopes that these names ask for, those that come along included, in the table's order."""
    return [m for m in METRICS.values() if m.scope in scopes and (m.part_of or m.name) in names]


def over_network(metric: Metric, network: str) -> Metric:
    """A metric of feature vectors over another network than Inception: its column carries the network's name."""
    if network == "inception":
        return metric
    short = network.removeprefix("timm:")
    definition = metric.definition.replace("Inception (torch-fidelity)", short)
    return metric._replace(
        name=f"{metric.name}_{short}", label=f"{metric.label} ({short})", definition=definition, headline=False
    )


def measured(rows: Sequence[Mapping[str, Any]]) -> dict[str, Metric]:
    """The metrics that stand in any of the rows, by column, those over other feature networks last."""
    columns = dict.fromkeys(key for row in rows for key in row)
    found = {name: metric for name, metric in METRICS.items() if name in columns}
    bases = sorted((m for m in METRICS.values() if m.scope in ("patches", "wholes")), key=lambda m: -len(m.name))
    for name in columns:
        base = next((m for m in bases if name.startswith(f"{m.name}_") and name not in METRICS), None)
        if base is not None:
            found[name] = over_network(base, name.removeprefix(f"{base.name}_"))
    return found


def direction_of(name: str) -> Direction:
    """Which values of a column are better; higher ones where the column is of no known metric."""
    metric = measured([{name: 0}]).get(name)
    return metric.direction if metric else "higher"


def is_of_sets(name: str) -> bool:
    """Whether a column is a metric of whole sets of images, and not of single ones."""
    metric = measured([{name: 0}]).get(name)
    return metric is not None and metric.scope != "image"


def on_axis(metric: Metric, value: float) -> float:
    """A mean value as it is drawn: a similarity in decibels."""
    return decibels(value) if metric.in_decibels else value


def goodness(metric: Metric, value: float) -> float:
    """A mean value on an axis that grows with quality: negated where lower is better."""
    drawn = on_axis(metric, value)
    return drawn if metric.direction == "higher" else -drawn


def decibels(similarity: float) -> float:
    """A mean similarity (1 is equal) as -10 log10(1 - similarity) [dB]."""
    return -10 * math.log10(max(1e-9, 1 - similarity))
