"""What a destination may lose: nothing of the user's, nothing of another source; and what is finished is looked at."""

import json
import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from gencomp.bulk.plan import find_shards
from gencomp.bulk.run import survey, tables_of
from gencomp.bulk.settings import CLAIM, BulkSourceError, Settings, SettingsError, check_apart, claim
from gencomp.bulk.shard import forget
from gencomp.bulk.status import read_rows
from gencomp.bulk.storage import BULK, DestinationError, StandsError, Storage

BEGUN: list[Any] = [({}, {"source": "elsewhere"}, "source"), ({"quality": 30}, {"quality": 31}, "quality 30 (now 31)")]
BEGUN += [({"direction": "decode"}, {"direction": "verify"}, "direction decode (now verify)")]
BEGUN += [({"keep": ("exif",)}, {}, "keep ['exif'] (now [])"), ({"model": "a"}, {"model": "b"}, "decoder")]


def rows_of(folder: Path) -> dict[str, str]:
    tables = sorted((folder / BULK / "status").rglob("*.parquet"))
    return {row.sample: row.status for table in tables for row in read_rows(table.open("rb"))}


@pytest.mark.parametrize(("first", "second", "said"), BEGUN)
def test_a_destination_keeps_to_what_it_was_begun_with(
    tmp_path: Path, fake_codec: Any, first: dict[str, Any], second: dict[str, Any], said: str
) -> None:
    out = Storage.of(str(tmp_path / "out"))
    sources = [Storage.of(str(tmp_path / asked.pop("source", "in"))) for asked in (first, second)]
    claim(out, sources[0], Settings(**first))
    claim(out, sources[0], Settings(**first))
    with pytest.raises(SettingsError, match="was begun with") as caught:
        claim(out, sources[1], Settings(**second))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_destination_whose_tables_lie_elsewhere_is_refused(tmp_path: Path, fake_codec: Any) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / BULK).symlink_to(tmp_path)
    with pytest.raises(SettingsError, match="is a link"):
        claim(Storage.of(str(tmp_path / "out")), Storage.of(str(tmp_path)), Settings())


def test_two_models_of_one_id_are_two_decoders(tmp_path: Path, fake_codec: Any) -> None:
    out, source = Storage.of(str(tmp_path / "out")), Storage.of(str(tmp_path))
    for name in ("full", "int8", "copy"):
        (tmp_path / name).write_bytes(b"the same integers" + name.replace("copy", "full").encode())
    claim(out, source, Settings(model=str(tmp_path / "full")))
    claim(out, source, Settings(model=str(tmp_path / "copy")))
    with pytest.raises(SettingsError, match="decoder"):
        claim(out, source, Settings(model=str(tmp_path / "int8")))


def _race(folder: str, name: int, start: Any, said: Any) -> None:
    start.wait()
    said.put((name, Storage.of(folder).create(json.dumps(name).encode() * 2000, CLAIM)))


@pytest.mark.parametrize("links", [True, False])
def test_of_all_that_create_a_file_one_does(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError(1, "not permitted")))
    context = multiprocessing.get_context("fork")
    for attempt in range(5):
        folder, start, said = str(tmp_path / str(attempt)), context.Barrier(4), context.Queue()
        racers = [context.Process(target=_race, args=(folder, name, start, said)) for name in range(4)]
        for racer in racers:
            racer.start()
        winners = [name for name, won in (said.get(timeout=20) for _ in racers) if won]
        for racer in racers:
            racer.join()
        assert len(winners) == 1
        assert Path(folder, CLAIM).read_bytes() == json.dumps(winners[0]).encode() * 2000


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
@pytest.mark.parametrize("damage", ["deleted", "emptied", "cut"])
def test_a_lost_or_damaged_output_is_made_again(tmp_path: Path, sets: Any, bring: Any, kind: str, damage: str) -> None:
    write = {"tar": sets.write_tar, "parquet": sets.write_parquet}.get(kind, sets.write_folder)
    source, out = write(tmp_path / f"in.{kind}", sets.some_images(4)), tmp_path / "out"
    bring(source, out)
    calm = sets.outputs(out)
    target = out / sorted(calm)[0]
    inodes = {path: path.stat().st_ino for path in out.glob("*.gnc")}
    target.unlink() if damage == "deleted" else os.truncate(target, 0 if damage == "emptied" else 20)
    assert survey(Storage.of(str(out)), find_shards(str(source), Settings()).shards)[0]
    assert (bring(source, out).done, sets.outputs(out)) == (4, calm)
    assert all(path.stat().st_ino == inode for path, inode in inodes.items() if path != target)


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
def test_an_input_of_the_same_name_and_size_is_another_one(tmp_path: Path, sets: Any, bring: Any, kind: str) -> None:
    write = {"tar": sets.write_tar, "parquet": sets.write_parquet}.get(kind, sets.write_folder)
    one, two = ({"a.png": sets.image_file(seed, "BMP")} for seed in (1, 2))
    source = write(tmp_path / "in" / f"x.{kind}", one)
    seen = source.stat()
    bring(source, tmp_path / "out")
    before = sets.outputs(tmp_path / "out")
    write(source, two)
    file = source / "a.png" if kind == "folder" else source
    if kind != "folder":
        assert file.stat().st_size == seen.st_size
        os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # as a copy that keeps times: its ends tell
    bring(source, tmp_path / "out")
    bring(source, tmp_path / "fresh")
    assert sets.outputs(tmp_path / "out") == sets.outputs(tmp_path / "fresh") != before


def test_rows_of_what_is_gone_go_and_its_outputs_stay_known(tmp_path: Path, sets: Any, bring: Any) -> None:
    files = {f"{folder}/{name}": data for folder in "ab" for name, data in sets.some_images(2).items()}
    source, out = sets.write_folder(tmp_path / "in", files), tmp_path / "out"
    bring(source, out)
    shutil.rmtree(source / "b")
    (source / "a" / "000.png").unlink()
    bring(source, out)
    gone = tables_of(Storage.of(str(out))) - {shard.name for shard in find_shards(str(source), Settings()).shards}
    forget(Storage.of(str(out)), sorted(gone))
    assert set(rows_of(out)) == {"a/001.jpg"}
    sets.write_folder(source, files)  # a disk that was away: its outputs are not taken for another's
    assert bring(source, out).done == 4


@pytest.mark.parametrize("spelled", ["in", "./in", "link", ".//in", "in/../in", "file://{}/in", "in/.", "up/in"])
@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
def test_no_spelling_makes_a_source_a_destination(
    tmp_path: Path, sets: Any, monkeypatch: pytest.MonkeyPatch, spelled: str, kind: str
) -> None:
    write = {"tar": sets.write_tar, "parquet": sets.write_parquet}.get(kind, sets.write_folder)
    write(tmp_path / "in" / (f"a.{kind}" if kind != "folder" else ""), sets.some_images(1))
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "up").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BulkSourceError, match="is the source"):
        check_apart(find_shards("in", Settings()), Storage.of(spelled.format(tmp_path)), Settings())


def test_a_destination_may_lie_beside_its_file_or_in_its_folder_while_it_is_empty(tmp_path: Path, sets: Any) -> None:
    tar = sets.write_tar(tmp_path / "set[1].tar", sets.some_images(1))
    sets.write_folder(tmp_path / "photos" / "2019", sets.some_images(1))
    for source, out in ((tar, "coded"), (tar, "photos"), (tmp_path / "photos", "photos/coded")):
        check_apart(find_shards(str(source), Settings()), Storage.of(str(tmp_path / out)), Settings())
    for source, out, said in ((tar, ".", "replace an input"), (tmp_path / "photos", "photos/2019", "not empty")):
        with pytest.raises(BulkSourceError, match=said):
            check_apart(find_shards(str(source), Settings()), Storage.of(str(tmp_path / out)), Settings())
    os.link(tar, tmp_path / "photos" / tar.name)
    with pytest.raises(BulkSourceError, match="replace an input"):
        check_apart(find_shards(str(tar), Settings()), Storage.of(str(tmp_path / "photos")), Settings())


def test_outputs_inside_the_source_are_no_inputs_of_the_next_run(tmp_path: Path, sets: Any, bring: Any) -> None:
    source = sets.write_folder(tmp_path / "in", sets.some_images(3))
    claim(Storage.of(str(source / "coded")), Storage.of(str(source)), Settings(model="none"))
    for _ in range(2):
        assert bring(source, source / "coded").done == 3
    assert find_shards(str(source), Settings()).left.counts == {"results of earlier runs": 1}
    coded = sets.write_folder(tmp_path / "all" / "coded", sets.outputs(source / "coded"))
    claim(Storage.of(str(coded)), Storage.of(str(coded)), Settings(direction="verify", model="none"))
    assert len(find_shards(str(tmp_path / "all"), Settings(direction="decode")).shards) == 1


@pytest.mark.parametrize("kind", ["folder", "tar", "pack"])
def test_files_of_others_stay_until_they_may_be_overwritten(tmp_path: Path, sets: Any, bring: Any, kind: str) -> None:
    write, out = sets.write_tar if kind == "tar" else sets.write_folder, tmp_path / "out"
    source = write(tmp_path / ("in.tar" if kind == "tar" else "in"), sets.some_images(2))
    name = {"folder": "000.gnc", "tar": "in.tar", "pack": "00000.tar"}[kind]
    sets.write_folder(out, {name: b"mine"})
    asked = {"pack": True} if kind == "pack" else {}
    if kind == "folder":
        for _ in range(2):
            assert (bring(source, out).failed, rows_of(out)["000.png"]) == (1, "failed")
    else:
        for _ in range(2):
            with pytest.raises(BulkSourceError, match="exists and is kept"):
                bring(source, out, **asked)
    assert (out / name).read_bytes() == b"mine"
    assert bring(source, out, overwrite=True, retry_failed=True, **asked).done == 2
    bring(source, tmp_path / "fresh", **asked)
    assert sets.outputs(out) == sets.outputs(tmp_path / "fresh")


def test_overwrite_writes_nothing_through_links_or_over_inputs(tmp_path: Path, sets: Any, bring: Any) -> None:
    files = {"a/1.png": sets.image_file(1), "b/1.png": sets.image_file(2), "c.png": sets.image_file(3)}
    source, out = sets.write_folder(tmp_path / "in", files), tmp_path / "out"
    sets.write_folder(tmp_path, {"elsewhere/1.gnc": b"mine", "in/c.gnc": sets.outputs(source)["c.png"]})
    out.mkdir()
    (out / "a").symlink_to(tmp_path / "elsewhere")
    (out / "b").symlink_to(source / "b")
    (out / "c.gnc").symlink_to(source / "c.gnc")
    before = sets.outputs(source)
    assert bring(source, out, overwrite=True).failed >= 3
    assert (sets.outputs(source), sets.outputs(tmp_path / "elsewhere")) == (before, {"1.gnc": b"mine"})


def test_outputs_and_tables_are_no_more_open_than_their_inputs(tmp_path: Path, sets: Any, bring: Any) -> None:
    os.umask(0o022)
    source = sets.write_folder(tmp_path / "in", sets.some_images(2))
    (source / "000.png").chmod(0o600)
    tar = sets.write_tar(tmp_path / "set.tar", sets.some_images(1))
    tar.chmod(0o640)
    bring(source, tmp_path / "out")
    bring(source, tmp_path / "packed", pack=True)
    bring(tar, tmp_path / "tars")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("*/*[crn]") if path.parent != source}
    assert modes == {"000.gnc": 0o600, "001.gnc": 0o644, "00000.tar": 0o600, "set.tar": 0o640}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob(f"*/{BULK}/**/*.parquet")} == {0o600}


@pytest.mark.parametrize("name", ["x" * 250 + ".png", "é" * 125 + ".png"])
def test_a_name_too_long_for_its_output_is_cut(tmp_path: Path, sets: Any, bring: Any, name: str) -> None:
    files = {name: sets.image_file(1), f"{name[:-4]}.jpg": sets.image_file(1, "JPEG"), "z.png": sets.image_file(2)}
    tally = bring(sets.write_folder(tmp_path / "in", files), tmp_path / "out")
    assert (tally.done, tally.failed) == (3, 0)
    assert all(len(os.fsencode(name)) <= 255 for name in sets.outputs(tmp_path / "out"))


@pytest.mark.parametrize("pair", [("A.png", "a.png"), ("e\u0301.png", "\xe9.png"), ("ß.png", "SS.png")])
def test_names_alike_on_some_disk_are_not_shared(tmp_path: Path, sets: Any, bring: Any, pair: tuple[str, str]) -> None:
    files = {name: sets.image_file(seed) for seed, name in enumerate(pair)}
    tally = bring(sets.write_folder(tmp_path / "in", files), tmp_path / "out")
    assert (tally.done, tally.failed) == (1, 1)


def test_a_folder_may_be_another_disk(tmp_path: Path, sets: Any, bring: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = sets.write_folder(tmp_path / "in", {"a/1.png": sets.image_file(1), "2.png": sets.image_file(2)})
    real: dict[str, Any] = {"replace": Path.replace, "link": os.link}

    def elsewhere(how: str) -> Any:
        def move(path: Any, target: Any) -> Any:
            if Path(target).parent.name == "a" and Path(path).parent != Path(target).parent:
                raise OSError(18, "Invalid cross-device link")
            return real[how](path, target)

        return move

    monkeypatch.setattr(Path, "replace", elsewhere("replace"))
    monkeypatch.setattr(os, "link", elsewhere("link"))
    assert bring(source, tmp_path / "out").done == 2
    assert set(sets.outputs(tmp_path / "out")) == {"a/1.gnc", "2.gnc"}


def test_what_appears_at_the_last_moment_stands(tmp_path: Path) -> None:
    place = Storage.of(str(tmp_path))
    part = place.part("a", new=True)
    part.__enter__().write(b"ours")
    (tmp_path / "a").write_bytes(b"theirs")
    with pytest.raises(StandsError):
        part.__exit__(None, None, None)
    assert (tmp_path / "a").read_bytes() == b"theirs"
    with pytest.raises(DestinationError):
        place.publish(b"ours", "a/b")
    assert not [path for path in tmp_path.rglob("*.part")]


def test_what_is_left_out_is_counted_and_named(tmp_path: Path, sets: Any) -> None:
    sets.write_folder(tmp_path / "in", {**sets.some_images(2), "a.zip": b"", "b.txt": b"", "c": b"", "sub/d.7z": b""})
    sets.write_folder(tmp_path / "in", {"scan": sets.image_file(3), "e.jfif": sets.image_file(4, "JPEG")})
    sets.write_tar(tmp_path / "in" / "sub" / "stray.tgz", sets.some_images(1))
    (tmp_path / "real").mkdir()
    (tmp_path / "in" / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "in" / "broken.png").symlink_to(tmp_path / "none")
    os.mkfifo(tmp_path / "in" / "pipe.png")
    found = find_shards(str(tmp_path / "in"), Settings())
    assert ([shard.kind for shard in found.shards], found.shards[0].stop) == (["folder", "tar"], 4)
    assert sum(found.left.counts.values()) == 7
    text = "; ".join(found.left.lines())
    parts = ["2 (a.zip, sub/d.7z)", "(b.txt, c)", "links to folders, not followed: 1 (linked)", "broken links"]
    assert all(part in text for part in [*parts, "pipe.png"])
