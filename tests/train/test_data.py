"""Data: a pure function of seed and number, whatever the processes, workers and broken pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gencomp.bitstream import STEPS
from gencomp.train.data.batches import StepSampler, batches, share_of
from gencomp.train.data.crops import Batch, Crops, cut, draws
from gencomp.train.data.sources import SourceError, Sources, open_source
from gencomp.train.recipes import Recipe, recipe


def tiny(**values: str) -> Recipe:
    return recipe("tiny", values)


def table(photographs: Path, path: Path) -> Path:
    """The photographs as a parquet file, one row of it broken."""
    import datasets

    cells = [{"bytes": p.read_bytes(), "path": None} for p in sorted(photographs.glob("*.png"))]
    cells.insert(1, {"bytes": b"no picture", "path": None})
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    datasets.Dataset.from_dict({"image": cells, "label": list(range(len(cells)))}, features).to_parquet(path)
    return path


def collected(
    photographs: Path, chosen: Recipe, processes: int = 1, *, streamed: bool = False, start: int = 0
) -> list[Batch]:
    """Whole batches of three steps, put together from all processes."""
    shares = [
        list(batches([str(photographs)], chosen, StepSampler(chosen, start, 3, rank, processes), streamed=streamed))
        for rank in range(processes)
    ]
    return [
        Batch(
            torch.cat([b.numbers for b in step]),
            torch.cat([b.pixels for b in step]),
            type(step[0].draws)(*(torch.cat(v) for v in zip(*(b.draws for b in step)))),
            [n for b in step for n in b.broken],
        )
        for step in zip(*shares)
    ]


def same(a: list[Batch], b: list[Batch]) -> bool:
    pairs = [(x.numbers, y.numbers) for x, y in zip(a, b)] + [(x.pixels, y.pixels) for x, y in zip(a, b)]
    pairs += [(p, q) for x, y in zip(a, b) for p, q in zip(x.draws, y.draws)]
    return len(a) == len(b) and all(torch.equal(p, q) for p, q in pairs)


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_share_the_batch_of_one(photographs: Path, processes: int) -> None:
    assert same(collected(photographs, tiny()), collected(photographs, tiny(), processes))


def test_workers_change_nothing(photographs: Path) -> None:
    assert same(collected(photographs, tiny()), collected(photographs, tiny(workers="2")))


def test_resumed_data_is_the_rest_of_the_unbroken(photographs: Path) -> None:
    assert same(collected(photographs, tiny())[1:], collected(photographs, tiny(), start=1))


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be shared by 3"):
        share_of(tiny(), 3)


def test_seeds_and_numbers_draw_differently() -> None:
    first, other = draws(0, tiny()), draws(1, tiny())
    assert not torch.equal(first.noise_y, other.noise_y)
    assert not torch.equal(first.noise_y, draws(0, tiny(seed="1")).noise_y)


def test_realisms_lie_at_the_ends_half_of_the_time() -> None:
    values = torch.stack([draws(n, tiny()).realism for n in range(2000)])
    assert abs(float((values == 0).float().mean()) - 0.25) < 0.04
    assert abs(float((values == 1).float().mean()) - 0.25) < 0.04
    assert float(values.min()) >= 0
    assert float(values.max()) <= 1


def test_focus_makes_more_of_the_middle_qualities_and_leaves_the_rest() -> None:
    steps = torch.stack([draws(n, tiny(focus="0.5")).step for n in range(2000)])
    middle = (steps - STEPS // 2).abs() <= STEPS // 4
    assert abs(float(middle.float().mean()) - 0.75) < 0.04
    assert int(steps.min()) < STEPS // 50
    assert int(steps.max()) > STEPS * 49 // 50
    plain, focused = draws(3, tiny()), draws(3, tiny(focus="1"))
    assert int(focused.step) == STEPS // 4 + int(plain.step) // 2
    assert all(torch.equal(a, b) for a, b in zip(plain[1:], focused[1:]))


def test_crops_lie_inside_the_photograph_and_small_ones_are_enlarged() -> None:
    chosen, draw = tiny(), np.random.default_rng(0)
    flat = np.full((40, 500, 3), 77, np.uint8)
    assert (cut(flat, chosen, draw) == 77).all()
    assert cut(flat, chosen, draw).shape == (3, 64, 64)


def test_broken_photographs_are_skipped_and_named(photographs: Path, tmp_path: Path) -> None:
    for path in photographs.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "broken.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    crops = Crops([str(tmp_path)], tiny())
    named = {Path(name).name for number in range(60) for name in crops[number].broken}
    assert named <= {"broken.png", "empty.jpg"}
    assert "broken.png" in named


def test_a_folder_of_broken_photographs_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"nothing")
    with pytest.raises(SourceError, match=r"a\.png"):
        Crops([str(tmp_path)], tiny())[0]


def test_sources_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no photographs"):
        open_source(str(tmp_path))
    with pytest.raises(SourceError, match="no folder"):
        open_source(str(tmp_path / "absent"))
    with pytest.raises(SourceError, match="no file"):
        open_source(str(tmp_path / "absent.parquet"))


def test_parquet_gives_the_pictures_of_its_folder(photographs: Path, tmp_path: Path) -> None:
    both = Sources([str(photographs), str(table(photographs, tmp_path / "set.parquet"))])
    assert len(both) == 4 + 5
    assert both[4].data == both[0].data
    assert both[8].data == both[3].data
    assert "row 1" in both[5].name


def test_streams_are_shared_and_resumed_like_lists(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0)  # seconds at the end of every epoch
    path = table(photographs, tmp_path / "set.parquet")
    whole = collected(path, tiny(), streamed=True)
    assert same(whole, collected(path, tiny(), 2, streamed=True))
    assert same(whole[1:], collected(path, tiny(), streamed=True, start=1))
    assert sum(len(b.broken) for b in whole) >= 2  # twelve samples of five rows, one of them broken


def test_grey_photographs_become_colour(tmp_path: Path) -> None:
    Image.new("L", (100, 90), 50).save(tmp_path / "grey.png")
    assert (Crops([str(tmp_path)], tiny())[0].pixels == 50).all()
