"""What is done to every image of a data set, and which of it decides the bytes of the outputs.

A destination belongs to one source, one direction, one set of settings and one decoder: the first run writes them down,
of any number that begin at once one does, and all others are held to them.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gencomp.bitstream import MAX_PIXELS, MAX_QUALITY, MIN_QUALITY
from gencomp.bulk.storage import BULK, Storage
from gencomp.effort import AIMS, checked_aim, steps_of
from gencomp.files import CODED_SUFFIX, IMAGE_SUFFIXES, shown
from gencomp.metadata import checked
from gencomp.outputs import file_ids

if TYPE_CHECKING:
    from gencomp.bulk.plan import ShardedSource

DIRECTIONS = ("code", "decode", "verify")
FORMATS = ("png", "webp", "jpg", "tiff")
CLAIM = f"{BULK}/settings.json"
_PATIENCE = 5.0  # seconds for whoever has created the file to have written it
_DECIDE_NO_BYTE = ("model", "device", "max_pixels")  # the model does, by its digest
_LABELS = {"seg", "segmentation", "semantic", "instance", "label", "labels", "mask", "masks", "depth", "disparity"}


@dataclass(frozen=True)
class Settings:
    """Immutable and small: it travels to every worker.

    direction: "code" (images to .gnc), "decode" (.gnc to `format`) or "verify" (.gnc, nothing is written but the
    status tables). quality, bpp, bytes, effort, aim, keep, background: as `Codec.encode`, at most one of the first
    three. realism: as `Codec.decompress`. model, device: as `gencomp.load`; max_pixels: larger images fail. column: the
    image column of parquet files, or the kinds of tar members that are images ("jpg,left.png"); None finds them.
    per_shard: how many images of a folder make a shard; pack: they go into one tar file a shard. Raises ValueError for
    what cannot be meant.
    """

    direction: str = "code"
    quality: float | None = None
    bpp: float | None = None
    bytes: int | None = None
    effort: int = 0
    aim: str = AIMS[0]
    keep: tuple[str, ...] = ()
    background: str | None = None
    realism: float | None = None
    format: str = "png"
    model: str | None = None
    device: str = "auto"
    max_pixels: int = MAX_PIXELS
    column: str | None = None
    per_shard: int = 1000
    pack: bool = False

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            raise ValueError(f"the direction is one of {', '.join(DIRECTIONS)}, not {self.direction}")
        if self.format not in FORMATS:
            raise ValueError(f"images are decoded to one of {', '.join(FORMATS)}, not {self.format}")
        sizes = [name for name in ("quality", "bpp", "bytes") if getattr(self, name) is not None]
        if len(sizes) > 1:
            raise ValueError(f"give one of quality, bpp and bytes, not {' and '.join(sizes)}")
        asked = [*sizes, *(name for name in ("effort", "keep", "background") if getattr(self, name))]
        idle = asked if self.direction != "code" else []
        idle += ["realism"] if self.realism is not None and self.direction != "decode" else []
        if idle:
            raise ValueError(f"{idle[0]} has no effect on {self.direction}")
        steps_of(self.effort), checked_aim(self.aim), checked(self.keep)
        if self.per_shard < 1:
            raise ValueError("a shard has at least one image")
        if self.quality is not None and not MIN_QUALITY <= self.quality <= MAX_QUALITY:
            raise ValueError(f"quality must lie in {MIN_QUALITY:g} to {MAX_QUALITY:g}, not {self.quality:g}")

    @property
    def suffix(self) -> str:
        """That of the outputs, with its dot."""
        return CODED_SUFFIX if self.direction == "code" else f".{self.format}"

    def takes(self, name: str) -> bool:
        """Whether a file or tar member of this name is a sample, whatever it holds. When coding, a .gnc file counts as
        a sample that is coded already: it is copied and reported as skipped."""
        suffix = PurePosixPath(name).suffix.lower()
        return suffix == CODED_SUFFIX or (self.direction == "code" and suffix in IMAGE_SUFFIXES)

    def takes_member(self, name: str) -> bool:
        """Whether a member of a tar file is a sample: by `column`, or by its suffix where its name is no label's."""
        if self.column is None:
            return self.takes(name) and not self.labels(name)
        kind = PurePosixPath(name).name.partition(".")[2].lower()
        return kind in [asked.strip().lower().lstrip(".") for asked in self.column.split(",")]

    def labels(self, name: str) -> bool:
        """Whether a member's name (`1.seg.png`) says that its pixels are labels or distances, which coding destroys."""
        return self.direction == "code" and not _LABELS.isdisjoint(PurePosixPath(name).name.lower().split(".")[1:-1])

    def decisive(self) -> dict[str, Any]:
        """What decides the outputs' bytes, but for the decoder."""
        silent = {*_DECIDE_NO_BYTE, *(() if self.effort else ("aim",))}
        silent |= set() if self.direction == "decode" else {"format"}
        named = {name: value for name, value in vars(self).items() if name not in silent}
        return {name: sorted(value) if isinstance(value, tuple) else value for name, value in named.items()}


class BulkSourceError(ValueError):
    """A source without anything to do, or whose outputs would collide."""


class SettingsError(ValueError):
    """The destination was begun with other settings, from another source or by another decoder."""


def claim(destination: Storage, source: Storage, settings: Settings) -> None:
    """Make a new destination this run's, or see that it is; SettingsError, in one line that says what differs."""
    if destination.local and Path(destination.path(BULK)).is_symlink():
        raise SettingsError(f"{shown(destination.path(BULK))} is a link, and outputs do not go through links")
    asked = {"source": shown(source.url), **settings.decisive(), "decoder": decoder_of(settings.model)}
    named = {**asked, "model": settings.model or "the embedded one"}  # for people: two names may be one file
    if destination.exists(CLAIM) or not destination.create(json.dumps(named, indent=2).encode() + b"\n", CLAIM):
        before = claimed(destination)
        differs = [name for name in asked if asked[name] != before.get(name)]
        if differs:
            old, new = ({n: "default" if of.get(n) is None else of[n] for n in differs} for of in (before, asked))
            what = ", ".join(f"{name} {old[name]} (now {new[name]})" for name in differs)
            raise SettingsError(f"{shown(destination.root)} was begun with {what}: name another destination")


def claimed(destination: Storage) -> dict[str, Any]:
    """What a destination was begun with; FileNotFoundError where it was not."""
    begun = time.monotonic()
    while True:
        try:
            return dict(json.loads(destination.read(CLAIM)))
        except ValueError as error:
            if time.monotonic() - begun > _PATIENCE:
                raise SettingsError(f"{shown(destination.path(CLAIM))} is damaged: name another destination") from error
            time.sleep(0.1)


def decoder_of(model: str | None) -> str:
    """The digest of a model's file. The model id alone tells no network from another that shares its integers."""
    from gencomp.codec import model_path

    path = model_path(model)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.is_file() else f"of {path}"


def check_apart(source: ShardedSource, destination: Storage, settings: Settings) -> None:
    """BulkSourceError where an output would replace an input, or the outputs would be inputs of the next run."""
    if settings.direction == "verify" or type(source.place.fs) is not type(destination.fs):
        return
    if not source.place.local:
        if source.place.root.strip("/") == destination.root.strip("/"):
            raise BulkSourceError(f"the destination {shown(destination.root)} is the source: name another")
        return
    inner, outer = shown(destination.root), shown(source.place.root)
    folder, top = Path(destination.root), file_ids([Path(source.place.root)])
    if source.whole and file_ids([folder]) == top:
        raise BulkSourceError(f"the destination {inner} is the source: name another")
    is_new = not destination.exists(CLAIM)
    if source.whole and top <= file_ids(folder.parents) and is_new and folder.is_dir() and any(folder.iterdir()):
        raise BulkSourceError(f"the destination {inner} lies in the source {outer} and is not empty: name another")
    targets = [path for shard in source.shards if shard.target and (path := folder / shard.target).exists()]
    inputs = file_ids(Path(source.place.path(shard.path)) for shard in source.shards) if targets else frozenset()
    for target in targets:
        if file_ids([target]) & inputs:
            raise BulkSourceError(f"{shown(target)} would replace an input: name another destination")
