"""A small study to try: scikit-image's photographs through the default model, AVIF and WebP at equal bytes."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gencomp.bitstream import DEFAULT_QUALITY
from gencomp.image import read_image, write_image

from ...codecs import build as codecs_of
from ...codecs import classical
from ...codecs.baseline import Baseline, BaselineError
from ...run.coding import Recorder, decode_from
from ..plan import QUESTIONS, Design, Study, StudyError
from .build import StudyOptions, build
from .sources import StudyImage

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
CROP_AT = {"astronaut": (50, 0), "chelsea": (20, 0), "coffee": (90, 0), "rocket": (200, 20)}
CROP = (400, 400)
REALISMS = (0.0, 1.0)


def demonstration(
    folder: Path, model: str | None, device: str, seed: int, progress: Callable[[list[str]], Iterable[str]] = iter
) -> Study:
    """Build the demonstration study. Every codec is brought to the same bytes on each image."""
    from gencomp import ModelError

    try:
        codecs = [codecs_of.of_model(model, device=device), classical.avif(), classical.webp()]
    except (ModelError, OSError, BaselineError) as error:
        raise StudyError(str(error)) from error
    with tempfile.TemporaryDirectory() as work:
        coded = [one for name in progress(list(PHOTOGRAPHS)) for one in code(name, codecs, Path(work))]
        pairs = len(coded) * (len(coded) // len(PHOTOGRAPHS) - 1) // 2
        design = Design("full", pairs, checks=8, repeats=0, training=3, rest_every=0)
        asked = "Which image is closer?", QUESTIONS["pairs"]
        return build(folder, coded, StudyOptions(design, *asked, "flip", seed=seed, crop=CROP, crop_at=CROP_AT))


def code(name: str, codecs: Sequence[Baseline], work: Path) -> list[StudyImage]:
    """One photograph through every codec at the same number of bytes: the least that all of them can be brought to,
    but no less than the first codec's default. Codecs with realism are decoded at each of REALISMS from one file."""
    original = work / f"{name}.png"
    write_image(read_image(photograph(name)), original)
    image = read_image(original)
    pixels = image.width * image.height
    recorders = [Recorder(codec, image) for codec in codecs]
    default = len(codecs[0].encode(image, DEFAULT_QUALITY))
    target = max(default, *(recorder.search.size(0) for recorder in recorders))
    coded = []
    for codec, recorder in zip(codecs, recorders, strict=True):
        file = work / f"{name}-{codec.name}{codec.suffix}"
        recorder.write(file, recorder.search.match(target).setting)
        for realism in REALISMS if codec.has_realism else (None,):
            decoded, _ = decode_from(file, codec, 1.0 if realism is None else realism)
            shown = file.with_suffix(f".{realism}.png")
            write_image(decoded, shown)
            bpp = 8 * file.stat().st_size / pixels
            coded.append(StudyImage(name, codec.name, "equal bytes", realism, original, shown, bpp, {}))
    return coded


def photograph(name: str) -> NDArray[np.uint8]:
    """One of the photographs in scikit-image's own folder: an array (height, width, 3) of uint8; nothing is fetched."""
    try:
        from skimage import data
    except ImportError as error:
        raise StudyError("scikit-image's photographs are not installed: pip install 'gencomp[demo]'") from error
    return np.asarray(getattr(data, name)())
