"""What a file is, is decided by its content before any reader sees it: no interpreter, no preview for a photograph."""

import ast
import contextlib
import io
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gencomp.bulk.transform import thumbnail
from gencomp.image import ImageError, read_image
from gencomp.kinds import kind_of, open_image
from gencomp.train.data.sources import Photograph, decode

ROOT = Path(__file__).parents[2]
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n%%EOF\n"
DRAWN = {
    "EPS": EPS,
    "EPS of DOS": b"\xc5\xd0\xd3\xc6" + struct.pack("<7I", 32, len(EPS), 0, 0, 0, 0, 0xFFFF) + EPS,
    "PDF": b"%PDF-1.7\n1 0 obj",
    "WMF": b"\xd7\xcd\xc6\x9a\0\0" + bytes(60),
    "EMF": b"\x01\0\0\0" + bytes(36) + b" EMF" + bytes(60),
    "SVG": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>',
}
RAW = {
    "CR2": b"II*\0\x10\0\0\0CR\2\0" + bytes(52),
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(40),
    "RAF": b"FUJIFILMCCD-RAW 0201FF" + bytes(42),
    "ORF": b"IIRO\x08\0\0\0" + bytes(56),
    "RW2": b"IIU\0\x18\0\0\0" + bytes(56),
}


def tiff(*directories: dict[Any, Any], order: str = "<", big: bool = False) -> bytes:
    """A TIFF of 4x4 RGB: directories by tag, one after another and not linked; "inside": numbers of those below one."""
    count, offset, start = ("Q", "Q", 16) if big else ("H", "I", 8)
    places = [start + 1000 * number for number in range(len(directories) + 1)]
    blocks, strip = [], places[-1]
    for place, entries in zip(places, directories):
        held = {256: 4, 257: 4, 258: [8, 8, 8], 259: 1, 262: 2, 273: strip, 277: 3, 278: 4, 279: 48, **entries}
        if inside := held.pop("inside", []):
            held[330] = [places[number] for number in inside]
        table, apart = struct.pack(order + count, len(held)), b""
        for tag, value in sorted(held.items()):
            values = value if isinstance(value, list) else [value]
            packed = struct.pack(f"{order}{len(values)}{offset}", *values)
            if len(values) > 1:
                packed, apart = struct.pack(order + offset, place + 700 + len(apart)), apart + packed
            table += struct.pack(f"{order}HH{offset}", tag, 16 if big else 4, len(values)) + packed
        blocks.append((table.ljust(700, b"\0") + apart).ljust(1000, b"\0"))
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42)
    head += struct.pack(order + "HHQ", 8, 0, 16) if big else struct.pack(order + "I", 8)
    return head + b"".join(blocks) + bytes(48)


PREVIEWS: dict[str, Callable[..., bytes]] = {
    "first reduced": lambda **how: tiff({254: 1, "inside": [1]}, {256: 40, 257: 40}, **how),
    "larger below": lambda **how: tiff({"inside": [1, 2]}, {254: 1}, {256: 40, 257: 40}, **how),
    "colour mosaic below": lambda **how: tiff({"inside": [1]}, {262: 32803}, **how),
    "linear raw": lambda **how: tiff({262: 34892}, **how),
}
HARMLESS: dict[str, Callable[..., bytes]] = {
    "plain": lambda **how: tiff({}, **how),
    "pyramid": lambda **how: tiff({"inside": [1]}, {254: 1, 256: 2, 257: 2}, **how),
    "directory that holds itself": lambda **how: tiff({"inside": [0]}, **how),
}


def saved(form: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 12), (9, 80, 200)).save(file, form)
    return file.getvalue()


@pytest.fixture
def interpreters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands as soon as anything calls Ghostscript."""
    called, folder = tmp_path / "called", tmp_path / "bin"
    folder.mkdir()
    for name in ("gs", "inkscape", "convert"):
        (folder / name).write_text(f"#!/bin/sh\ntouch {called}\necho 10.0\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("PIL.EpsImagePlugin.gs_binary", None)
    return called


@pytest.mark.parametrize("kind", DRAWN)
def test_no_drawing_comes_to_an_interpreter_under_another_name(kind: str, tmp_path: Path, interpreters: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(DRAWN[kind])
    for source in (path, str(path), io.BytesIO(DRAWN[kind])):
        with pytest.raises(ImageError, match="vector format"):
            read_image(source)
    assert thumbnail(DRAWN[kind]) is None
    assert decode(Photograph("photo.jpg", DRAWN[kind])) is None
    if kind == "EPS":
        with pytest.raises(ImageError, match="vector format"):
            read_image(Image.open(path))  # opened by the caller, and not yet drawn
    assert not interpreters.exists()


def test_every_image_is_opened_where_its_kind_is_decided() -> None:
    """Anywhere else Pillow would try all that it has."""
    for path in (p for folder in ("gencomp", "train", "eval") for p in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"Image.open", "PIL.Image.open"}:
                assert path.name == "kinds.py", f"{path.relative_to(ROOT)}:{node.lineno} calls Image.open"
                assert any(k.arg == "formats" for k in node.keywords)


@pytest.mark.parametrize("kind", RAW)
def test_a_raw_photograph_is_named_and_refused(kind: str) -> None:
    with pytest.raises(ImageError, match=f"a raw photograph .*{kind}.*develop it first"):
        read_image(io.BytesIO(RAW[kind]))


@pytest.mark.parametrize("how", [{}, {"order": ">"}, {"big": True}])
@pytest.mark.parametrize("kind", [*PREVIEWS, *HARMLESS])
def test_a_preview_is_not_taken_for_its_photograph(kind: str, how: dict[str, Any]) -> None:
    data = (PREVIEWS | HARMLESS)[kind](**how)
    if kind in HARMLESS:
        assert read_image(io.BytesIO(data)).size == (4, 4)
        return
    with pytest.raises(ImageError, match="preview of another"):
        read_image(io.BytesIO(data))
    if kind != "linear raw":  # which Pillow does not open at all
        with pytest.raises(ImageError, match="preview of another"), Image.open(io.BytesIO(data)) as image:
            read_image(image)


def test_broken_tiffs_end_in_an_error_at_once() -> None:
    whole = PREVIEWS["larger below"]()
    draw = np.random.default_rng(0)
    for _ in range(300):
        data = bytearray(whole[: int(draw.integers(8, len(whole)))])
        for at in draw.integers(0, min(len(data), 1200), 6):
            data[at] = draw.integers(256)
        with contextlib.suppress(ImageError):
            read_image(io.BytesIO(bytes(data)))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "JPEG2000", "AVIF", "PPM", "TGA", "ICO"])
def test_images_are_known_by_content_and_open_under_any_name(form: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.txt"
    path.write_bytes(saved(form))
    assert (kind_of(path.read_bytes()[:64]), read_image(path).mode) == (form, "RGB")
    with open_image(path) as image:
        assert image.format == form


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "pip install pillow-heif"),
        (b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc", "pip install pillow-heif"),
        (b"\xff\x0a" + bytes(20), "pip install pillow-jxl-plugin"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0qt  ", "a video"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "a video"),
        (b"GNC\1" + bytes(40), "a gencomp file already"),
        (b"", "not an image"),
        (b"P8 lines of a text file", "not an image"),
        (b"\x1c\x02\x03\0\x01" + bytes(60), "not an image"),  # IPTC, whose reader opens anything inside it
        (b"SIMPLE  =                    T", "not an image"),
    ],
)
def test_what_is_not_read_is_named_with_what_to_do(start: bytes, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pillow_heif", "pillow_jxl"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImageError, match=said):
        read_image(io.BytesIO(start.ljust(80, b"\0") if said != "not an image" else start))
