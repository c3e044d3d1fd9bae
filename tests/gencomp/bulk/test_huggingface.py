"""Data sets of the library `datasets`, coded and read back lazily."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from gencomp.bulk import huggingface
from gencomp.bulk.huggingface import CodedImage, CodeImages


@pytest.fixture(autouse=True)
def quick(fake_codec: Any) -> Any:
    huggingface._transform.cache_clear()
    datasets.disable_progress_bars()
    yield fake_codec
    huggingface._transform.cache_clear()


def rows_of(files: dict[str, bytes | None]) -> Any:
    cells = [None if data is None else {"bytes": data, "path": name} for name, data in files.items()]
    rows = datasets.Dataset.from_dict({"image": cells, "label": list(range(len(cells)))})
    return rows.cast_column("image", datasets.Image(decode=False))


def test_a_mapped_data_set_is_read_back_by_image(tmp_path: Path, sets: Any, quick: Any) -> None:
    files = sets.some_images(6)
    coded = rows_of(files).map(CodeImages("image", quality=60), cache_file_name=str(tmp_path / "cache.arrow"))
    coded.to_parquet(str(tmp_path / "coded.parquet"))
    back = datasets.load_dataset("parquet", data_files=str(tmp_path / "coded.parquet"), cache_dir=str(tmp_path / "c"))
    rows = back["train"].cast_column("image", datasets.Image())
    assert rows["label"][:] == list(range(6))
    for row, data in zip(rows, files.values()):
        seen = quick.decompress(quick.compress(io.BytesIO(data), quality=60))
        assert np.array_equal(np.asarray(row["image"]), np.asarray(seen))
        assert row["image"].format == "GNC"


def test_errors_are_a_column_or_are_raised(sets: Any) -> None:
    rows = rows_of({"good.png": sets.image_file(1), "bad.png": b"no image", "none.png": None})
    coded = rows.map(CodeImages("image"), load_from_cache_file=False)
    assert [error is None for error in coded["error"]] == [True, False, True]
    assert [cell is None for cell in coded["image"]] == [False, True, True]
    assert coded[0]["image"]["path"] == "good.gnc"
    with pytest.raises(ValueError, match="be read"):
        CodeImages("image", error_column=None)(rows[1])
    with pytest.raises(ValueError, match="decoded images"):
        CodeImages("image")({"image": Image.new("RGB", (4, 4))})


def test_images_that_are_coded_already_are_not_coded_again(sets: Any, quick: Any) -> None:
    data = quick.compress(io.BytesIO(sets.image_file(3)))
    assert CodeImages("image")({"image": {"bytes": data, "path": None}})["image"]["bytes"] == data


def test_the_feature_codes_what_is_put_in(sets: Any, quick: Any) -> None:
    features = datasets.Features({"image": CodedImage(quality=50)})
    image = Image.open(io.BytesIO(sets.image_file(4)))
    rows = datasets.Dataset.from_dict({"image": [image, {"bytes": sets.image_file(5), "path": "a.png"}]}, features)
    stored = rows.cast_column("image", datasets.Image(decode=False))
    assert [cell["bytes"][:3] for cell in stored["image"]] == [b"GNC", b"GNC"]
    expected = np.asarray(quick.decompress(quick.compress(image, quality=50)))
    assert np.array_equal(np.asarray(rows[0]["image"]), expected)
    assert np.array_equal(np.asarray(rows.cast_column("image", datasets.Image())[0]["image"]), expected)
