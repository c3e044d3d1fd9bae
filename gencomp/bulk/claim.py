"""A destination belongs to one source, one direction, one set of settings and one decoder: the first run writes them
down, of any number that begin at once one does, and all others are held to them.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

from gencomp.bulk.plan import BulkSourceError, ShardedSource
from gencomp.bulk.settings import Settings
from gencomp.bulk.storage import BULK, Storage
from gencomp.files import shown
from gencomp.outputs import file_ids

FILE = f"{BULK}/settings.json"
_PATIENCE = 5.0  # seconds for whoever has created the file to have written it


class SettingsError(ValueError):
    """The destination was begun with other settings, from another source or by another decoder."""


def claim(destination: Storage, source: Storage, settings: Settings) -> None:
    """Make a new destination this run's, or see that it is; SettingsError, in one line that says what differs."""
    if destination.local and Path(destination.path(BULK)).is_symlink():
        raise SettingsError(f"{shown(destination.path(BULK))} is a link, and outputs do not go through links")
    asked = {"source": shown(source.url), **settings.decisive(), "decoder": decoder_of(settings.model)}
    named = {**asked, "model": settings.model or "the embedded one"}  # for people: two names may be one file
    if destination.exists(FILE) or not destination.create(json.dumps(named, indent=2).encode() + b"\n", FILE):
        before = claimed(destination)
        differs = [name for name in asked if asked[name] != before.get(name)]
        if differs:
            what = ", ".join(f"{name} {_text(before.get(name))} (now {_text(asked[name])})" for name in differs)
            raise SettingsError(f"{shown(destination.root)} was begun with {what}: name another destination")


def claimed(destination: Storage) -> dict[str, Any]:
    """What a destination was begun with; FileNotFoundError where it was not."""
    begun = time.monotonic()
    while True:
        try:
            return dict(json.loads(destination.read(FILE)))
        except ValueError as error:
            if time.monotonic() - begun > _PATIENCE:
                raise SettingsError(f"{shown(destination.path(FILE))} is damaged: name another destination") from error
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
    is_new = not destination.exists(FILE)
    if source.whole and top <= file_ids(folder.parents) and is_new and folder.is_dir() and any(folder.iterdir()):
        raise BulkSourceError(f"the destination {inner} lies in the source {outer} and is not empty: name another")
    targets = [path for shard in source.shards if shard.target and (path := folder / shard.target).exists()]
    inputs = file_ids(Path(source.place.path(shard.path)) for shard in source.shards) if targets else frozenset()
    for target in targets:
        if file_ids([target]) & inputs:
            raise BulkSourceError(f"{shown(target)} would replace an input: name another destination")


def _text(value: Any) -> str:
    return "default" if value is None else str(value)
