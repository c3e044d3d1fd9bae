"""Every metric that the suite knows, one row each; everything else (records, CSV, curves, page, help) derives from it.

To add one, write its function (fidelity.py for the pixels' truth, realism.py for how real they look, networks.py where
it needs a feature network, distances.py for sets) and add a row here; tests/eval/metrics/test_table.py then holds that
it measures, and a test of its own should hold it to an independent implementation or a closed form.
"""

import importlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

Direction = Literal["higher", "lower"]
Scope = Literal["image", "patches"]
Given = TypeVar("Given")
Original = TypeVar("Original")
Rebuilt = TypeVar("Rebuilt")


class Resources(NamedTuple):
    """What a metric may need beyond pixels: a folder with weights of feature networks, and a device."""

    weights: Path | None = None
    device: str = "cpu"


class Metric(NamedTuple):
    """One metric, a column of the results.

    direction: which values are better. definition: all that a number depends on. scope, and with it
    the function that `make` returns (it raises WeightsError or ImportError where the metric cannot be had):

    image    (original, reconstruction), float (1, 3, H, W) in [0, 1] -> number
    patches  two sets of feature vectors (N, D) of HiFiC's patches -> number; as often as there are feature networks
    """

    name: str
    label: str
    direction: Direction
    unit: str
    digits: int  # after the point, in tables
    scope: Scope
    definition: str
    make: Callable[[Resources], Callable[..., float]]
    headline: bool = False  # stands in the summary's table
    in_decibels: bool = False  # a similarity whose mean is shown as -10 log10(1 - mean) on axes
    agreement: str = ""  # how far it is from an independent implementation, which a test holds
    of_realism: bool = False  # says how real an image looks, rather than how near it is to the original
    votes: float = 0.0  # the share of people's votes that it predicts (see VOTES); 0: not known
    elsewhere: str = ""  # what a distance of features is called over another network than Inception


def _of(module: str) -> Any:
    """A module of metrics, imported when one of its own is made, so that `--help` does not wait for torch."""
    return importlib.import_module(f".{module}", __package__)


# The share of votes that the sign of a measure's difference predicts: 31 raters, 267 pairs shown without the original,
# eight crops of 940x880 by HiFiC at three rates, ESRGAN and ArNet. A rater agrees with the majority of the others in
# RATERS. The set is small: 95 % intervals over contents are about 0.03 to either side (0.05 for DISTS and Lite0).
VOTES = {"wasserstein_alex": 0.789, "wasserstein": 0.776, "lpips_alex": 0.762, "lite": 0.755, "texture_error": 0.754,
         "lpips_vgg": 0.737, "ms_ssim": 0.724, "dists": 0.679, "psnr": 0.672}  # fmt: skip
RATERS = 0.800

METRICS: Mapping[str, Metric] = {
    m.name: m._replace(votes=VOTES.get(m.name, 0.0))
    for m in (
        Metric("psnr", "PSNR", "higher", "dB", 2, "image", "RGB, 8 bits; mean of the images' dB",
               lambda _: _of("fidelity").psnr, headline=True, agreement="scikit-image: 1e-5 dB"),
        Metric("ssim", "SSIM", "higher", "", 4, "image", "kornia: 11x11 Gaussian window of 1.5, mean over RGB",
               lambda _: _of("fidelity").ssim, agreement="scikit-image: 1e-5"),
        Metric("ms_ssim", "MS-SSIM", "higher", "", 4, "image",
               "pytorch-msssim: 5 scales, mean over RGB; dB of the mean in curves",
               lambda _: _of("fidelity").ms_ssim, headline=True,
               in_decibels=True, agreement="its definition in float64: 2e-5"),
        Metric("wasserstein_alex", "Wasserstein (AlexNet)", "lower", "", 3, "image",
               "Wasserstein distortion (Qiu 2023) over AlexNet at three octaves, pooled over 16 pixels",
               lambda r: _of("realism").wasserstein(_of("networks").alex_features(r.weights, r.device)),
               of_realism=True, headline=True),
        Metric("wasserstein", "Wasserstein (steerable)", "lower", "", 3, "image",
               "Wasserstein distortion (Qiu 2023) over steerable filters, pooled over 16 pixels, x1000",
               lambda _: _of("realism").wasserstein(scale=1000), of_realism=True, headline=True),
        Metric("lpips_alex", "LPIPS (AlexNet)", "lower", "", 4, "image", "version 0.1, whole images",
               lambda r: _of("networks").lpips("alex", r.weights, r.device), of_realism=True, headline=True,
               agreement="the lpips package and torchmetrics: 1e-5"),
        Metric("lpips_vgg", "LPIPS (VGG)", "lower", "", 4, "image", "version 0.1, whole images",
               lambda r: _of("networks").lpips("vgg", r.weights, r.device), of_realism=True, headline=True,
               agreement="the lpips package and torchmetrics: 1e-5"),
        Metric("lite", "Lite0 features", "lower", "", 4, "image",
               "EfficientNet-Lite0: squared distance of unit feature vectors at five depths, as LPIPS without heads",
               lambda r: _of("networks").lite(r.weights, r.device), of_realism=True, headline=True),
        Metric("dists", "DISTS", "lower", "", 4, "image",
               "torchmetrics' network; the shorter side resized to 256 pixels where it is longer, as its authors do",
               lambda r: _of("networks").dists(r.weights, r.device), of_realism=True, headline=True,
               agreement="torchmetrics with the same trunk: 1e-6"),
        Metric("fid", "FID", "lower", "", 2, "patches", "Inception (torch-fidelity), HiFiC's patches",
               lambda _: _of("networks").frechet, of_realism=True, headline=True, elsewhere="frechet"),
        Metric("kid", "KID", "lower", "", 4, "patches", "Inception (torch-fidelity), HiFiC's patches, cubic kernel",
               lambda _: _of("networks").kernel, of_realism=True, elsewhere="kernel"),
        Metric("texture_error", "texture error", "lower", "dB", 2, "image",
               "|dB| of the two finest bands in blocks of 16x16", lambda _: _of("realism").texture_error(),
               of_realism=True, headline=True, agreement="its definition in NumPy: 1e-4 dB"),
        Metric("grid_artefacts", "grid artefacts", "lower", "grey levels", 2, "image",
               "rms, of what repeats every 8 pixels", lambda _: _of("realism").grid_artefacts(),
               of_realism=True, headline=True),
    )
}  # fmt: skip
NAMES = tuple(METRICS)


def asked(names: Sequence[str], scope: Scope) -> list[Metric]:
    """The metrics of a scope among these names, in the table's order."""
    return [m for m in METRICS.values() if m.scope == scope and m.name in names]


def over_network(metric: Metric, network: str) -> Metric:
    """A metric of feature vectors over another network than Inception, under its own name: frechet_lite is no FID."""
    if network == "inception":
        return metric
    short = network.removeprefix("timm:")
    shown = {"lite": "Lite0", "swav": "SwAV", "dinov2": "DINOv2"}.get(network, short)
    what = "Fréchet" if metric.name.startswith("fid") else "kernel"
    return metric._replace(
        name=f"{metric.elsewhere}_{short}",
        label=f"{what} distance ({shown})",
        definition=metric.definition.replace("Inception (torch-fidelity)", shown),
    )


def measured(rows: Sequence[Mapping[str, Any]]) -> dict[str, Metric]:
    """The metrics that stand in any of the rows, by column, those over other feature networks last."""
    columns = dict.fromkeys(key for row in rows for key in row)
    found = {name: metric for name, metric in METRICS.items() if name in columns}
    for name in columns:
        base = next((m for m in METRICS.values() if m.elsewhere and name.startswith(f"{m.elsewhere}_")), None)
        if base is not None:
            found[name] = over_network(base, name.removeprefix(f"{base.elsewhere}_"))
    return found


def by_votes(metrics: Mapping[str, Metric], minimised: Collection[str]) -> list[str]:
    """The measures of realism that nothing minimised, the one that agrees best with people's votes first."""
    free = [m for name, m in metrics.items() if m.of_realism and m.votes and name not in minimised]
    return [metric.name for metric in sorted(free, key=lambda m: -m.votes)]


def metric_of(name: str) -> Metric:
    """The metric of a column; KeyError where the column is of no known one."""
    return measured([{name: 0}])[name]


def direction_of(name: str) -> Direction:
    """Which values of a column are better; higher ones where the column is of no known metric."""
    metric = measured([{name: 0}]).get(name)
    return metric.direction if metric else "higher"


def is_of_sets(name: str) -> bool:
    """Whether a column is a metric of whole sets of images, and not of single ones."""
    metric = measured([{name: 0}]).get(name)
    return metric is not None and metric.scope == "patches"


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


def by_sides(
    of_original: Callable[[Given], Original],
    of_rebuilt: Callable[[Given], Rebuilt],
    compare: Callable[[Original, Rebuilt], float],
) -> Callable[[Given, Given], float]:
    """The metric compare(of_original(x), of_rebuilt(y)) of (x, y), which remembers the first half of the last x: one
    original has many reconstructions.

    The same x is the same object, so whoever measures hands on the one that it has, and does not change it.
    """
    last: list[tuple[Given, Original]] = []

    def measure(x: Given, y: Given) -> float:
        if not last or last[0][0] is not x:
            last[:] = [(x, of_original(x))]
        return compare(last[0][1], of_rebuilt(y))

    return measure
