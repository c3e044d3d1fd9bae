"""The sheet of crops: pixels as they are, at equal bytes."""

from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import data_dir

from gencomp.eval.codecs.build import build
from gencomp.eval.demo.crops import CROPS, SIDE, show
from gencomp.eval.demo.sheet import rows_of_crops


def test_every_crop_lies_inside_its_photograph() -> None:
    for crop in CROPS:
        with Image.open(Path(data_dir) / crop.photo) as photo:
            assert 0 <= crop.left <= photo.width - SIDE
            assert 0 <= crop.top <= photo.height - SIDE


def test_sheet_shows_pixels_one_to_one() -> None:
    jpeg = build("jpeg")[0]
    sheet = np.asarray(show(CROPS[:1], jpeg, jpeg, bpp=1.0))
    with Image.open(Path(data_dir) / CROPS[0].photo) as photo:
        top, left = CROPS[0].top, CROPS[0].left
        piece = np.asarray(photo.convert("RGB"))[top : top + SIDE, left : left + SIDE]
    found = [
        (y, x)
        for y in range(sheet.shape[0] - SIDE + 1)
        for x in range(20)
        if np.array_equal(sheet[y, x : x + SIDE], piece[0]) and np.array_equal(sheet[y : y + SIDE, x : x + SIDE], piece)
    ]
    assert len(found) == 1


def test_columns_and_rows_have_room() -> None:
    pieces = [[(Image.new("RGB", (30, 20), (k, row, 0)), "words") for k in range(3)] for row in range(2)]
    sheet = np.asarray(rows_of_crops(["a", "b", "c"], pieces))
    for row in range(2):
        for k in range(3):
            assert int((sheet == (k, row, 0)).all(2).sum()) == 30 * 20
