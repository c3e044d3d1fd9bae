"""The core: one output for each input, others untouched, whatever fails or is stopped, wherever it lies."""

import itertools
import json
import resource
from pathlib import Path
from typing import Any

import fsspec
import pytest

from gencomp.bulk.plan import find_shards
from gencomp.bulk.settings import BulkSourceError, Settings
from gencomp.bulk.status import FAILED, SampleRow, read_rows
from gencomp.bulk.storage import BULK, DestinationError, Storage


def rows_of(folder: Path) -> dict[str, SampleRow]:
    tables = sorted((folder / BULK / "status").rglob("*.parquet"))
    rows = [row for table in tables for row in read_rows(table.open("rb"))]
    assert len({row.sample for row in rows}) == len(rows)
    return {row.sample: row for row in rows}


def test_a_folder_gives_a_file_for_each_image(tmp_path: Path, sets: Any, bring: Any, fake_codec: Any) -> None:
    files = {**sets.some_images(5), "sub/a.png": sets.image_file(9), "sub/a.jpg": sets.image_file(8, "JPEG")}
    tally = bring(sets.write_folder(tmp_path / "in", files), tmp_path / "out", per_shard=2)
    assert (tally.done, tally.failed) == (7, 0)
    made = sets.outputs(tmp_path / "out")
    stems = {f"{i:03d}" for i in range(5)} | {"sub/a.png", "sub/a.jpg"}
    assert set(made) == {f"{stem}.gnc" for stem in stems}
    assert made["000.gnc"] == fake_codec.compress(fsspec.open(tmp_path / "in" / "000.png").open())
    assert rows_of(tmp_path / "out").keys() == files.keys()


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet", "pack"])
def test_samples_in_trouble_are_named_and_the_rest_is_done(tmp_path: Path, sets: Any, bring: Any, kind: str) -> None:
    files = {**sets.some_images(3), **sets.troubles(), "last.png": sets.image_file(7)}
    write = {"tar": sets.write_tar, "parquet": sets.write_parquet}.get(kind, sets.write_folder)
    suffix = f".{kind}" if kind in {"tar", "parquet"} else ""
    tally = bring(write(tmp_path / f"in{suffix}", files), tmp_path / "out", pack=kind == "pack")
    left = {"odd.tiff"} if kind == "tar" else set()  # floating-point pixels are distances there, and left alone
    assert (tally.done, tally.failed, tally.skipped) == (4, 4 - len(left), len(left))
    failed = {sample: row.error for sample, row in rows_of(tmp_path / "out").items() if row.status == FAILED}
    if kind == "parquet":
        failed = {list(files)[int(sample)]: error for sample, error in failed.items()}
    assert (failed.keys(), failed["empty.png"]) == (sets.troubles().keys() - left, "empty file")
    assert "more than the limit" in str(failed["huge.png"])
    assert left or "floating-point" in str(failed["odd.tiff"])


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
def test_failed_samples_repeated_end_as_if_never_failed(tmp_path: Path, sets: Any, bring: Any, kind: str) -> None:
    files = {**sets.some_images(4), "huge.png": sets.image_file(2, size=(101, 100)), "zz.png": sets.image_file(3)}
    write = {"tar": sets.write_tar, "parquet": sets.write_parquet}.get(kind, sets.write_folder)
    source = write(tmp_path / f"in.{kind}", files)
    assert bring(source, tmp_path / "out").failed == 1
    assert bring(source, tmp_path / "out", max_pixels=20_000).failed == 1  # finished: nothing is done again
    heard: list[str | SampleRow] = []
    tally = bring(source, tmp_path / "out", max_pixels=20_000, retry_failed=True, hear=heard.append)
    assert (tally.done, tally.failed) == (6, 0)
    assert [what for what in heard if isinstance(what, str)] == ["4" if kind == "parquet" else "huge.png"]
    bring(source, tmp_path / "fresh", max_pixels=20_000)
    assert sets.outputs(tmp_path / "out") == sets.outputs(tmp_path / "fresh")
    keys = [row._replace(seconds=0) for row in rows_of(tmp_path / "out").values()]
    assert keys == [row._replace(seconds=0) for row in rows_of(tmp_path / "fresh").values()]


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
def test_stopped_anywhere_and_repeated_ends_alike(
    tmp_path: Path, sets: Any, bring: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = {"tar": sets.write_tar, "parquet": sets.write_parquet}.get(kind, sets.write_folder)
    source = write(tmp_path / f"in.{kind}", sets.some_images(4))
    bring(source, tmp_path / "calm")
    settle = Storage._settle

    class Killed(BaseException):
        pass

    for stop in range(12):
        count = iter(range(100))

        def dying(self: Storage, beside: Path, name: str, new: bool, stop: int = stop, count: Any = count) -> None:
            step = next(count)
            if 2 * step == stop:
                raise Killed
            settle(self, beside, name, new)
            if 2 * step + 1 == stop:
                raise Killed

        monkeypatch.setattr(Storage, "_settle", dying)
        try:
            bring(source, tmp_path / f"out{stop}")
            killed = False
        except Killed:
            killed = True
        monkeypatch.setattr(Storage, "_settle", settle)
        bring(source, tmp_path / f"out{stop}")
        assert sets.outputs(tmp_path / f"out{stop}") == sets.outputs(tmp_path / "calm")
        if not killed:
            break
    assert stop >= 4


def test_what_a_killed_process_leaves_is_removed_by_the_next_attempt(tmp_path: Path, sets: Any, bring: Any) -> None:
    source = sets.write_tar(tmp_path / "in" / "a" / "b.tar", sets.some_images(1))
    left = tmp_path / "out" / BULK / "parts"
    left.mkdir(parents=True)
    (left / "b.0123.part").write_bytes(b"half")
    (left / "bb.0123.part").write_bytes(b"of another shard")
    bring(source, tmp_path / "out")
    assert [path.name for path in left.iterdir()] == ["bb.0123.part"]


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_made(tmp_path: Path, sets: Any, bring: Any, kind: str) -> None:
    write = {"tar": sets.write_tar, "parquet": sets.write_parquet}.get(kind, sets.write_folder)
    source = write(tmp_path / f"in.{kind}", sets.some_images(6))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # a file's 101st byte is refused by the system
    try:
        with pytest.raises(DestinationError, match="File too large; nothing half written is left"):
            bring(source, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sets.outputs(tmp_path / "out") == {}
    assert {path.parent.name for path in (tmp_path / "out" / BULK).rglob("*") if path.is_file()} <= {"begun"}
    bring(source, tmp_path / "out")
    bring(source, tmp_path / "calm")
    assert sets.outputs(tmp_path / "out") == sets.outputs(tmp_path / "calm")


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
def test_a_memory_file_system_gives_the_same_as_the_disk(tmp_path: Path, sets: Any, bring: Any, kind: str) -> None:
    write = {"tar": sets.write_tar, "parquet": sets.write_parquet}.get(kind, sets.write_folder)
    source = write(tmp_path / "in" / (f"a.{kind}" if kind != "folder" else ""), sets.some_images(3))
    memory = fsspec.filesystem("memory")
    for path in (tmp_path / "in").iterdir():
        memory.pipe_file(f"/{kind}/{path.name}", path.read_bytes())
    bring(source, tmp_path / "out")
    assert bring(f"memory://{kind}", f"memory://{kind}-out").done == 3
    root = f"/{kind}-out/"
    seen = {path.removeprefix(root): memory.cat_file(path) for path in memory.find(root)}
    assert {name: data for name, data in seen.items() if not name.startswith(BULK)} == sets.outputs(tmp_path / "out")
    assert bring(f"memory://{kind}", f"memory://{kind}-out").done == 3


def test_coded_images_decode_and_verify(tmp_path: Path, sets: Any, bring: Any, fake_codec: Any) -> None:
    bring(sets.write_tar(tmp_path / "in" / "a.tar", sets.some_images(3)), tmp_path / "coded")
    coded = tmp_path / "coded" / "a.tar"
    assert bring(coded, tmp_path / "again").skipped == 3  # coded already
    assert (tmp_path / "again" / "a.tar").read_bytes() == coded.read_bytes()
    assert bring(coded, tmp_path / "seen", direction="decode", format="webp").done == 3
    assert "000.webp" in sets.tar_members((tmp_path / "seen" / "a.tar").read_bytes())
    assert bring(coded, tmp_path / "checked", direction="verify").done == 3
    assert sets.outputs(tmp_path / "checked") == {}
    damaged = bytearray(coded.read_bytes())
    damaged[512 + 40] ^= 1  # inside the first image
    (tmp_path / "damaged.tar").write_bytes(damaged)
    assert bring(tmp_path / "damaged.tar", tmp_path / "caught", direction="verify").failed == 1


@pytest.mark.parametrize("damage", ["cut", "header", "none", "foreign"])
def test_a_damaged_tar_file_fails_as_a_whole(tmp_path: Path, sets: Any, bring: Any, damage: str) -> None:
    data = sets.write_tar(tmp_path / "in.tar", sets.some_images(5)).read_bytes()
    second = next(i for i in range(512, len(data), 512) if data[i : i + 8] == b"001.json")
    broken = {"cut": data[:1000], "none": b"", "foreign": b"no tar file at all" * 100}
    broken["header"] = data[:second] + b"\xff" * 512 + data[second + 512 :]
    (tmp_path / "in.tar").write_bytes(broken[damage])
    with pytest.raises(BulkSourceError, match="damaged tar file"):
        bring(tmp_path / "in.tar", tmp_path / "out")
    assert sets.outputs(tmp_path / "out") == {}
    assert not rows_of(tmp_path / "out")


def test_a_damaged_parquet_file_and_one_without_images_are_said(tmp_path: Path, sets: Any, bring: Any) -> None:
    source = sets.write_parquet(tmp_path / "in.parquet", sets.some_images(3))
    with pytest.raises(BulkSourceError, match="column caption is not binary"):
        bring(source, tmp_path / "out", column="caption")
    source.write_bytes(source.read_bytes()[:-30])
    with pytest.raises(BulkSourceError, match="damaged parquet file"):
        bring(source, tmp_path / "out")


def test_names_cannot_break_lines_or_tables(tmp_path: Path, sets: Any, bring: Any) -> None:
    names = {"new\nline.png": b"", "\x1b[31mred.png": b"", "caf\udce9.png": b"", "é.png": sets.image_file(1)}
    bring(sets.write_folder(tmp_path / "in", names), tmp_path / "out")
    samples = rows_of(tmp_path / "out")
    assert set(samples) == {"new\\nline.png", "\\x1b[31mred.png", "caf\\xe9.png", "é.png"}
    assert json.dumps(list(samples))


def names(url: object, **settings: Any) -> list[str]:
    return [shard.name for shard in find_shards(str(url), Settings(**settings)).shards]


def test_a_folder_is_cut_into_shards_that_cover_every_image_once(tmp_path: Path, sets: Any) -> None:
    files = {f"{folder}/{name}": b"x" for folder in ("a", "a/b", "c") for name in sets.some_images(5)}
    sets.write_folder(tmp_path, {**files, "a/readme.txt": b"no image", ".hidden/1.png": b"x", "a/.1.png": b"x"})
    found = find_shards(str(tmp_path), Settings(per_shard=2)).shards
    assert [shard.name for shard in found[:4]] == ["a/00000", "a/00001", "a/00002", "a/b/00000"]
    covered = {(shard.path, i) for shard in found for i in range(shard.start, shard.stop)}
    assert covered == set(itertools.product(("a", "a/b", "c"), range(5)))
    assert sum(shard.weight for shard in found) == 15


def test_the_fingerprint_of_a_folder_changes_with_its_names(tmp_path: Path, sets: Any) -> None:
    sets.write_folder(tmp_path, sets.some_images(3))
    (before,) = find_shards(str(tmp_path), Settings()).shards
    (tmp_path / "000.png").rename(tmp_path / "0000.png")
    (after,) = find_shards(str(tmp_path), Settings()).shards
    assert before._replace(fingerprint="") == after._replace(fingerprint="")
    assert before.fingerprint != after.fingerprint


def test_tables_beside_their_tar_files_are_left_out_and_images_are_not(tmp_path: Path, sets: Any) -> None:
    for number in range(3):
        sets.write_tar(tmp_path / f"{number:05d}.tar", sets.some_images(1))
        sets.write_parquet(tmp_path / f"{number:05d}.parquet", sets.some_images(1))
    sets.write_folder(tmp_path, sets.some_images(2))
    assert names(tmp_path) == ["00000", "00001", "00002", "images-00000"]
    assert find_shards(str(tmp_path), Settings()).left.counts == {"tables beside their tar files": 3}
    assert find_shards(f"{tmp_path}/*.parquet", Settings()).shards[0].kind == "parquet"
    assert names(f"{tmp_path}/{{00001..00002}}.tar") == ["00001", "00002"]
    assert names(tmp_path / "00002.tar") == ["00002"]


def test_what_cannot_be_a_source_is_said_in_one_line(tmp_path: Path, sets: Any) -> None:
    sets.write_tar(tmp_path / "twice" / "a.tar", sets.some_images(1))
    sets.write_tar(tmp_path / "twice" / "a.tgz", sets.some_images(1))
    with pytest.raises(BulkSourceError, match=r"both become a\.tar"):
        find_shards(str(tmp_path / "twice"), Settings())
    (tmp_path / "empty").mkdir()
    with pytest.raises(BulkSourceError, match="no images here"):
        find_shards(str(tmp_path / "empty"), Settings())
    with pytest.raises(FileNotFoundError):
        find_shards(str(tmp_path / "absent"), Settings())
    with pytest.raises(ValueError, match="Protocol not known"):
        find_shards("nowhere://bucket", Settings())
    with pytest.raises(BulkSourceError, match="packed"):
        find_shards(str(tmp_path / "twice" / "a.tar"), Settings(pack=True))
