"""The Pillow plugin: .gnc like any other format of Pillow, decoded only when pixels are asked for."""

import inspect
import io
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, ImageOps

from gencomp.bitstream import Header, pack
from gencomp.codec import Codec

from .conftest import FakeCodec

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = SRGB.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")  # red is green in it
pytestmark = pytest.mark.usefixtures("fake_codec")
ABSURD: list[Any] = [({"quality": "keep"}, "always coded anew"), ({"quality": "web_high"}, "no number")]
ABSURD += [({"icc_profile": b"no profile"}, "icc_profile cannot be stored"), ({"dpi": 300}, "dpi cannot be stored")]
ABSURD += [({"dpi": (0, float("nan"))}, "dpi cannot be stored"), ({"comment": "x" * 65_001}, "comment of 65,001 bytes")]


def _saved(photo: Image.Image, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    photo.save(file, "GNC", **options)
    file.seek(0)
    return file


def _pixels(photo: Image.Image) -> bytes:
    """The photo's bytes, which the stand-in codec keeps at quality 100."""
    return photo.tobytes()


def test_opening_reads_the_header_alone(photo: Image.Image, fake_codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    file = _saved(photo)
    monkeypatch.setattr(fake_codec, "decompress", lambda *_, **__: pytest.fail("decoded"))
    assert Image.open(file).size == photo.size


def test_opening_does_not_import_torch(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.gnc")
    code = "import sys, gencomp, PIL.Image as I; print(I.open(sys.argv[1]).size, 'torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "a.gnc"], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n")[0] == "(40, 30) False"


def test_file_is_decoded_once(photo: Image.Image, fake_codec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Image.open(_saved(photo, quality=100))
    first = opened.tobytes()
    monkeypatch.setattr(fake_codec, "decompress", lambda *_, **__: pytest.fail("decoded again"))
    assert opened.tobytes() == first == opened.copy().tobytes()


def test_options_of_save_reach_the_codec(photo: Image.Image) -> None:
    small, large = (len(_saved(photo, quality=quality).getvalue()) for quality in (10, 90))
    assert small < large
    limit = (small + large) // 2
    assert len(_saved(photo, bytes=limit).getvalue()) <= limit
    assert len(_saved(photo, bpp=8 * limit / 1200).getvalue()) <= limit


def test_other_modes_are_converted_by_the_rules_of_reading() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert Image.open(_saved(clear, quality=100, background="white")).getpixel((0, 0)) == (255, 255, 255)
    with pytest.raises(OSError, match="no known range"):
        _saved(Image.new("F", (4, 4)))


def test_opened_picture_is_an_ordinary_picture(photo: Image.Image) -> None:
    data = _saved(photo, quality=100).getvalue()
    assert pickle.loads(pickle.dumps(Image.open(io.BytesIO(data)))).tobytes() == _pixels(photo)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(photo))
    thumbnail = Image.open(io.BytesIO(data))
    thumbnail.thumbnail((10, 10))
    assert thumbnail.size == (10, 8)
    drawn = Image.open(io.BytesIO(data))
    drawn.putpixel((0, 0), (1, 2, 3))
    assert drawn.getpixel((0, 0)) == (1, 2, 3)
    assert Image.open(io.BytesIO(data)).crop((0, 0, 5, 5)).size == (5, 5)


def test_file_that_pillow_opened_is_closed_after_loading(tmp_path: Path, photo: Image.Image) -> None:
    photo.save(tmp_path / "a.gnc")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        opened = Image.open(tmp_path / "a.gnc")
        assert (handle := opened.fp) is not None
        opened.load()
        assert handle.closed
        own = (tmp_path / "a.gnc").open("rb")
        Image.open(own).load()
        assert not own.closed
        own.close()


def test_verify_finds_damage_without_decoding(photo: Image.Image) -> None:
    data = _saved(photo).getvalue()
    Image.open(io.BytesIO(data)).verify()
    with pytest.raises(OSError, match="checksum"):
        Image.open(io.BytesIO(data[:-1])).verify()


@pytest.mark.parametrize("cut", [5, 18, 22, 30, -1])
@pytest.mark.parametrize("options", [{}, {"comment": "x" * 20}])
def test_truncated_file_is_an_oserror(photo: Image.Image, options: dict[str, str], cut: int) -> None:
    with pytest.raises(OSError, match="damaged file"):
        Image.open(io.BytesIO(_saved(photo, **options).getvalue()[:cut])).load()


def test_limits_of_pillow_on_large_pictures_hold(monkeypatch: pytest.MonkeyPatch, photo: Image.Image) -> None:
    huge = pack(Header(b"fake", 100_000, 100_000, 0, 0), b"")
    with pytest.raises(Image.DecompressionBombError):
        Image.open(io.BytesIO(huge))
    data = _saved(photo, quality=100).getvalue()
    opened = Image.open(io.BytesIO(data))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(OSError, match="larger than the limit"):
        opened.load()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    Image.open(io.BytesIO(data)).load()


def test_datasets_decode_gnc_from_bytes_paths_and_parquet(tmp_path: Path, photo: Image.Image) -> None:
    datasets = pytest.importorskip("datasets")
    data = _saved(photo, quality=100).getvalue()
    (tmp_path / "a.gnc").write_bytes(data)
    rows = {"image": [{"bytes": data, "path": None}, {"bytes": None, "path": str(tmp_path / "a.gnc")}]}
    dataset = datasets.Dataset.from_dict(rows, features=datasets.Features({"image": datasets.Image()}))
    dataset.to_parquet(tmp_path / "a.parquet")
    again = datasets.Dataset.from_parquet(str(tmp_path / "a.parquet"), cache_dir=str(tmp_path / "cache"))
    for image in [*dataset["image"], *again["image"]]:
        assert image.tobytes() == _pixels(photo)


def test_metadata_given_to_save_are_stored_as_given_and_come_back(photo: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    given = {"exif": exif, "xmp": b"<x/>", "icc_profile": SRGB, "dpi": (72, 72), "comment": "hé"}
    opened = Image.open(_saved(photo, quality=100, **given))
    assert opened.info == {**given, "exif": exif.tobytes(), "dpi": (72.0, 72.0)}
    assert (dict(opened.getexif()), opened.tobytes()) == ({0x010F: "Maker"}, _pixels(photo))
    assert "exif" not in Image.open(_saved(photo)).info


def test_profile_given_to_save_says_the_colours_and_converts_nothing(photo: Image.Image) -> None:
    """As for Pillow's own formats; without it the image is converted to sRGB."""
    photo.info["icc_profile"] = profile = SWAPPED
    assert Image.open(_saved(photo, quality=100, icc_profile=profile)).tobytes() == photo.tobytes()
    assert Image.open(_saved(photo, quality=100)).tobytes() != photo.tobytes()
    assert photo.info["icc_profile"] == profile


@pytest.mark.parametrize(("options", "text"), ABSURD)
def test_absurd_options_are_oserrors(tmp_path: Path, photo: Image.Image, options: dict[str, Any], text: str) -> None:
    with pytest.raises(OSError, match=text):
        photo.save(tmp_path / "a.gnc", **options)
    assert not list(tmp_path.iterdir())


def test_save_all_takes_one_frame_and_refuses_more(photo: Image.Image) -> None:
    assert Image.open(_saved(photo, save_all=True, quality=100)).tobytes() == _pixels(photo)
    with pytest.raises(OSError, match="holds one image"):
        _saved(photo, save_all=True, append_images=[photo])


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_lack_of_memory_is_an_oserror(
    photo: Image.Image, fake_codec: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    opened = Image.open(_saved(photo))
    monkeypatch.setattr(fake_codec, "decompress", Mock(side_effect=error))
    with pytest.raises(OSError, match="memory"):
        opened.load()


ORDERS = [Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM]
ORDERS += [Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270]
XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="{}" dc:title="a"/></x:xmpmeta>'


def _turned(photo: Image.Image, orientation: int, order: str = "II") -> tuple[Image.Image, dict[str, Any]]:
    """A JPEG, opened, whose pixels lie so that `orientation` makes them the photo; and that as options of `save`."""
    exif = Image.Exif()
    exif.endian = "<" if order == "II" else ">"
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Artist] = orientation, "me"
    lying = photo if orientation == 1 else photo.transpose(ORDERS[orientation - 2])
    file = io.BytesIO()
    lying.save(file, "PNG", exif=exif)
    return Image.open(file), {"exif": exif, "xmp": XMP.format(orientation)}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("how", ["own", "exif", "bytes", "big-endian", "xmp", "copy and exif", "turned in memory"])
def test_an_image_is_turned_upright_once(fake_codec: Any, photo: Image.Image, how: str, orientation: int) -> None:
    image, options = _turned(photo, orientation, "MM" if how == "big-endian" else "II")
    given = {"xmp": options["xmp"]} if how == "xmp" else {} if how in {"own", "turned in memory"} else options
    if how in {"bytes", "big-endian"}:
        given = {"exif": options["exif"].tobytes()}
    if how == "copy and exif":
        image = image.convert("RGB")
    if how == "turned in memory":
        image = image.transpose(Image.Transpose.TRANSPOSE)
        photo = image.copy()
    file = io.BytesIO()
    image.save(file, "GNC", quality=100, **given)
    seen = Image.open(file)
    assert seen.getexif().get(ExifTags.Base.Orientation, 1) == 1
    assert b'Orientation="1"' in seen.info["xmp"] if "xmp" in given else "xmp" not in seen.info
    if "exif" in given:
        assert seen.getexif()[ExifTags.Base.Artist] == "me"
    np.testing.assert_array_equal(np.asarray(ImageOps.exif_transpose(seen)), np.asarray(photo))


@pytest.mark.parametrize("method", ["encode", "decompress", "verify"])
def test_the_fake_takes_what_the_codec_takes(method: str) -> None:
    real, fake = (inspect.signature(getattr(owner, method)).parameters for owner in (Codec, FakeCodec))
    assert list(fake) == list(real)
    assert [p.kind for p in fake.values()] == [p.kind for p in real.values()]
