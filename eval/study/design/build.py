"""Builds a study folder: chooses images, codecs and crops, and writes every image a rater can see as PNG at 1:1."""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gencomp.files import move, set_mode, write_atomically
from gencomp.image import read_image
from gencomp.kinds import saved
from gencomp.target import psnr

from ..plan import MAX_DENSITY, OWN, Condition, Design, Layout, Rendering, Scene, Study, StudyError, Task, save
from ..questions import DEFAULT, Question
from .sources import StudyImage

EQUAL_DB = 120.0  # of images that have no pixel apart
CHECK_DB = 32.0  # an attention check needs a spoilt copy at most this close to the original (PSNR in dB)
CONSENT = "consent.txt"
Key = tuple[str, str, float | None]  # codec, setting, realism
Measures = Mapping[Key, dict[str, float]] | None
Show = Callable[[list[str]], Iterable[str]]


@dataclass(frozen=True)
class StudyOptions:
    """What `study new` may be told. crop: largest (width, height) in pixels; None shows whole images."""

    design: Design
    title: str
    question: str
    layout: Layout
    task: Task = "pairs"
    ties: bool = False
    max_density: float = MAX_DENSITY
    questions: tuple[Question, ...] = DEFAULT
    seed: int = 0
    crop: tuple[int, int] | None = (512, 512)
    crops_per_image: int = 1
    crop_at: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    draw: int | None = None
    consent: Path | None = None


def build(
    folder: Path,
    coded: Sequence[StudyImage],
    options: StudyOptions,
    measures: Measures = None,
    progress: Show = iter,
) -> Study:
    """Write a new study to `folder` (which must not exist or be empty), whole or not at all, and return its plan.
    progress wraps the walk over the image names, so that a command can show a bar. Raises StudyError."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StudyError(f"{folder} is there already and not empty; votes may be in it. Name another folder")
    coded = choose_images(coded, options)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        (beside / "images").mkdir()
        by_image: dict[str, list[StudyImage]] = {}
        for one in coded:
            by_image.setdefault(one.image, []).append(one)
        ids = condition_ids(coded)
        images = progress(list(by_image))
        scenes = [scene for image in images for scene in _scenes(beside, by_image[image], ids, options)]
        scenes = [replace(scene, id=f"s{k}") for k, scene in enumerate(scenes)]
        asked = ("title", "question", "task", "layout", "ties", "seed", "max_density", "design", "questions")
        chosen: dict[str, Any] = {name: getattr(options, name) for name in asked}
        study = Study(**chosen, conditions=_conditions(ids, scenes, measures or {}), scenes=tuple(scenes))
        check(study)
        write_atomically(beside / CONSENT, _consent(options.consent).encode())
        save(study, beside)
        set_mode(beside, (beside / "images").stat().st_mode & 0o777)  # by the umask, which mkdtemp does not ask
        move(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return study


def choose_images(coded: Sequence[StudyImage], options: StudyOptions) -> list[StudyImage]:
    """Drop photographs that fewer than two conditions coded, then draw as many as wanted by the study's seed."""
    by_image: dict[str, set[Key]] = {}
    for one in coded:
        if one.key in by_image.setdefault(one.image, set()):
            raise StudyError(f"{one.image} is coded twice by {' '.join(map(str, one.key))}; give a setting for each")
        by_image[one.image].add(one.key)
    usable = sorted(image for image, keys in by_image.items() if len(keys) > 1)
    if not usable:
        raise StudyError("no image was coded in two ways, so there is nothing to compare")
    if unknown := set(options.crop_at) - set(by_image):
        raise StudyError(f"--crop-at names {', '.join(sorted(unknown))}, which is no image of this study")
    if options.draw is not None:
        if options.draw > len(usable):
            raise StudyError(f"--draw {options.draw}: there are only {len(usable)}")
        rng = np.random.default_rng([options.seed, 1])
        usable = sorted(usable[i] for i in rng.permutation(len(usable))[: options.draw])
    return [one for one in coded if one.image in usable]


def condition_ids(coded: Sequence[StudyImage]) -> dict[Key, str]:
    """A readable and unique id for each condition: codec, and realism and setting where the codec has several."""
    keys = list(dict.fromkeys(one.key for one in coded))
    settings = {setting for _, setting, _ in keys}
    ids: dict[Key, str] = {}
    for key in keys:
        codec, setting, realism = key
        parts = [codec]
        if realism is not None and len({r for c, _, r in keys if c == codec}) > 1:
            parts.append(f"realism {realism:g}")
        if len(settings) > 1 and setting:
            parts.append(setting)
        ids[key] = re.sub(r"[^\w.=@ -]+", "_", " ".join(parts)).strip(" .=@-") or "unnamed"
    if taken := set(ids.values()) & set(OWN):
        raise StudyError(f"a codec cannot be named {taken.pop()} here: a study's own images are")
    if len(set(ids.values())) < len(ids):
        raise StudyError(f"two conditions would have one name: {', '.join(sorted(ids.values()))}")
    return ids


def check(study: Study) -> None:
    """Refuse a plan that no rater could follow."""
    usable = sum(scene.check for scene in study.scenes)
    if (study.design.checks or study.design.training) and not usable:
        why = "no crop is detailed enough for an attention check with a plain answer"
        raise StudyError(f"{why}; pick other crops, or go without: --checks 0 --training 0")
    # A smaller study still asks each pair once; more trials than pairs would repeat them silently.
    if study.design.method != "full" and study.design.trials > len(study.pairs):
        what = f"{len(study.pairs)} {'pairs' if study.task == 'pairs' else 'images to rate'}"
        asked = f"--trials {study.design.trials}: there are only {what}"
        raise StudyError(f"{asked}; ask for fewer, or use --design full")


def _scenes(folder: Path, coded: Sequence[StudyImage], ids: Mapping[Key, str], options: StudyOptions) -> list[Scene]:
    """Every crop of one photograph. Each file is decoded once."""
    whole = _read(coded[0].original)
    decoded = [_read(one.reconstruction) for one in coded]
    for one, image in zip(coded, decoded, strict=True):
        if image.size != whole.size:
            sizes = [f"{each.width}x{each.height}" for each in (image, whole)]
            what = f"{one.reconstruction} is {sizes[0]}, its original {one.original} {sizes[1]}"
            raise StudyError(f"{what}; they must be of one size")
    scenes = []
    for left, top, right, bottom in shots(coded[0].image, whole.size, options):
        source = whole.crop(box := (left, top, right, bottom))
        degraded = mosaic(source, 8)
        own = [source, *map(one_level_off, (source, degraded, blurred(source, 8), blurred(source, 3)))]
        renderings = {}
        for one, image in zip(coded, decoded, strict=True):
            crop = image.crop(box)
            metrics = dict(one.metrics)
            if (seen := _psnr(source, crop)) < EQUAL_DB:
                metrics["psnr_crop"] = round(seen, 4)
            renderings[ids[one.key]] = Rendering(keep(folder, crop), one.bpp, metrics)
        place = left, top, right - left, bottom - top
        original, hidden, check, obvious, mild = (keep(folder, image) for image in own)
        plain = _psnr(source, degraded) <= CHECK_DB
        scenes.append(Scene("", coded[0].image, *place, original, hidden, check, obvious, mild, plain, renderings))
    return scenes


def shots(image: str, size: tuple[int, int], options: StudyOptions) -> list[tuple[int, int, int, int]]:
    """Where to crop a photograph of this size (left, top, right, bottom): where the owner says, else at random by the
    seed and its name."""
    width, height = (min(a, b) for a, b in zip(size, options.crop or size, strict=True))
    if image in options.crop_at:
        x, y = options.crop_at[image]
        if x < 0 or y < 0 or x + width > size[0] or y + height > size[1]:
            fits = f"a crop of {width}x{height} does not fit into {size[0]}x{size[1]} there"
            raise StudyError(f"--crop-at {image}={x},{y}: {fits}")
        corners = [(x, y)]
    else:
        rng = np.random.default_rng([options.seed, 2, *image.encode()])
        count = 1 if (width, height) == size else options.crops_per_image
        room = size[0] - width + 1, size[1] - height + 1
        corners = [(int(rng.integers(room[0])), int(rng.integers(room[1]))) for _ in range(count)]
    return [(x, y, x + width, y + height) for x, y in corners]


def _read(path: Path) -> Image.Image:
    """An 8-bit sRGB image, or StudyError naming the file."""
    try:
        return read_image(path)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} cannot be read as an image ({error})") from error


def keep(folder: Path, image: Image.Image) -> str:
    """Store an image in the study under the hash of its PNG; returns that id (128 bits in hex)."""
    data = saved(image, "PNG")
    name = hashlib.sha256(data).hexdigest()[:32]
    write_atomically(folder / "images" / f"{name}.png", data)
    return name


def one_level_off(image: Image.Image) -> Image.Image:
    """The image with one sample in eight moved by one level towards mid-grey: looks the same, is another file.

    Without it the original among the answers of a check has the very bytes of the original beside them, and a mosaic a
    file a tenth as long. The same image is always changed in the same way.
    """
    pixels = np.asarray(image)
    rng = np.random.default_rng([7, *hashlib.sha256(pixels.tobytes()).digest()])
    step = np.where(pixels > 127, -1, 1) * (rng.random(pixels.shape) < 1 / 8)
    return Image.fromarray((pixels + step).astype(np.uint8))


def mosaic(image: Image.Image, factor: int) -> Image.Image:
    """Blocks of factor x factor pixels: visible on texture, edges and gradients alike."""
    return _smaller(image, factor).resize(image.size, Image.Resampling.NEAREST)


def blurred(image: Image.Image, factor: int) -> Image.Image:
    return _smaller(image, factor).resize(image.size, Image.Resampling.BICUBIC)


def _smaller(image: Image.Image, factor: int) -> Image.Image:
    return image.resize([max(1, side // factor) for side in image.size], Image.Resampling.BOX)


def _psnr(first: Image.Image, second: Image.Image) -> float:
    return psnr(np.asarray(first), np.asarray(second))


def _conditions(
    ids: Mapping[Key, str], scenes: Sequence[Scene], measures: Mapping[Key, dict[str, float]]
) -> tuple[Condition, ...]:
    def mean(name: str) -> float | None:
        rates = [s.renderings[name].bpp for s in scenes if name in s.renderings]
        known = [rate for rate in rates if rate is not None]
        return round(float(np.mean(known)), 5) if known and len(known) == len(rates) else None

    return tuple(Condition(name, *key, mean(name), dict(measures.get(key, {}))) for key, name in ids.items())


def _consent(path: Path | None) -> str:
    try:
        return (path or Path(__file__).with_name(CONSENT)).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"the consent text {path} cannot be read ({error})") from error
