"""Measures over the whole set of pictures at one operating point: sliced Wasserstein distance, FID and KID."""

import json
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gencomp.files import write_atomically
from gencomp.image import read_image, to_tensor

from ..metrics import distances
from ..metrics.realism import SMALLEST, descriptors, sliced_wasserstein
from . import records as cells
from .records import Cell
from .work import feature_folders

REFERENCE_SEED, REBUILT_SEED = 1, 2


def group_key(cell: Cell) -> tuple[str, str, float | None]:
    """What the cells of one operating point share."""
    return cell.place.codec, cell.place.setting, cell.place.realism


def groups(found: Sequence[Cell]) -> dict[tuple[str, str, float | None], list[Cell]]:
    """The cells without errors by operating point, each in the order of its images."""
    by_key: dict[tuple[str, str, float | None], list[Cell]] = {}
    for cell in sorted(found, key=lambda c: c.place.image):
        if not cell.row["error"]:
            by_key.setdefault(group_key(cell), []).append(cell)
    return by_key


def measure_set(out: Path, members: list[Cell], names: Sequence[str], extractors: Sequence[str], patch: int) -> None:
    """Compute the missing measures of one operating point and keep them under sets/."""
    path = _path(out, members[0])
    known = _load(path)
    made_of = _fingerprint(members, patch)
    if known.get("made_of") != made_of:
        known = {"made_of": made_of, "measures": {}, "failed": {}, "details": {}}
    measures, failed = known["measures"], known["failed"]
    todo: dict[str, Callable[[], tuple[dict[str, float], dict[str, Any]]]] = {}
    if "swd" in names:
        todo["swd"] = lambda: _swd(out, members)
    for name in extractors:
        for measure in set(names) & {"fid", "kid"}:
            todo[column(measure, name)] = lambda m=measure, n=name: _from_features(out, members, m, n, patch)  # type: ignore[misc]
    for name, compute in todo.items():
        if name not in measures:
            try:
                values, details = compute()
                if not all(map(math.isfinite, values.values())):
                    raise ValueError("is not a number for these pictures")
                measures.update(values)
                known["details"].update(details)
                failed.pop(name, None)
            except ValueError as error:
                failed[name] = str(error)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(known, indent=1).encode())


class SetMeasures(NamedTuple):
    """measures by name; failed: why one is missing; details: levels of the sliced distance, numbers of patches."""

    measures: dict[str, float]
    failed: dict[str, str]
    details: dict[str, Any]


def load_set(out: Path, members: list[Cell], patch: int) -> SetMeasures:
    """The measures of an operating point, empty where its pictures have changed since."""
    known = _load(_path(out, members[0]))
    if known.get("made_of") != _fingerprint(members, patch):
        return SetMeasures({}, {}, {})
    return SetMeasures(known["measures"], known["failed"], known["details"])


def column(measure: str, extractor: str) -> str:
    """The name of a distance over an extractor's features: Inception's is the plain one."""
    return measure if extractor == "inception" else f"{measure}_{extractor.removeprefix('timm:')}"


def _swd(out: Path, members: list[Cell]) -> tuple[dict[str, float], dict[str, Any]]:
    """The sliced distance over the pictures that are large enough for it, and how many they are."""
    members = [cell for cell in members if min(cell.row["width"], cell.row["height"]) >= SMALLEST]
    if not members:
        raise ValueError(f"needs pictures with sides of at least {SMALLEST} pixels")
    paths = [out / cell.row["original"] for cell in members], [out / cell.row["reconstruction"] for cell in members]
    reference, rebuilt = (
        descriptors((to_tensor(np.asarray(read_image(p, max_pixels=None))) for p in side), seed)
        for side, seed in zip(paths, (REFERENCE_SEED, REBUILT_SEED))
    )
    result = sliced_wasserstein(reference, rebuilt)
    return {"swd": result.mean}, {"swd_levels": result.levels, "swd_pictures": len(members)}


def _from_features(
    out: Path, members: list[Cell], measure: str, extractor: str, patch: int
) -> tuple[dict[str, float], dict[str, Any]]:
    """FID with patches and with whole pictures, or KID with patches, and the number of patches."""
    name = column(measure, extractor)
    patched, whole = feature_folders(extractor, patch)
    a, b = _features(out, members, patched)
    if measure == "kid":
        return {name: distances.kernel(a, b)}, {"patches": len(a)}
    values = {name: distances.frechet(a, b)}
    if len(members) > 1:
        values[name.replace("fid", "fid_whole", 1)] = distances.frechet(*_features(out, members, whole))
    return values, {"patches": len(a)}


def _features(out: Path, members: list[Cell], folder: str) -> tuple[np.ndarray, np.ndarray]:
    sides = (
        [np.load(out / place.features(folder)) for place in places]
        for places in ([cells.original_place(c.place.image) for c in members], [c.place for c in members])
    )
    a, b = ([x for x in side if x.size] for side in sides)
    if not a or not b:
        raise ValueError("no picture is as large as a patch")
    return np.concatenate(a), np.concatenate(b)


def _path(out: Path, member: Cell) -> Path:
    folder = (out / member.place.cell.replace("cells/", "sets/", 1)).parent
    return folder.with_name(f"{folder.name}.json")


def _fingerprint(members: list[Cell], patch: int) -> int:
    """A number that changes with the pixels, the codec or the patches behind a set's measures."""
    made_of = [(c.place, c.made_of, c.row["bytes"], c.row["knob"]) for c in members]
    return zlib.crc32(repr((made_of, patch)).encode())


def _load(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text("utf-8"))
        return known if {"made_of", "measures", "failed", "details"} <= set(known) else {}
    except (OSError, ValueError):
        return {}
