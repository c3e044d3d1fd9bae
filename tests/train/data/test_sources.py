"""Sources of photographs: folders, tables, and what their bytes say; and rendered graphics."""

import io
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

from gencomp.train.data import sources
from gencomp.train.data.graphics import rendered
from gencomp.train.data.sources import DataError, Sources, is_lossless, odds

from ..conftest import parquet

FILES: list[Any] = [("png", {}, True), ("webp", {"lossless": True}, True)]
FILES += [("webp", {"lossless": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}, True), ("webp", {"quality": 90}, False)]
FILES += [("jpeg", {"quality": 100}, False), ("tiff", {}, True), ("ppm", {}, True)]


def test_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    for name, said in ((".", "no photographs"), ("absent", "no folder"), ("absent.parquet", "no file")):
        with pytest.raises(DataError, match=said):
            Sources([str(tmp_path / name)])


def test_parquet_gives_the_images_of_its_folder(photographs: Path, tmp_path: Path) -> None:
    both = Sources([str(photographs), str(parquet(photographs, tmp_path / "set.parquet"))])
    assert (len(both), both[4].data, both[8].data) == (4 + 5, both[0].data, both[3].data)
    assert "row 1" in both[5].name


def test_sizes_are_found_without_tables(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (320, 160)).save(tmp_path / "wide.png")
    mixed = Sources([str(tmp_path), str(parquet(photographs, tmp_path / "tables" / "set.parquet"))])
    monkeypatch.setattr(sources.ImageTable, "__getitem__", Mock(side_effect=AssertionError("an image was read")))
    chances = odds(mixed)
    assert chances is not None
    assert chances.sum() == pytest.approx(1)
    assert len(set(chances[1:])) == 1  # rows of the table, all alike


@pytest.mark.parametrize(("kind", "options", "lossless"), FILES)
def test_lossless_files_are_told_by_their_bytes(kind: str, options: dict[str, object], lossless: bool) -> None:
    file = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGB").save(file, kind, **options)
    assert is_lossless(file.getvalue()) == lossless


def test_graphics_are_a_function_of_the_generator_of_the_size_that_is_asked_for() -> None:
    assert np.array_equal(rendered(np.random.default_rng(3), 96), rendered(np.random.default_rng(3), 96))
    assert not np.array_equal(rendered(np.random.default_rng(3), 96), rendered(np.random.default_rng(4), 96))
    for side in (64, 192, 448):
        assert rendered(np.random.default_rng(0), side).shape == (side, side, 3)


def test_graphics_are_flat_colour_with_hard_edges() -> None:
    """Half of the pixels at least equal their neighbour exactly, and steps of over 100 grey levels are common."""
    flat, hard = [], []
    for number in range(40):
        steps = np.abs(np.diff(rendered(np.random.default_rng(number), 128).astype(int), axis=1)).max(-1)
        flat.append((steps == 0).mean())
        hard.append((steps > 100).any())
    assert np.mean(flat) > 0.5
    assert np.mean(hard) > 0.8
