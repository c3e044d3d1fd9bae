"""The same place of a photograph as every codec shows it at about equal bytes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from gencomp.files import write_atomically
from gencomp.image import write_image

from ..codecs.baseline import Baseline
from ..codecs.build import build
from ..demo.sheet import busiest_square
from ..run.coding import code_aside, nearest
from ..run.photos import Photo

SIDE = 192  # pixels
COUNT = 3  # photographs
NEAR = 0.1  # of the wanted bytes: beyond, a caption says so


class CodecCrop(NamedTuple):
    """One codec's crop. file: below the page's folder; near: whether its file has about the wanted bytes."""

    label: str
    file: str
    bytes: int
    near: bool


class SamePlace(NamedTuple):
    """A photograph and the crops of one place in it, the original first."""

    photo: str
    wanted: int
    crops: list[CodecCrop]


def cut(
    page: Path, photos: Sequence[Photo], models: Mapping[str, Path], classical: Sequence[str], bpp: float, quiet: bool
) -> list[SamePlace]:
    """Crops of a few photographs, spread over all, by every codec at `bpp`; what is there from before is kept."""
    codecs = {name: build(str(path))[0] for name, path in models.items()} | {n: build(n)[0] for n in classical}
    chosen = [photos[k] for k in sorted({round(x) for x in np.linspace(0, len(photos) - 1, COUNT)})]
    notes = {name: codec.note for name, codec in codecs.items()}
    made_from = {"notes": notes, "photos": [photo.source for photo in chosen], "bpp": round(bpp, 6)}
    path = page / "crops" / "crops.json"
    try:
        saved = json.loads(path.read_text("utf-8"))
        if saved["made_from"] == made_from:
            return [SamePlace(p["photo"], p["wanted"], [CodecCrop(**c) for c in p["crops"]]) for p in saved["places"]]
    except (OSError, ValueError, TypeError, KeyError):
        pass
    path.parent.mkdir(parents=True, exist_ok=True)
    with tqdm(total=len(chosen) * len(codecs), desc="crops", leave=False, disable=True if quiet else None) as bar:
        places = [_place(page, photo, codecs, bpp, bar) for photo in chosen]
    shown = [place._asdict() | {"crops": [crop._asdict() for crop in place.crops]} for place in places]
    write_atomically(path, json.dumps({"made_from": made_from, "places": shown}, indent=1).encode())
    return places


def _place(page: Path, photo: Photo, codecs: Mapping[str, Baseline], bpp: float, bar: tqdm) -> SamePlace:
    image = photo.read()
    left, top, side = busiest_square(image, SIDE)
    box, wanted = (left, top, left + side, top + side), round(bpp * image.width * image.height / 8)
    name = f"crops/{photo.name}-original.webp"
    write_image(image.crop(box), page / name)
    crops = [CodecCrop("original", name, 0, True)]
    for label, codec in codecs.items():
        realisms = (0.0, 1.0) if codec.has_realism else (None,)
        setting = nearest(codec, image, wanted).setting
        for realism, shown in zip(realisms, code_aside(codec, image, setting, *realisms)):
            full = label if realism is None else f"{label}, realism {realism:g}"
            name = f"crops/{photo.name}-{label}" + ("" if realism is None else f"-{realism:g}") + ".webp"
            write_image(shown.image.crop(box), page / name)
            crops.append(CodecCrop(full, name, shown.size, abs(shown.size / wanted - 1) <= NEAR))
        bar.update()
    return SamePlace(photo.name, wanted, crops)
