"""The trained rungs and the classical codecs through the project's own evaluation: real files, one setting a point."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..codecs.build import name_of_model
from ..evaluation import Options, evaluate
from ..report.deltas import deltas
from ..run import sets
from ..run.comparable import comparable
from ..run.photos import Photo, find
from ..run.processes import join
from ..run.records import Target, load_all

METRICS = ("psnr", "ms_ssim", "swd", "texture_error")
QUALITIES = (1, 25, 50, 75, 100)  # of the rungs
CLASSICAL: Mapping[str, tuple[float, ...]] = {
    "jpeg": (5, 12, 25, 50, 75), "webp": (0, 12, 35, 60, 85), "avif": (0, 13, 27, 42, 60),
}  # fmt: skip
REALISMS = (0.0, 1.0)
SKIMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")  # its photographs


class Measured(NamedTuple):
    """results: as an evaluation writes them, codecs under their rungs' names; out: the evaluation's folder."""

    results: dict[str, Any]
    photos: list[Photo]
    out: Path
    anchor: str

    @property
    def codecs(self) -> list[str]:
        """Names of the rungs, then of the classical codecs."""
        return list(dict.fromkeys(row["codec"] for row in self.results["summary"]))


def photographs(folder: str | None) -> list[Photo]:
    """Those of a folder (or whatever else an evaluation takes), by default scikit-image's."""
    if folder is not None:
        return find([folder])
    from skimage.data import data_dir

    return find([str(Path(data_dir) / name) for name in SKIMAGE])


def measured(
    out: Path, models: Mapping[str, Path], photos: list[Photo], source: str, anchor: str, jobs: int, quiet: bool
) -> Measured:
    """Code, decode and measure what is missing under `out`; deltas are against the rung `anchor`."""
    targets = [Target("setting", q, name_of_model(str(path))) for path in models.values() for q in QUALITIES]
    targets += [Target("setting", q, name) for name, settings in CLASSICAL.items() for q in settings]
    codecs = (*map(str, models.values()), *CLASSICAL)
    options = Options((source,), out, codecs, tuple(targets), REALISMS, METRICS, ("inception",), (), None, 256,
                      name_of_model(str(models[anchor])), None, jobs, 0)  # fmt: skip
    results = evaluate(options, photos, join("auto"), quiet)
    assert results is not None  # there is one process
    wanted = {*models, *CLASSICAL}  # the folder may hold rungs of another call
    for key in ("summary", "bd"):
        results[key] = [one for one in map(_renamed, results[key]) if _codec(one["codec"]) in wanted]
    results["codecs"] = {_plain(name): facts for name, facts in results["codecs"].items() if _plain(name) in wanted}
    return Measured(results, photos, out, anchor)


def pair(found: Measured, test: str, anchor: str, metric: str) -> dict[str, Any] | None:
    """The Bjontegaard deltas of one rung against another in one metric, with intervals; of the most realistic curve
    where a rung has several. None where one of them was not measured."""
    rows = [{key: value for key, value in row.items() if key in _KEPT or key == metric}
            for row in found.results["summary"] if row["codec"] in (test, anchor)]  # fmt: skip
    names = {photo.name for photo in found.photos}
    records = [r for r in load_all(found.out) if r.place.image in names]
    groups = comparable(sets.groups(records)).used
    used = {(_plain(codec), setting, realism): of for (codec, setting, realism), of in groups.items()}
    compared = [one for one in deltas(rows, used, anchor) if _codec(one["codec"]) == test]
    return compared[-1] if compared else None


def at_rate(rows: Sequence[Mapping[str, Any]], metric: str, bpp: float) -> float | None:
    """A metric of one curve at a rate, linear in the rate's logarithm; None beyond the curve's ends."""
    points = sorted((row["bpp"], row[metric]) for row in rows if metric in row)
    if len(points) < 2 or not points[0][0] <= bpp <= points[-1][0]:
        return None
    rates, values = zip(*points)
    return float(np.interp(np.log(bpp), np.log(rates), values))


def common_rate(rows: Sequence[Mapping[str, Any]], rungs: Sequence[str]) -> float:
    """A rate [bpp] that as many rungs as possible reach: the middle of the range in which most of the curves lie."""
    spans = []
    for name in rungs:
        rates = [row["bpp"] for row in rows if row["codec"] == name]
        spans.append((np.log(min(rates)), np.log(max(rates))))
    grid = np.linspace(min(low for low, _ in spans), max(high for _, high in spans), 400)
    counts = np.array([sum(low <= x <= high for low, high in spans) for x in grid])
    best = grid[counts == counts.max()]
    return float(np.exp((best[0] + best[-1]) / 2))


_KEPT = ("codec", "setting", "realism", "bpp", "unable")


def _plain(name: str) -> str:
    return name.removeprefix("gencomp-")


def _codec(label: str) -> str:
    """The codec in the name of a curve."""
    return label.partition(",")[0]


def _renamed(one: dict[str, Any]) -> dict[str, Any]:
    named: dict[str, Any] = {key: _plain(one[key]) for key in ("codec", "anchor") if key in one}
    return {**one, **named}
