"""Rate matching: nearest file, few tries, and a word where a rate cannot be had."""

import math
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gencomp.eval.codecs.baseline import RateControl
from gencomp.eval.run import photos as finding
from gencomp.eval.run.coding import RateSearch
from gencomp.eval.run.photos import PhotosError

PIXELS = 100_000


def exponential(setting: float) -> int:
    return round(200 * math.exp(0.06 * setting))


@settings(deadline=None)
@given(st.integers(150, 100_000))
def test_the_nearest_whole_setting_is_found(target: int) -> None:
    match = RateSearch(RateControl("quality", 0, 100), exponential, PIXELS).match(target)
    best = min(range(101), key=lambda q: abs(math.log(exponential(q) / target)))
    assert abs(math.log(match.size / target)) <= max(0.005, abs(math.log(exponential(best) / target)) + 1e-12)
    assert exponential(match.setting) == match.size
    assert (match.rate == "reached") == (abs(match.size / target - 1) <= 0.02) == (not match.note)


@settings(deadline=None)
@given(st.lists(st.integers(300, 70_000), min_size=1, max_size=4))
def test_a_fine_rate_control_matches_within_two_percent_in_few_tries(targets: list[int]) -> None:
    size = Mock(side_effect=exponential)
    search = RateSearch(RateControl("quality", 0, 100, positions=1001), size, PIXELS)
    assert all(search.match(target).rate == "reached" for target in targets)
    tried = [call.args[0] for call in size.call_args_list]
    if 2000 <= min(targets) <= max(targets) <= 9000:
        assert 0 < min(tried) <= max(tried) < 100  # the ends, which are slow, are not coded where the middle will do
    assert len(tried) <= 2 + 8 * len(targets)
    assert len(tried) == len(set(tried))


def test_a_rate_control_that_runs_downwards() -> None:
    control = RateControl("qp", 63, 1)
    assert RateSearch(control, lambda qp: round(300_000 / qp), PIXELS).match(300_000 / 20).setting == 20
    assert (control.holds(20), control.holds(64)) == (True, False)


def test_rates_out_of_reach_name_the_limit() -> None:
    search = RateSearch(RateControl("quality", 0, 100), exponential, PIXELS)
    floor = search.match(50)
    assert (floor.setting, floor.size, floor.rate) == (0, 200, "limit")
    assert floor.note == "0.004 bpp is not reached: its smallest file has 0.016 bpp"
    assert "largest file" in search.match(10**7).note
    assert search.match(10**7).rate == "limit"


def test_a_coarse_rate_control_is_near_and_not_at_its_limit() -> None:
    match = RateSearch(RateControl("quality", 0, 3), lambda q: 1000 * 2 ** round(q), PIXELS).match(2800)
    assert (match.size, match.rate) == (2000, "nearest") or (match.size, match.rate) == (4000, "nearest")
    assert "its nearest setting" in match.note


def test_a_wavering_codec_still_ends() -> None:
    search = RateSearch(RateControl("quality", 0, 100), lambda s: exponential(s) + 37 * (round(s) % 3 > 0), PIXELS)
    assert search.match(5000).size == pytest.approx(5000, rel=0.05)


def test_geometric_rate_controls_are_even_in_the_logarithm() -> None:
    rate_control = RateControl("bpp", 0.01, 1, positions=3, geometric=True)
    assert [rate_control.setting(k) for k in range(3)] == pytest.approx([0.01, 0.1, 1])


@settings(deadline=None)
@given(st.lists(st.integers(150, 100_000), min_size=1, max_size=4), st.floats(0.7, 1.4), st.floats(-0.3, 0.3))
def test_a_sketch_leads_to_the_same_setting_with_few_files(targets: list[int], ratio: float, drift: float) -> None:
    """A sketch whose ratio to the files drifts over the rate control, as a codec's quick presets do."""
    size, control = Mock(side_effect=exponential), RateControl("quality", 0, 100)
    search = RateSearch(control, size, PIXELS, lambda s: round(ratio * exponential(s) ** (1 + drift / 10)))
    plain = RateSearch(control, exponential, PIXELS)
    for target in targets:
        found, wanted = search.match(target), plain.match(target)
        assert abs(found.setting - wanted.setting) <= 1
        assert exponential(found.setting) == found.size
        assert abs(math.log(found.size / target)) <= max(0.035, abs(math.log(wanted.size / target)) + 0.01)
    assert size.call_count <= 3 * len(targets) + 1


def test_a_sketch_that_misleads_gives_way_to_the_files() -> None:
    """Sizes of no relation to the files' cost some files, and no accuracy."""
    search = RateSearch(RateControl("quality", 0, 100), exponential, PIXELS, lambda q: 1000 + round(q) % 7)
    for target in (400, 4000, 40_000):
        assert abs(math.log(search.match(target).size / target)) <= 0.031


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
