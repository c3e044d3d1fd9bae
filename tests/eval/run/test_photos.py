"""Where photographs come from, and that a wrong place is named at once."""

from pathlib import Path

import pytest
from PIL import Image

from gencomp.eval.run import photos as finding
from gencomp.eval.run.photos import PhotosError


def test_a_folder_is_walked_in_order_and_limited(photos: Path) -> None:
    assert [p.name for p in finding.find([str(photos)])] == ["astronaut", "chelsea", "coffee"]
    assert [p.name for p in finding.find([str(photos)], limit=2)] == ["astronaut", "chelsea"]
    assert finding.find([str(photos)])[0].read().mode == "RGB"


def test_folders_in_folders_give_names_of_their_own(photos: Path, tmp_path: Path) -> None:
    for place in ("a", "b", ".hidden"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "same.png").write_bytes((photos / "coffee.png").read_bytes())
    (tmp_path / "a" / "same.jpg").write_bytes(b"not read yet")
    assert [p.name for p in finding.find([str(tmp_path)])] == ["a_same", "a_same~2", "b_same"]


def test_a_list_names_images_beside_it(photos: Path, tmp_path: Path) -> None:
    (photos / "some.txt").write_text("# a comment\ncoffee.png\n\nastronaut.png\n")
    assert [p.name for p in finding.find([str(photos / "some.txt")])] == ["coffee", "astronaut"]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(PhotosError, match="no image"):
        finding.find([str(tmp_path / "empty.txt")])


@pytest.mark.parametrize("name", ["no/such/folder", "nosuchname", "user/nosuchname"])
def test_a_wrong_name_is_refused_at_once(name: str) -> None:
    with pytest.raises(PhotosError, match=name):
        finding.find([name])


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhotosError, match="no image"):
        finding.find([str(tmp_path)])


@pytest.mark.parametrize("saved", ["parquet", "disk"])
def test_a_data_set_of_images(saved: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    paths = [str(photos / "coffee.png"), str(photos / "chelsea.png")]
    rows = datasets.Dataset.from_dict({"label": [1, 2], "image": paths}).cast_column("image", datasets.Image())
    folder = tmp_path / "set"
    if saved == "disk":
        rows.save_to_disk(folder)
    else:
        folder.mkdir()
        rows.map(lambda row: row).to_parquet(folder / "train.parquet")
    found = finding.find([str(folder)])
    assert [p.name for p in found] == ["set_00000", "set_00001"]
    assert found[0].read().tobytes() == Image.open(paths[0]).tobytes()
