"""Every measure that the suite knows: what it is called, which way is better, how it is defined."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

Better = Literal["more", "less", "one"]


class Metric(NamedTuple):
    """A column of the results. `better`: more, less, or nearer to one; `definition` is all that a number depends on."""

    name: str
    label: str
    better: Better
    unit: str
    definition: str


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
        Metric("regular_grain", "regular grain", "less", "grey levels", "rms, of what repeats every 8 pixels"),
        Metric("wasserstein", "Wasserstein dist.", "less", "", "steerable features, pooled over 16 pixels, x1000"),
        Metric("swd", "sliced Wasserstein", "less", "", _SWD),
        Metric("fid", "FID", "less", "", "Inception (torch-fidelity), HiFiC's patches"),
        Metric("fid_whole", "FID, whole pictures", "less", "", "Inception (torch-fidelity), one vector a picture"),
        Metric("kid", "KID", "less", "", "Inception (torch-fidelity), HiFiC's patches, cubic kernel"),
    )
}
NAMES = (
    "psnr", "ssim", "ms_ssim", "lpips_alex", "lpips_vgg", "dists", "nlpd", "gmsd", "haarpsi", "fid", "kid", "swd",
    "band_energy", "texture_error", "regular_grain", "wasserstein",
)  # fmt: skip
SET_MEASURES = ("fid", "kid", "swd")


def measured(rows: Sequence[Mapping[str, Any]]) -> dict[str, Metric]:
    """The measures that stand in any of the rows, by column, those over other feature networks last."""
    found = {name: metric for name, metric in METRICS.items() if any(name in row for row in rows)}
    for name in dict.fromkeys(key for row in rows for key in row):
        base = next((b for b in ("fid_whole", "fid", "kid") if name.startswith(f"{b}_") and name not in METRICS), None)
        if base is not None:
            network = name.removeprefix(f"{base}_")
            plain = METRICS[base]
            definition = plain.definition.replace("Inception (torch-fidelity)", network)
            found[name] = Metric(name, f"{plain.label} ({network})", "less", "", definition)
    return found


def goodness(metric: Metric, value: float) -> float:
    """A mean value on an axis that grows with quality: dB for MS-SSIM, negated where less is better."""
    if metric.name == "ms_ssim":
        from ..report.curves import decibels

        return decibels(value)
    return value if metric.better == "more" else -value
