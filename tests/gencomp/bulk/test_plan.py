import itertools
from pathlib import Path
from typing import Any

import pytest

from gencomp.bulk.plan import find_shards
from gencomp.bulk.settings import BulkSourceError, Settings


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
