"""Figures that other projects published, as data with their sources: drawn as reference, never measured here."""

import csv
import importlib.resources
from typing import NamedTuple

MEASURES = ("psnr", "ms_ssim", "lpips_alex", "dists", "fid", "kid")
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
        label = f"{row['model']} {row['setting']}".strip()
        one = found.setdefault((label, row["dataset"]), Published(label, row["dataset"], row["source"], {}))
        for measure in filter(row.get, MEASURES):
            one.points.setdefault(measure, []).append((float(row["bpp"]), float(row[measure])))
    for one in found.values():
        for points in one.points.values():
            points.sort()
    return list(found.values())


def dataset_of(images: list[str]) -> str | None:
    """The published data set that images of these names are: the 24 of Kodak by their well-known names, or none."""
    names = [f"kodim{k:02d}" for k in range(1, 25)]
    return "kodak" if images and set(images) <= set(names) else None
