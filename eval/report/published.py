"""Figures that other projects published, as data with their sources: drawn as reference, never measured here."""

import csv
import importlib.resources
from typing import NamedTuple

MEASURES = {"psnr_db": "psnr", "ms_ssim": "ms_ssim", "lpips_alex": "lpips_alex", "dists": "dists", "fid": "fid",
            "kid": "kid"}  # fmt: skip
LABELS = {
    "av1": "AV1",
    "bpg_444_x265_ycbcr": "BPG 4:4:4",
    "compressai-cheng2020-anchor_mse_cuda": "cheng2020-anchor",
    "compressai-mbt2018-mean_mse_cuda": "mbt2018-mean",
    "hm": "HM",
    "jpeg": "JPEG",
    "jpeg2000": "JPEG 2000",
    "paper-bmshj2018-hyperprior": "bmshj2018-hyperprior, paper",
    "paper-elic2022_ms-ssim": "ELIC for MS-SSIM",
    "paper-elic2022_mse": "ELIC for MSE",
    "paper-mbt2018-mean": "mbt2018-mean, paper",
    "vtm": "VTM",
    "webp": "WebP",
    "HiFiC-lo": "HiFiC",
    "HiFiC-mi": "HiFiC",
    "HiFiC-hi": "HiFiC",
}
PROMINENT = ("VTM", "BPG 4:4:4", "mbt2018-mean", "ELIC for MSE", "HiFiC", "MS-ILLM", "CRDR beta=3.84", "DC-VIC OASIS")
GENERATIVE = ("HiFiC", "MS-ILLM", "CRDR beta=3.84", "DC-VIC OASIS")  # with whom a generative codec is compared


class Published(NamedTuple):
    """One published curve: points of (bpp, value) by measure, ascending in rate. PSNR in dB."""

    label: str
    dataset: str
    source: str
    points: dict[str, list[tuple[float, float]]]


def curves() -> list[Published]:
    """Every published curve; a model's settings beside the rate (CRDR's beta) are curves of their own."""
    text = importlib.resources.files("gencomp.eval.report").joinpath("data/published.csv").read_text("utf-8")
    found: dict[tuple[str, str], Published] = {}
    for row in csv.DictReader(text.splitlines()):
        label = f"{LABELS.get(row['model'], row['model'])} {row['setting']}".strip()
        one = found.setdefault((label, row["dataset"]), Published(label, row["dataset"], row["source"], {}))
        for column, measure in MEASURES.items():
            if row[column]:
                one.points.setdefault(measure, []).append((float(row["bpp"]), float(row[column])))
    for one in found.values():
        for points in one.points.values():
            points.sort()
    return list(found.values())


def dataset_of(images: list[str]) -> str | None:
    """The published data set that images of these names are: the 24 of Kodak by their well-known names, or none."""
    names = [f"kodim{k:02d}" for k in range(1, 25)]
    return "kodak" if images and set(images) <= set(names) else None
