"""Data sets of the library `datasets`, coded and read back lazily."""

import io
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from PIL import Image

from gencomp.bulk import huggingface
from gencomp.bulk.huggingface import CodeImages


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


def test_a_folder_of_coded_images_is_a_data_set(tmp_path: Path, sets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guide's own lines, in a folder of two classes."""
    from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder

    monkeypatch.setattr(ImageFolder, "EXTENSIONS", list(ImageFolder.EXTENSIONS))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    for name in ("cats/one.gnc", "dogs/two.gnc", "dogs/three.gnc"):
        path = Path("coded", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(path)
    guide = Path(huggingface.__file__).with_name("README.md").read_text("utf-8")
    (lines,) = (block for block in guide.split("```python\n") if "FolderBuilder" in block.split("```")[0])
    found: dict[str, Any] = {}
    exec(lines.split("```")[0], found)
    assert (len(found["images"]), found["images"].classes) == (3, ["cats", "dogs"])
    assert found["images"][0][0].size == found["rows"][0]["image"].size == (20, 10)
    assert sorted(found["rows"]["label"]) == [0, 1, 1]
