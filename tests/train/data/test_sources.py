"""Sources of photographs: folders, tables, and what their bytes say."""

import io
from pathlib import Path

import pytest
from PIL import Image

from gencomp.train.data import sources
from gencomp.train.data.sources import SourceError, Sources, is_lossless, odds, open_source

from ..conftest import parquet


def test_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no photographs"):
        open_source(str(tmp_path))
    with pytest.raises(SourceError, match="no folder"):
        open_source(str(tmp_path / "absent"))
    with pytest.raises(SourceError, match="no file"):
        open_source(str(tmp_path / "absent.parquet"))


def test_parquet_gives_the_images_of_its_folder(photographs: Path, tmp_path: Path) -> None:
    both = Sources([str(photographs), str(parquet(photographs, tmp_path / "set.parquet"))])
    assert len(both) == 4 + 5
    assert both[4].data == both[0].data
    assert both[8].data == both[3].data
    assert "row 1" in both[5].name


def test_sizes_are_looked_up_without_reading_tables(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (320, 160)).save(tmp_path / "wide.png")
    mixed = Sources([str(tmp_path), str(parquet(photographs, tmp_path / "tables" / "set.parquet"))])

    def refuse(self: object, index: int) -> None:
        raise AssertionError("an image was read")

    monkeypatch.setattr(sources.Table, "__getitem__", refuse)
    chances = odds(mixed)
    assert chances is not None
    assert chances.sum() == pytest.approx(1)
    assert len(set(chances[1:])) == 1  # rows of the table, all alike


@pytest.mark.parametrize(
    ("kind", "options", "lossless"),
    [
        ("png", {}, True),
        ("webp", {"lossless": True}, True),
        ("webp", {"lossless": True, "exif": b"Exif\0\0II*\0\x08\0\0\0\0\0"}, True),
        ("webp", {"quality": 90}, False),
        ("jpeg", {"quality": 100}, False),
        ("tiff", {}, True),
        ("ppm", {}, True),
    ],
)
def test_lossless_files_are_told_by_their_bytes(kind: str, options: dict[str, object], lossless: bool) -> None:
    file = io.BytesIO()
    Image.effect_noise((40, 30), 60).convert("RGB").save(file, kind, **options)
    assert is_lossless(file.getvalue()) == lossless
