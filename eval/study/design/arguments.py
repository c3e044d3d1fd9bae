"""Arguments of `gencomp study new` that have a form of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from .sources import CodecFolder


def size(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int] | None:
    if value == "whole":
        return None
    if not (found := re.fullmatch(r"(\d{2,5})(?:x(\d{2,5}))?", value)):
        raise click.BadParameter("give WIDTHxHEIGHT in pixels, one number for a square, or whole")
    return int(found[1]), int(found[2] or found[1])


def places(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, tuple[int, int]]:
    places = {}
    for value in values:
        if not (found := re.fullmatch(r"(.+)=(\d+),(\d+)", value)):
            raise click.BadParameter(f"{value!r}: give IMAGE=X,Y, the crop's left and top pixel")
        places[found[1]] = (int(found[2]), int(found[3]))
    return places


def folders(_: click.Context, __: click.Parameter, values: Sequence[str]) -> list[CodecFolder]:
    from .sources import CodecFolder

    folders = []
    for value in values:
        if not (found := re.fullmatch(r"([^=@]+)(?:@([0-9.]+))?=(.+)", value)):
            raise click.BadParameter(f"{value!r}: give NAME=FOLDER or NAME@BPP=FOLDER")
        folders.append(CodecFolder(found[1], float(found[2]) if found[2] else None, Path(found[3])))
    return folders
