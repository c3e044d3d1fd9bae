"""A destination holds the outputs of one setting: the first run writes it down, the others are held to it."""

from __future__ import annotations

import json
from typing import Any

from gencomp.bulk.plan import SourceError
from gencomp.bulk.settings import Settings
from gencomp.bulk.storage import BULK, Place

FILE = f"{BULK}/settings.json"


class SettingsError(ValueError):
    """The destination was begun with other settings."""


def claim(destination: Place, settings: Settings, model_id: str) -> None:
    """Write the settings of a new destination down; SettingsError where they differ from those of an old one.

    Any number of processes may do this at once: they write the same.
    """
    asked = settings.decisive(model_id)
    if destination.exists(FILE):
        check_settings(destination, asked)
    else:
        destination.publish(json.dumps(asked, indent=2).encode() + b"\n", FILE)


def check_settings(destination: Place, asked: dict[str, Any]) -> None:
    """SettingsError where the destination was begun with others; one without any is new."""
    if not destination.exists(FILE):
        return
    before: dict[str, Any] = json.loads(destination.read(FILE))
    differs = [name for name in asked if asked[name] != before.get(name)]
    if differs:
        what = ", ".join(f"{name} {_text(before.get(name))} (now {_text(asked[name])})" for name in differs)
        raise SettingsError(f"{destination.root} was begun with {what}: name another destination")


def check_apart(source: Place, destination: Place, settings: Settings) -> None:
    """SourceError where outputs would be written among the inputs; tables of verify may lie there, they are hidden."""
    if type(source.fs) is not type(destination.fs):
        return
    inner, outer = destination.root.rstrip("/") + "/", source.root.rstrip("/") + "/"
    if inner.startswith(outer) and not (settings.direction == "verify" and inner == outer):
        raise SourceError(f"the destination {destination.root} lies in the source {source.root}: name another")


def _text(value: Any) -> str:
    return "default" if value is None else str(value)
