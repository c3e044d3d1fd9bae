import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gencomp.eval.study.design.build import build
from gencomp.eval.study.design.sources import CodecFolder, StudyImage, from_evaluation, from_folders, set_measures
from gencomp.eval.study.plan import IMAGE_ID, Design, Study, StudyError, load
from gencomp.target import psnr

Codings = Callable[..., list[StudyImage]]


def write_evaluation(folder: Path, coded: list[StudyImage], **changes: str) -> Path:
    """A folder as `gencomp eval` leaves it, from codings whose files lie under it."""
    with (folder / "results.csv").open("w", newline="") as table:
        columns = ["image", "codec", "setting", "realism", "bpp", "reconstruction", "psnr"]
        writer = csv.DictWriter(table, columns)
        writer.writeheader()
        for one in coded:
            writer.writerow({"image": one.image, "codec": one.codec, "setting": "0.1", "realism": "", "bpp": one.bpp,
                             "reconstruction": one.reconstruction.relative_to(folder), "psnr": one.metrics["psnr"]}
                            | changes)  # fmt: skip
    return folder


def test_every_image_is_the_crop_at_one_to_one_and_lossless(folder: Path, codings: Codings, tmp_path: Path) -> None:
    study = load(folder)
    originals = {one.image: one.original for one in codings(tmp_path / "again")}
    for scene in study.scenes:
        box = (scene.x, scene.y, scene.x + scene.width, scene.y + scene.height)
        shown = Image.open(folder / "images" / f"{scene.original}.png")
        assert (shown.format, shown.size, shown.info) == ("PNG", (64, 64), {})
        whole = Image.open(originals[scene.image])
        np.testing.assert_array_equal(np.asarray(shown), np.asarray(whole.crop(box)))


def test_the_name_of_a_image_tells_nothing_of_its_codec(folder: Path, study: Study) -> None:
    names = [path.stem for path in (folder / "images").iterdir()]
    assert all(IMAGE_ID.fullmatch(name) for name in names)
    # "good" is the untouched image here: the same bytes have the same name.
    assert study.scenes[0].renderings["good"].image == study.scenes[0].original


def test_spoilt_copies_are_plain_to_see(folder: Path, study: Study) -> None:
    for scene in study.scenes:
        paths = (folder / "images" / f"{name}.png" for name in (scene.original, scene.degraded))
        original, degraded = (np.asarray(Image.open(path)) for path in paths)
        assert psnr(original, degraded) < 32
        assert scene.check


def test_a_plan_survives_the_disk_and_seeds_repeat_it(codings: Codings, make_options: Any, tmp_path: Path) -> None:
    coded = codings(tmp_path / "images")
    first = build(tmp_path / "a", coded, make_options())
    assert (load(tmp_path / "a"), build(tmp_path / "b", coded, make_options()).id) == (first, first.id)
    other = build(tmp_path / "c", coded, make_options(seed=1))
    assert [(s.x, s.y) for s in other.scenes] != [(s.x, s.y) for s in first.scenes]


def test_crops_are_where_the_owner_says(codings: Codings, make_options: Any, tmp_path: Path) -> None:
    coded = codings(tmp_path / "images")
    study = build(tmp_path / "a", coded, make_options(crop_at={"image1": (7, 9)}))
    scene = next(s for s in study.scenes if s.image == "image1")
    assert (scene.x, scene.y, scene.width, scene.height) == (7, 9, 64, 64)
    assert build(tmp_path / "b", coded, make_options(crop=None)).largest_crop() == (120, 96)
    assert len(build(tmp_path / "c", coded, make_options(crops_per_image=3)).scenes) == 12
    with pytest.raises(StudyError, match="does not fit"):
        build(tmp_path / "d", coded, make_options(crop_at={"image1": (100, 9)}))
    with pytest.raises(StudyError, match="no image of this study"):
        build(tmp_path / "d", coded, make_options(crop_at={"nobody": (0, 0)}))


def test_images_are_drawn_by_the_seed(codings: Codings, make_options: Any, tmp_path: Path) -> None:
    coded = codings(tmp_path / "images", images=6)
    design = Design("full", 6, 0, 0, 0, 0)
    studies = [build(tmp_path / f"{k}", coded, make_options(design=design, seed=k, draw=2)) for k in range(4)]
    drawn = [sorted(scene.image for scene in study.scenes) for study in studies]
    assert all(len(names) == 2 for names in drawn)
    assert len({tuple(names) for names in drawn}) > 1


def test_an_existing_study_is_left_alone(folder: Path, codings: Codings, make_options: Any, tmp_path: Path) -> None:
    before = (folder / "study.json").read_bytes()
    with pytest.raises(StudyError, match="not empty"):
        build(folder, codings(tmp_path / "more"), make_options(seed=9))
    assert (folder / "study.json").read_bytes() == before


def test_a_failed_build_leaves_nothing_behind(codings: Codings, make_options: Any, tmp_path: Path) -> None:
    coded = codings(tmp_path / "images")
    Image.new("RGB", (50, 50)).save(coded[-1].reconstruction)
    with pytest.raises(StudyError, match="must be of one size"):
        build(tmp_path / "out" / "study", coded, make_options())
    coded[-1].reconstruction.write_bytes(b"no image")
    with pytest.raises(StudyError, match="cannot be read"):
        build(tmp_path / "out" / "study", coded, make_options())
    assert list((tmp_path / "out").iterdir()) == []


def test_flat_images_make_no_attention_checks(make_options: Any, tmp_path: Path) -> None:
    coded = []
    for codec in ("a", "b"):
        path = tmp_path / f"{codec}.png"
        Image.new("RGB", (64, 64), (90, 90, 90)).save(path)
        coded.append(StudyImage("flat", codec, "", None, tmp_path / "a.png", path, None, {}))
    design = Design("full", 1, 1, 0, 0, 0)
    with pytest.raises(StudyError, match="--checks 0"):
        build(tmp_path / "study", coded, make_options(design=design))
    assert not build(tmp_path / "study", coded, make_options(design=replace(design, checks=0))).scenes[0].check


def test_more_trials_than_pairs_are_refused(codings: Codings, make_options: Any, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="only 12 pairs"):
        build(tmp_path / "s", codings(tmp_path / "p"), make_options(design=Design("random", 13, 0, 0, 0, 0)))


def test_an_evaluation_is_read_with_its_metrics_and_rates(codings: Codings, tmp_path: Path) -> None:
    coded = codings(tmp_path)
    with pytest.raises(StudyError, match="name its folder with --originals"):
        from_evaluation(write_evaluation(tmp_path, coded))
    (tmp_path / "originals").mkdir()
    for one in coded:
        (tmp_path / "originals" / one.original.name).write_bytes(one.original.read_bytes())
    found = from_evaluation(tmp_path)
    assert [(f.image, f.codec, f.bpp) for f in found] == [(c.image, c.codec, c.bpp) for c in coded]
    assert found[0].metrics == {"psnr": coded[0].metrics["psnr"]}
    assert found[0].realism is None
    assert from_evaluation(tmp_path, tmp_path / "originals") == found


@pytest.mark.parametrize("outside", ["../secret.png", "/etc/hostname"])
def test_an_evaluation_pointing_outside_its_folder_is_refused(codings: Codings, tmp_path: Path, outside: str) -> None:
    coded = codings(tmp_path / "eval")
    Image.new("RGB", (120, 96)).save(tmp_path / "secret.png")
    write_evaluation(tmp_path / "eval", coded, reconstruction=outside)
    with pytest.raises(StudyError, match="outside its folder"):
        from_evaluation(tmp_path / "eval", tmp_path / "eval")


def test_rows_without_a_reconstruction_are_passed_over(codings: Codings, tmp_path: Path) -> None:
    write_evaluation(tmp_path, codings(tmp_path), reconstruction="")
    assert from_evaluation(tmp_path, tmp_path) == []


def test_folders_of_images_are_matched_by_name(codings: Codings, tmp_path: Path) -> None:
    for one in codings(tmp_path / "all"):
        for place, source in (("originals", one.original), (one.codec, one.reconstruction)):
            (tmp_path / place).mkdir(exist_ok=True)
            (tmp_path / place / f"{one.image}.png").write_bytes(source.read_bytes())
    found = from_folders(tmp_path / "originals", [CodecFolder("x", 0.1, tmp_path / "good"),
                                                  CodecFolder("x", 0.2, tmp_path / "bad")])  # fmt: skip
    assert len(found) == 8
    assert {(f.codec, f.setting, f.bpp) for f in found} == {("x", "0.1 bpp", 0.1), ("x", "0.2 bpp", 0.2)}
    (tmp_path / "other").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "other" / "unknown.png")
    with pytest.raises(StudyError, match="has the name of one in"):
        from_folders(tmp_path / "originals", [CodecFolder("y", None, tmp_path / "other")])


def test_a_broken_plan_is_named_and_not_used(folder: Path) -> None:
    plan = json.loads((folder / "study.json").read_text())
    changes = {"version": 99, "conditions": [], "layout": "no", "design": {}, "scenes": [3]}
    for key, value in changes.items():
        (folder / "study.json").write_text(json.dumps(plan | {key: value}))
        with pytest.raises(StudyError, match="is broken"):
            load(folder)
    plan["scenes"][0]["original"] = "../../etc/passwd"
    (folder / "study.json").write_text(json.dumps(plan))
    with pytest.raises(StudyError, match="unknown condition or image"):
        load(folder)
    with pytest.raises(StudyError, match="is no study"):
        load(folder / "images")


def test_measures_over_the_set_are_joined_by_codec_and_setting(tmp_path: Path) -> None:
    assert set_measures(tmp_path) == {}
    (tmp_path / "results.json").write_text("{broken")
    with pytest.raises(StudyError, match="cannot be read"):
        set_measures(tmp_path)
