"""Members of tar files and rows of parquet files: what is an image, what follows one, and what is left as it is."""

import io
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageCms

from gencomp.bulk.settings import BulkSourceError
from gencomp.bulk.status import SampleRow, read_rows
from gencomp.bulk.storage import BULK
from gencomp.bulk.transform import is_label

LINKS: list[Any] = [("b.jpg>a.png", "a.gnc b.gnc>a.gnc")]
LINKS += [("sub/b.jpg~../a.png c.png>./a.png", "a.gnc sub/b.gnc~../a.gnc c.gnc>./a.gnc")]
LINKS += [("b.jpg>a.png c.webp>b.jpg", "a.gnc b.gnc>a.gnc c.gnc>b.gnc")]
LINKS += [("original.bin>a.png b.jpg>a.png", "a.png original.bin>a.png b.jpg>a.png")]
LINKS += [("b.jpg>note.txt c.jpg~/etc/x.jpg", "a.gnc b.jpg>note.txt c.jpg~/etc/x.jpg")]


def archive(*members: tuple[str, bytes | str]) -> bytes:
    """Files, and links where the content is a name: `>name` a hard one, `~name` a symbolic one."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type = tarfile.LNKTYPE if content[0] == ">" else tarfile.SYMTYPE
                info.linkname, content = content[1:], b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def encoded(pixels: np.ndarray[Any, Any], kind: str = "PNG", mode: str | None = None) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(file, kind)
    return file.getvalue()


def seen(path: Path) -> list[tuple[str, str]]:
    with tarfile.open(path) as tar:
        return [(info.name, info.linkname) for info in tar]


def rows(folder: Path) -> dict[str, SampleRow]:
    (table,) = (folder / BULK / "status").glob("*.parquet")
    return {row.sample: row for row in read_rows(table.open("rb"))}


RAMP = np.arange(80, dtype=np.uint8).reshape(8, 10)
BROKEN = b"\x89PNG\r\n\x1a\nbroken"


@pytest.mark.parametrize(("links", "after"), LINKS)
def test_links_lead_to_what_they_led_to(tmp_path: Path, sets: Any, bring: Any, links: str, after: str) -> None:
    members = [(name, kind + link) for name, kind, link in re.findall(r"(\S+?)([>~])(\S+)", links)]
    (tmp_path / "in.tar").write_bytes(archive(("a.png", sets.image_file(1)), *members))
    bring(tmp_path / "in.tar", tmp_path / "out")
    assert [name + link for name, link in seen(tmp_path / "out" / "in.tar")] == re.sub("[>~]", "", after).split()
    assert set(rows(tmp_path / "out")) == {"a.png", *(name for name, _ in members if not name.endswith(".bin"))}


def test_a_link_to_an_image_that_failed_fails_and_is_not_left_dangling(tmp_path: Path, bring: Any) -> None:
    (tmp_path / "in.tar").write_bytes(archive(("a.png", BROKEN), ("b.png", ">a.png"), ("c.txt", b"c")))
    assert bring(tmp_path / "in.tar", tmp_path / "out").failed == 2
    assert seen(tmp_path / "out" / "in.tar") == [("c.txt", "")]


def test_names_avoid_those_that_pass_and_doubles_stay(tmp_path: Path, sets: Any, bring: Any, fake_codec: Any) -> None:
    coded = fake_codec.compress(io.BytesIO(sets.image_file(1)))
    (tmp_path / "in.tar").write_bytes(archive(("x.gnc", coded), ("X.png", b"mask"), ("y.gnc", coded), ("y.gnc", coded)))
    bring(tmp_path / "in.tar", tmp_path / "out", direction="decode")
    assert [name for name, _ in seen(tmp_path / "out" / "in.tar")] == ["x.gnc.png", "X.png", "y.png", "y.png"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("1.seg.png", encoded(RAMP)),
        ("1.depth.webp", encoded(RAMP, "WEBP", "RGB")),
        ("1.mask.jpg", encoded(RAMP, "JPEG")),
        ("1.left.png", encoded(RAMP, mode="P")),
        ("1.png", encoded(RAMP.astype(np.uint16) * 300)),
        ("1.tiff", encoded(RAMP.astype(np.float32), "TIFF")),
        ("1.bmp", encoded(RAMP > 9, "BMP")),
    ],
)
def test_labels_and_depth_stay_unless_named(tmp_path: Path, sets: Any, bring: Any, name: str, data: bytes) -> None:
    (tmp_path / "in.tar").write_bytes(archive(("1.jpg", sets.image_file(1, "JPEG")), (name, data), ("1.cls", b"5")))
    tally = bring(tmp_path / "in.tar", tmp_path / "out")
    assert (tally.done, tally.notes) == (1, {"a label or depth image, left as it is": 1})
    with tarfile.open(tmp_path / "out" / "in.tar") as tar:
        content = tar.extractfile(name)
        assert content is not None
        assert content.read() == data
    kind = name.partition(".")[2]
    bring(tmp_path / "in.tar", tmp_path / "named", column=f"cls2, {kind}")
    assert set(rows(tmp_path / "named")) == {name}


def test_an_image_under_another_name_is_left_and_named(tmp_path: Path, sets: Any, bring: Any) -> None:
    members = {name: sets.image_file(1) for name in ("1.img", "2", "3.jfif")}
    (tmp_path / "in.tar").write_bytes(archive(*members.items(), ("3.txt", b"text"), ("4.jpg", sets.image_file(2))))
    tally = bring(tmp_path / "in.tar", tmp_path / "out")
    assert (tally.done, tally.skipped) == (1, 3)
    assert bring(tmp_path / "in.tar", tmp_path / "all", column="img,jfif").done == 2


def test_a_gif_and_a_photograph_are_no_labels(sets: Any) -> None:
    for data in (encoded(RAMP, "GIF"), sets.image_file(1), sets.image_file(1, "JPEG"), b"%!PS-Adobe-3.0 EPSF-3.0\n"):
        assert not is_label(data)


@pytest.mark.parametrize("cut", [1024, 1, 20 * 512])
def test_a_tar_file_without_its_end_is_half_written(tmp_path: Path, sets: Any, bring: Any, cut: int) -> None:
    whole = archive(("a.png", sets.image_file(1)), ("b.txt", b"x" * 9000)).rstrip(b"\0")
    whole += bytes(-len(whole) % 512)
    (tmp_path / "in.tar").write_bytes(whole if cut == 1024 else whole[:-cut])
    with pytest.raises(BulkSourceError, match="ends early"):
        bring(tmp_path / "in.tar", tmp_path / "out")
    (tmp_path / "in.tar").write_bytes(whole + bytes(1024) + archive(("c.png", sets.image_file(2))))
    assert bring(tmp_path / "in.tar", tmp_path / "out").done == 2
    (tmp_path / "in.tar").write_bytes(bytes(1024).join([whole, whole]))
    with pytest.raises(BulkSourceError, match="ends early"):
        bring(tmp_path / "in.tar", tmp_path / "out")


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "tiff"])
def test_metadata_go_through_both_ways_as_with_compress_and_decompress(tmp_path: Path, bring: Any, form: str) -> None:
    exif, profile = Image.Exif(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif[33432] = "me"
    (tmp_path / "in").mkdir()
    Image.fromarray(RAMP).convert("RGB").save(tmp_path / "in" / "a.jpg", exif=exif, icc_profile=profile)
    bring(tmp_path / "in", tmp_path / "coded", keep=("exif", "icc"))
    bring(tmp_path / "coded", tmp_path / "seen", direction="decode", format=form)
    image = Image.open(tmp_path / "seen" / f"a.{form}")
    assert (image.info["icc_profile"], image.getexif()[33432]) == (profile, "me")


@pytest.mark.parametrize("further", [True, False])
def test_structs_keep_their_paths_and_fields(tmp_path: Path, sets: Any, bring: Any, further: bool) -> None:
    fields = [("path", pa.string()), ("bytes", pa.binary()), *([("caption", pa.string())] if further else [])]
    paths = ("a.jpg", "images/2.jpg", "3.jpg", "./img/0001", "https://host.org/img?id=5.1", "set.v2/photo", None)
    files: list[bytes | None] = [sets.image_file(1)] * 7
    files[1], files[2] = None, BROKEN
    cells = [dict(zip(("path", "bytes", "caption"), row)) for row in zip(paths, files, "abcdefg")]
    pq.write_table(pa.table({"image": pa.array(cells, pa.struct(fields))}), tmp_path / "in.parquet", row_group_size=3)
    bring(tmp_path / "in.parquet", tmp_path / "out")
    after = pq.read_table(tmp_path / "out" / "in.parquet")["image"].to_pylist()
    assert [cell and cell["path"] for cell in after] == ["a.gnc", paths[1], "3.jpg" if further else None, *paths[3:]]
    assert [bool(cell and cell["bytes"]) for cell in after] == [True, False, False, True, True, True, True]
    assert not further or "".join(cell["caption"] for cell in after) == "abcdefg"


def test_columns_of_one_name_and_columns_without_nulls(tmp_path: Path, sets: Any, bring: Any) -> None:
    images = pa.array([sets.image_file(1), BROKEN])
    for name in ("id", "image"):
        schema = pa.schema([pa.field("image", pa.binary(), nullable=False), (name, images.type), ("id", pa.int64())])
        pq.write_table(pa.Table.from_arrays([images, images, pa.array([1, 2])], schema=schema), tmp_path / "in.parquet")
        if name == "image":
            with pytest.raises(BulkSourceError, match="2 columns are called image"):
                bring(tmp_path / "in.parquet", tmp_path / name, column="image")
            continue
        assert bring(tmp_path / "in.parquet", tmp_path / name, column="image").failed == 1
        after = pq.ParquetFile(tmp_path / name / "in.parquet").read()
        assert (after.schema, after.column(0)[1].as_py()) == (schema, b"")
        assert (after.column(1), after.column(2)) == (pa.chunked_array([images]), pa.chunked_array([[1, 2]]))
