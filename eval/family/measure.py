"""The trained rungs and the classical codecs through the project's own evaluation: real files, one setting a point."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..codecs.build import name_of_model
from ..evaluation import evaluate
from ..report.deltas import compare
from ..report.summary import series
from ..run import sets
from ..run.crew import in_turn
from ..run.photos import Photo, find
from ..run.records import EvaluationOptions, Record, Target, load_all
from ..run.sets import comparable

METRICS = ("psnr", "ms_ssim", "texture_error")
QUALITIES = (1, 25, 50, 75, 100)  # of the rungs
CLASSICAL: Mapping[str, tuple[float, ...]] = {
    "jpeg": (5, 12, 25, 50, 75), "webp": (0, 12, 35, 60, 85), "avif": (0, 13, 27, 42, 60),
}  # fmt: skip
REALISMS = (0.0, 1.0)
SKIMAGE = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")  # its photographs


class FamilyResults(NamedTuple):
    """results: as an evaluation writes them, codecs under their rungs' names; used: the records behind each point."""

    results: dict[str, Any]
    photos: list[Photo]
    used: dict[sets.Key, list[Record]]
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
) -> FamilyResults:
    """Code, decode and measure what is missing under `out`; deltas are against the rung `anchor`."""
    targets = [Target("setting", q, name_of_model(str(path))) for path in models.values() for q in QUALITIES]
    targets += [Target("setting", q, name) for name, settings in CLASSICAL.items() for q in settings]
    asked = (source,), out, (*map(str, models.values()), *CLASSICAL), tuple(targets), REALISMS, METRICS
    options = EvaluationOptions(*asked, anchor=name_of_model(str(models[anchor])), jobs=jobs)
    results = evaluate(options, photos, quiet)
    assert results is not None  # there is one process
    wanted = {*models, *CLASSICAL}  # the folder may hold rungs of another call
    for key in ("summary", "bd"):
        results[key] = [one for one in map(_renamed, results[key]) if one["codec"].partition(",")[0] in wanted]
    results["codecs"] = {_plain(name): facts for name, facts in results["codecs"].items() if _plain(name) in wanted}
    groups = comparable(sets.groups(load_all(out, {photo.name for photo in photos}))).used
    used = {(_plain(codec), setting, realism): of for (codec, setting, realism), of in groups.items()}
    return FamilyResults(results, photos, used, anchor)


def pair(found: FamilyResults, test: str, anchor: str, metric: str) -> dict[str, Any] | None:
    """The Bjontegaard deltas of one rung against another in one metric, with intervals; of the most realistic curve
    where a rung has several. None where one of them was not measured."""
    curves = {name: [c for c in series(found.results["summary"]) if c.codec == name] for name in (anchor, test)}
    if not all(curves.values()):
        return None
    compared = compare([(curves[anchor][0], curves[test][-1])], found.used, [metric], None, in_turn)
    return compared[-1] if compared else None


def common_rate(rows: Sequence[Mapping[str, Any]], rungs: Sequence[str]) -> float:
    """A rate [bpp] that as many rungs as possible reach: the middle of the range in which most of the curves lie."""
    rates = [[row["bpp"] for row in rows if row["codec"] == name] for name in rungs]
    spans = [(np.log(min(of_rung)), np.log(max(of_rung))) for of_rung in rates]
    grid = np.linspace(min(low for low, _ in spans), max(high for _, high in spans), 400)
    counts = np.array([sum(low <= x <= high for low, high in spans) for x in grid])
    best = grid[counts == counts.max()]
    return float(np.exp((best[0] + best[-1]) / 2))


def _plain(name: str) -> str:
    return name.removeprefix("gencomp-")


def _renamed(one: dict[str, Any]) -> dict[str, Any]:
    return one | {key: _plain(one[key]) for key in ("codec", "anchor") if key in one}
