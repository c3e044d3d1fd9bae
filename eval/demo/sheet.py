"""A sheet of images: the whole of each in one row, the same detail of each, enlarged, in the next."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN, TEXT = 12, 17
PAPER, INK, FAINT, FRAME = (250, 250, 248), (20, 20, 20), (95, 95, 95), (255, 80, 60)


def side_by_side(
    original: Image.Image, others: Sequence[tuple[str, str, Image.Image]], detail: int = 200, zoom: int = 2
) -> Image.Image:
    """The original and (name, caption, image) of the others in columns: whole above, a detail enlarged below.

    The detail is the busiest square of the original, `detail` pixels wide; it is enlarged `zoom` times without
    smoothing, so that what is seen is pixels.
    """
    left, top, side = busiest_square(original, detail)
    column = zoom * side
    fitted = round(original.height * column / original.width)
    head = 2 * TEXT + MARGIN
    width = (len(others) + 1) * (column + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, head + fitted + column + 3 * MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    columns = [("original", f"{original.width}x{original.height}", original), *others]
    for k, (name, caption, image) in enumerate(columns):
        x = MARGIN + k * (column + MARGIN)
        draw.text((x, MARGIN // 2), name, INK, ImageFont.load_default(TEXT))
        draw.text((x, MARGIN // 2 + TEXT + 4), caption, FAINT, ImageFont.load_default(TEXT - 3))
        whole = image.resize((column, fitted), Image.Resampling.LANCZOS)
        sheet.paste(whole, (x, head + MARGIN))
        piece = image.crop((left, top, left + side, top + side))
        y = head + fitted + 2 * MARGIN
        sheet.paste(piece.resize((column, column), Image.Resampling.NEAREST), (x, y))
        if k == 0:
            scale = column / original.width
            box = [v * scale for v in (left, top, left + side, top + side)]
            draw.rectangle((x + box[0], head + MARGIN + box[1], x + box[2], head + MARGIN + box[3]), outline=FRAME)
    return sheet


def rows_of_crops(columns: Sequence[str], rows: Sequence[Sequence[tuple[Image.Image, str]]]) -> Image.Image:
    """Images of one size in rows under their columns' names, pixel by pixel, each with a caption below."""
    width, height = rows[0][0][0].size
    line = TEXT + MARGIN // 2
    sheet = Image.new(
        "RGB", (MARGIN + len(columns) * (width + MARGIN), line + MARGIN + len(rows) * (height + line)), PAPER
    )
    draw = ImageDraw.Draw(sheet)
    for k, name in enumerate(columns):
        x = MARGIN + k * (width + MARGIN)
        draw.text((x, MARGIN // 2), name, INK, ImageFont.load_default(TEXT))
        for row, pieces in enumerate(rows):
            y = line + MARGIN // 2 + row * (height + line)
            image, caption = pieces[k]
            sheet.paste(image, (x, y))
            draw.text((x, y + height + 2), caption, FAINT, ImageFont.load_default(TEXT - 4))
    return sheet


def busiest_square(image: Image.Image, side: int) -> tuple[int, int, int]:
    """Left, top and side (at most the image's) of the square with the most energy in fine detail."""
    side = min(side, *image.size)
    grey = np.pad(np.asarray(image.convert("L"), np.float64), 1, mode="edge")
    detail = np.abs(4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:])
    # Amplitudes, not squares: an even texture is worth more than one hard edge.
    total = np.pad(detail.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    sums = total[side:, side:] - total[:-side, side:] - total[side:, :-side] + total[:-side, :-side]
    top, left = np.unravel_index(sums.argmax(), sums.shape)
    return int(left), int(top), side
