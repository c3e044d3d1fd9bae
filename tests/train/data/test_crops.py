"""Crops and batches: a pure function of seed and number, whatever the processes, workers and broken images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gencomp.bitstream import STEPS
from gencomp.train.data.batches import Batch, StepSampler, batches, open_data, scaled, share_of
from gencomp.train.data.crops import Cache, Crops, RandomInputs, cut, random_inputs
from gencomp.train.data.sources import AREA_CAP, Decoded, SourceError, Sources
from gencomp.train.recipe import Recipe
from gencomp.train.settings import recipe


def tiny(**values: str) -> Recipe:
    return recipe("tiny", values)


def crops_of(folder: Path, chosen: Recipe) -> Crops:
    return Crops(Sources([str(folder)]), chosen)


def collected(place: Path, chosen: Recipe, processes: int = 1, *, start: int = 0) -> list[Batch]:
    """Whole batches of three steps, put together from all processes."""
    data = open_data([str(place)], streamed=False)
    shares = [list(batches(data, chosen, StepSampler(chosen, start, 3, r, processes))) for r in range(processes)]
    return [joined(list(step)) for step in zip(*shares)]


def joined(shares: list[Batch]) -> Batch:
    """The batch of all processes."""
    random = [b.random for b in shares]
    whole = RandomInputs(
        torch.cat([r.quality_step for r in random]),
        torch.cat([r.realism for r in random]),
        {k: torch.cat([r.noise[k] for r in random]) for k in random[0].noise},
    )
    unreadable = [name for b in shares for name in b.unreadable]
    return Batch(torch.cat([b.numbers for b in shares]), torch.cat([b.pixels for b in shares]), whole, unreadable)


def flat(batch: Batch) -> list[Tensor]:
    drawn = batch.random
    return [batch.numbers, batch.pixels, drawn.quality_step, drawn.realism, *drawn.noise.values()]


def same(a: list[Batch], b: list[Batch]) -> bool:
    return len(a) == len(b) and all(torch.equal(p, q) for x, y in zip(a, b) for p, q in zip(flat(x), flat(y)))


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_batch_of_one(photographs: Path, processes: int) -> None:
    assert same(collected(photographs, tiny()), collected(photographs, tiny(), processes))


def test_workers_change_nothing(photographs: Path) -> None:
    assert same(collected(photographs, tiny()), collected(photographs, tiny(workers="2")))


def test_resumed_data_is_the_rest_of_the_unbroken(photographs: Path) -> None:
    assert same(collected(photographs, tiny())[1:], collected(photographs, tiny(), start=1))


@pytest.mark.parametrize("processes", [3, 8, 64])
def test_a_batch_that_cannot_be_shared_is_refused_with_settings_that_can(processes: int) -> None:
    with pytest.raises(ValueError, match=f"cannot be shared by {processes}.*--set batch="):
        share_of(recipe("base", {"batch": "13"}), processes)
    batch, learning_rate = scaled(recipe("base", {"batch": "13"}), processes)
    assert batch >= 13
    assert share_of(recipe("base", {"batch": str(batch)}), processes) * processes == batch
    assert learning_rate == pytest.approx(6e-4 * (batch / 13) ** 0.5)


def test_seeds_and_numbers_draw_differently() -> None:
    first, other = random_inputs(0, tiny()), random_inputs(1, tiny())
    assert not torch.equal(first.noise["y"], other.noise["y"])
    assert not torch.equal(first.noise["y"], random_inputs(0, tiny(seed="1")).noise["y"])


def test_realisms_lie_at_the_ends_half_of_the_time() -> None:
    values = torch.stack([random_inputs(n, tiny()).realism for n in range(2000)])
    assert abs(float((values == 0).float().mean()) - 0.25) < 0.04
    assert abs(float((values == 1).float().mean()) - 0.25) < 0.04
    assert float(values.min()) >= 0
    assert float(values.max()) <= 1


def test_mid_quality_fraction_makes_more_of_the_middle_qualities_and_leaves_the_rest() -> None:
    steps = torch.stack([random_inputs(n, tiny(mid_quality_fraction="0.5")).quality_step for n in range(2000)])
    middle = (steps - STEPS // 2).abs() <= STEPS // 4
    assert abs(float(middle.float().mean()) - 0.75) < 0.04
    assert int(steps.min()) < STEPS // 50
    assert int(steps.max()) > STEPS * 49 // 50
    plain, focused = random_inputs(3, tiny()), random_inputs(3, tiny(mid_quality_fraction="1"))
    assert int(focused.quality_step) == STEPS // 4 + int(plain.quality_step) // 2
    assert torch.equal(plain.realism, focused.realism)
    assert all(torch.equal(v, focused.noise[k]) for k, v in plain.noise.items())


def test_crops_lie_inside_the_photograph_and_small_ones_are_enlarged() -> None:
    flat = Decoded(np.full((40, 500, 3), 77, np.uint8), lossless=False)
    crop = cut(flat, tiny(), np.random.default_rng(0))
    assert (crop == 77).all()
    assert crop.shape == (3, 64, 64)


def test_lossless_photographs_are_cut_at_full_scale_and_lossy_ones_scaled_down() -> None:
    """A photograph whose pixels are all different: a crop at full scale is one of its windows, perhaps flipped."""
    places = np.arange(100 * 120)
    pixels = np.stack([places // 256, places % 256, places % 7], -1).reshape(100, 120, 3).astype(np.uint8)
    for number in range(8):
        for lossless in (True, False):
            crop = cut(Decoded(pixels, lossless=lossless), tiny(), np.random.default_rng(number)).numpy()
            row = np.sort(crop[0, 0].astype(int) * 256 + crop[1, 0])
            assert np.array_equal(row, np.arange(row[0], row[0] + 64)) == lossless


def test_a_share_of_the_samples_is_rendered_and_the_others_stay_as_they_were(photographs: Path) -> None:
    plain, mixed = crops_of(photographs, tiny()), crops_of(photographs, tiny(graphics="0.25"))
    changed = [not torch.equal(plain[n].pixels, mixed[n].pixels) for n in range(400)]
    assert abs(np.mean(changed) - 0.25) < 0.07
    assert torch.equal(plain[0].random.noise["y"], mixed[0].random.noise["y"])


def test_the_cache_is_bounded_and_keeps_what_was_asked_for_last() -> None:
    cache = Cache(2 * 300)
    images = [Decoded(np.full((10, 10, 3), n, np.uint8), lossless=True) for n in range(3)]
    cache.put(0, images[0])
    cache.put(1, images[1])
    assert cache.get(0) is images[0]
    cache.put(2, images[2])
    assert cache.get(1) is None
    assert cache.get(0) is images[0]
    assert cache.get(2) is images[2]
    assert cache.used == 600
    cache.put(3, Decoded(np.zeros((100, 100, 3), np.uint8), lossless=True))  # larger than all of it
    assert cache.used == 0


def test_broken_photographs_are_skipped_and_named(photographs: Path, tmp_path: Path) -> None:
    for path in photographs.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    crops = crops_of(tmp_path, tiny())
    named = {Path(name).name for number in range(60) for name in crops[number].unreadable}
    assert named <= {"broken.png", "empty.jpg"}
    assert "broken.png" in named


def test_a_folder_of_broken_photographs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"a\.png"):
        crops_of(tmp_path, tiny())[0]


def test_grey_photographs_become_colour(tmp_path: Path) -> None:
    Image.new("L", (100, 90), 50).save(tmp_path / "grey.png")
    assert (crops_of(tmp_path, tiny())[0].pixels == 50).all()


def test_large_jpegs_are_decoded_small_and_still_above_the_cap(tmp_path: Path) -> None:
    from gencomp.train.data.sources import Photograph, decode

    path = tmp_path / "large.jpg"
    Image.new("RGB", (5000, 3400), (10, 200, 30)).save(path)
    found = decode(Photograph("large", path.read_bytes()))
    assert found is not None
    height, width = found.pixels.shape[:2]
    assert (height, width) == (1700, 2500)
    assert height * width >= AREA_CAP
