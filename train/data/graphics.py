"""Graphics that the project renders itself: text, diagrams, interfaces and charts, for training and for measuring.

Photographs teach a codec nothing of flat colour, hairlines and glyphs. An image is a function of a random generator
alone; fonts are the DejaVu family that matplotlib carries, so no file is needed.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, ...]
Rng = np.random.Generator

_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic")
_LETTERS = "eeeeettttaaaooiinnsshhrrddlcumwfgypbvk"  # about as often as in English


class Sheet(NamedTuple):
    """What is drawn on, with its colours."""

    draw: ImageDraw.ImageDraw
    size: tuple[int, int]
    back: Colour
    ink: Colour


def rendered(rng: Rng, side: int) -> np.ndarray:
    """A square of graphics, uint8 [side, side, 3]: a place in a larger sheet, so that things are cut at its edges."""
    whole = max(side + 128, 320)
    back, ink = _palette(rng)
    image = Image.new("RGB", (whole, whole), back)
    kind = _KINDS[int(rng.integers(len(_KINDS)))]
    kind(Sheet(ImageDraw.Draw(image), (whole, whole), back, ink), rng)
    left, top = (int(rng.integers(0, whole - side + 1)) for _ in range(2))
    return np.asarray(image)[top : top + side, left : left + side]


@functools.lru_cache(maxsize=128)
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


def _random_font(rng: Rng, *sizes: int) -> ImageFont.FreeTypeFont:
    return _font(str(rng.choice(_FONTS)), int(rng.choice(sizes or (10, 11, 12, 13, 14, 16, 18, 22, 28, 40))))


def _palette(rng: Rng) -> tuple[Colour, Colour]:
    """Background and ink: light or dark, often pure."""
    light, dark = rng.integers(225, 256, 3), rng.integers(0, 60, 3)
    if rng.random() < 0.5:
        light, dark = np.full(3, 255), np.full(3, int(rng.integers(0, 40)))
    pair = tuple(light.tolist()), tuple(dark.tolist())
    return pair if rng.random() < 0.65 else pair[::-1]


def _any_colour(rng: Rng) -> Colour:
    return tuple(rng.integers(0, 256, 3).tolist())


def _between(a: Colour, b: Colour, share: float) -> Colour:
    return tuple(np.round((1 - share) * np.array(a) + share * np.array(b)).astype(int).tolist())


def _word(rng: Rng) -> str:
    if rng.random() < 0.08:
        return str(int(rng.integers(0, 100_000)))
    return "".join(_LETTERS[i] for i in rng.integers(0, len(_LETTERS), int(rng.integers(1, 10))))


def _words(rng: Rng, count: int) -> str:
    return " ".join(_word(rng) for _ in range(count)).capitalize()


def _paragraph(sheet: Sheet, rng: Rng, box: tuple[int, int, int, int], font: ImageFont.FreeTypeFont) -> None:
    """Lines of words that fill a box: left, top, right, bottom."""
    left, top, right, bottom = box
    line_height = int(font.size * 1.35)
    for y in range(top, bottom - line_height, line_height):
        line = ""
        while font.getlength(line) < right - left - 4 * font.size:
            line += _word(rng) + " "
        sheet.draw.text((left, y), line.capitalize() if rng.random() < 0.3 else line, font=font, fill=sheet.ink)


def _text(sheet: Sheet, rng: Rng) -> None:
    width, height = sheet.size
    columns = int(rng.integers(1, 3))
    for column in range(columns):
        left, right = (width * k // columns for k in (column, column + 1))
        _paragraph(sheet, rng, (left + 12, 12, right - 12, height), _random_font(rng))


def _diagram(sheet: Sheet, rng: Rng) -> None:
    """Boxes, ellipses, lines and polygons with labels."""
    for _ in range(int(rng.integers(8, 20))):
        x, y = (int(rng.integers(0, length)) for length in sheet.size)
        box = (x, y, x + int(rng.integers(30, 200)), y + int(rng.integers(20, 150)))
        fill, line = (_any_colour(rng) if rng.random() < 0.6 else None), int(rng.integers(1, 5))
        shape = rng.random()
        if shape < 0.35:
            sheet.draw.rectangle(box, fill, sheet.ink, line)
        elif shape < 0.6:
            sheet.draw.ellipse(box, fill, sheet.ink, line)
        elif shape < 0.9:
            sheet.draw.line((x, y, *(int(rng.integers(0, length)) for length in sheet.size)), _any_colour(rng), line)
        else:
            corners = [tuple(int(rng.integers(0, length)) for length in sheet.size) for _ in range(3)]
            sheet.draw.polygon(corners, _any_colour(rng))
        sheet.draw.text((x + 5, y + 5), _words(rng, 2), sheet.ink, _random_font(rng, 11, 13, 16, 20))


def _interface(sheet: Sheet, rng: Rng) -> None:
    """A title bar, a list at the side, and cards with text and a button."""
    width, height = sheet.size
    side, font = int(rng.integers(90, 160)), _random_font(rng, 11, 12, 13, 14)
    sheet.draw.rectangle((0, 0, width, 32), _any_colour(rng))
    sheet.draw.rectangle((0, 32, side, height), _between(sheet.back, sheet.ink, 0.12))
    for y in range(44, height, 28):
        sheet.draw.text((12, y), _words(rng, 2), sheet.ink, font)
    card, edge = _between(sheet.back, sheet.ink, 0.04), _between(sheet.back, sheet.ink, 0.5)
    for y in range(44, height, 104):
        sheet.draw.rounded_rectangle((side + 14, y, width - 14, y + 92), 8, card, edge)
        _paragraph(sheet, rng, (side + 24, y + 6, width - 110, y + 88), font)
        sheet.draw.rounded_rectangle((width - 100, y + 30, width - 28, y + 60), 6, _any_colour(rng))
        sheet.draw.text((width - 92, y + 37), _word(rng)[:8], (255, 255, 255), font)


def _chart(sheet: Sheet, rng: Rng) -> None:
    """Axes with curves or bars."""
    width, height = sheet.size
    left, top, right, bottom = 48, 30, width - 16, height - 30
    font = _random_font(rng, 10, 11, 12, 13)
    for y in range(top, bottom, max(24, (bottom - top) // 6)):
        sheet.draw.line((left, y, right, y), _between(sheet.back, sheet.ink, 0.25))
        sheet.draw.text((8, y - 6), str(int(rng.integers(0, 500))), sheet.ink, font)
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 5))):
            xs = np.arange(left, right, int(rng.choice((4, 12, 30))))
            ys = np.clip(rng.integers(top, bottom) + np.cumsum(rng.integers(-25, 26, len(xs))), top, bottom)
            points = [(int(x), int(y)) for x, y in zip(xs, ys)]
            sheet.draw.line(points, _any_colour(rng), int(rng.integers(1, 4)))
    else:
        for x in range(left + 10, right - 24, 34):
            sheet.draw.rectangle((x, int(rng.integers(top, bottom)), x + 24, bottom), _any_colour(rng))
    sheet.draw.rectangle((left, top, right, bottom), None, sheet.ink)
    sheet.draw.text((width // 4, 6), _words(rng, 3), sheet.ink, _random_font(rng, 13, 16))


_KINDS: tuple[Callable[[Sheet, Rng], None], ...] = (_text, _diagram, _interface, _chart)
