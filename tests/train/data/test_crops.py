"""Crops, streams and batches: pure functions of seed and number, whatever the processes, workers, broken images."""

from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gencomp.bitstream import STEPS
from gencomp.train.data import streams
from gencomp.train.data.batches import Batch, StepSampler, batches, fixed_crops, open_data, scaled, share_of
from gencomp.train.data.crops import Cache, Crops, RandomInputs, cut, random_inputs
from gencomp.train.data.sources import AREA_CAP, DataError, Decoded, Photograph, Sources, decode
from gencomp.train.data.streams import CHUNK, Chunk, Stream
from gencomp.train.recipe import Recipe
from gencomp.train.settings import recipe

from ..conftest import parquet


def tiny(**values: str) -> Recipe:
    return recipe("tiny", values)


def crops_of(folder: Path, chosen: Recipe) -> Crops:
    return Crops(Sources([str(folder)]), chosen)


def collected(place: Path, chosen: Recipe, processes: int = 1, *, start: int = 0, stop: int = 3) -> list[Batch]:
    """Whole batches of some steps, put together from all processes; the table is streamed."""
    data = open_data([str(place)], streamed=place.name.startswith("stream"))
    shares = [list(batches(data, chosen, StepSampler(chosen, start, stop, r, processes))) for r in range(processes)]
    return [joined(list(step)) for step in zip(*shares)]


def joined(shares: list[Batch]) -> Batch:
    random = [b.random for b in shares]
    whole = RandomInputs(
        torch.cat([r.quality_step for r in random]),
        torch.cat([r.realism for r in random]),
        {k: torch.cat([r.noise[k] for r in random]) for k in random[0].noise},
    )
    unreadable = [name for b in shares for name in b.unreadable]
    return Batch(torch.cat([b.numbers for b in shares]), torch.cat([b.pixels for b in shares]), whole, unreadable)


def same(a: list[Batch], b: list[Batch]) -> bool:
    def flat(batch: Batch) -> list[Tensor]:
        drawn = batch.random
        return [batch.numbers, batch.pixels, drawn.quality_step, drawn.realism, *drawn.noise.values()]

    return len(a) == len(b) and all(torch.equal(p, q) for x, y in zip(a, b) for p, q in zip(flat(x), flat(y)))


@pytest.fixture(scope="module")
def table(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six parquet files, each of five rows in row groups of two, one row broken."""
    folder = tmp_path_factory.mktemp("stream")
    for index in range(6):
        parquet(photographs, folder / f"part{index}.parquet", rows_per_group=2)
    return folder


@pytest.mark.parametrize("kind", ["photographs", "table"])
def test_processes_share_one_batch_and_a_resume_takes_the_rest(kind: str, request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue(kind)
    whole = collected(place, tiny())
    assert same(whole, collected(place, tiny(), 2))
    assert same(whole, collected(place, tiny(), 4))
    assert same(whole, collected(place, tiny(workers="2")))
    assert same(whole[1:], collected(place, tiny(), start=1))


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


def test_two_fifths_of_the_realisms_are_0_and_as_many_1() -> None:
    values = torch.stack([random_inputs(n, tiny()).realism for n in range(2000)])
    assert abs(float((values == 0).float().mean()) - 0.4) < 0.04
    assert abs(float((values == 1).float().mean()) - 0.4) < 0.04
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


def test_a_folder_of_broken_photographs_is_an_error_and_grey_ones_become_colour(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"a\.png"):
        crops_of(tmp_path, tiny())[0]
    Image.new("L", (100, 90), 50).save(tmp_path / "a.png")
    assert (crops_of(tmp_path, tiny())[0].pixels == 50).all()


def test_large_jpegs_are_decoded_small_and_still_above_the_cap(tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.new("RGB", (5000, 3400), (10, 200, 30)).save(path)
    found = decode(Photograph("large", path.read_bytes()))
    assert found is not None
    height, width = found.pixels.shape[:2]
    assert (height, width) == (1700, 2500)
    assert height * width >= AREA_CAP


def test_every_row_is_seen_once_in_an_epoch(table: Path) -> None:
    stream = Stream(str(table))
    assert sum(chunk.rows for chunk in stream.chunks) == 30
    lanes = [stream.lane(j, 3, 0) for j in range(3)]
    seen = [next(lane)[0].name for _ in range(8) for lane in lanes]  # lanes differ by a row or two at most
    assert len(set(seen)) == len(seen)


def test_a_resume_goes_on_where_the_run_stood_and_reads_no_more(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unbroken = collected(table, tiny(), stop=30)
    reads, read = list[Chunk](), streams.read_chunk

    def counted(chunk: Chunk, column: str) -> object:
        reads.append(chunk)
        return read(chunk, column)

    monkeypatch.setattr(streams, "read_chunk", counted)
    assert same(unbroken[28:], collected(table, tiny(), start=28, stop=30))
    assert len(reads) <= 8  # two rows of four lanes, where the run before read about sixty chunks


def test_a_process_reads_the_chunks_of_its_own_lanes_alone(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: dict[int, set[Chunk]] = {}
    read = streams.read_chunk
    data, chosen = open_data([str(table)], streamed=True), tiny()
    for rank in range(2):

        def counted(chunk: Chunk, column: str, rank: int = rank) -> object:
            reads.setdefault(rank, set()).add(chunk)
            return read(chunk, column)

        monkeypatch.setattr(streams, "read_chunk", counted)
        list(batches(data, chosen, StepSampler(chosen, 0, 4, rank, 2)))
    assert not reads[0] & reads[1]


def test_nothing_but_footers_is_read_to_open_a_stream(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    refuse = Mock(side_effect=AssertionError("the set was loaded"))
    monkeypatch.setattr(streams, "read_chunk", refuse)
    monkeypatch.setattr(datasets, "load_dataset", refuse)
    assert len(Stream(str(table)).chunks) == 6 * 3


def test_fixed_crops_of_a_stream_are_the_same_every_time(table: Path) -> None:
    data = open_data([str(table)], streamed=True)
    once, again = (fixed_crops(data, tiny(), 5) for _ in range(2))
    assert len(once) == 5
    assert all(torch.equal(a, b) for a, b in zip(once, again))


def test_streams_come_from_any_file_system(table: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in table.glob("*.parquet"):
        memory.pipe(f"/set/{path.name}", path.read_bytes())
    here, there = Stream(str(table)), Stream("memory://set")
    assert [next(here.lane(0, 4, 0))[0].data] == [next(there.lane(0, 4, 0))[0].data]


def test_long_row_groups_are_read_in_chunks(photographs: Path, tmp_path: Path) -> None:
    path = parquet(photographs, tmp_path / "long.parquet", copies=20)
    stream = Stream(str(path))
    assert [chunk.rows for chunk in stream.chunks] == [CHUNK, 100 - CHUNK]
    assert streams.read_chunk(stream.chunks[1], stream.column)[0].name.endswith(f"row {CHUNK}")


def test_streams_that_are_not_there_are_named_and_a_stream_is_one_place(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for names, said in ((["folder"], "folder"), (["absent.parquet"], "absent"), (["a", "b"], "one parquet folder")):
        with pytest.raises(DataError, match=said):
            open_data([str(tmp_path / name) for name in names], streamed=True)
