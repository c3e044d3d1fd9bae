"""The codecs that are compared: each codes through a real file, at a rate that is asked for, and says what it is."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from gencomp.eval.codecs import build as building
from gencomp.eval.codecs.baseline import Baseline, BaselineError, RateControl
from gencomp.eval.codecs.classical import avif_format, decode_with_pillow, jpeg_format
from gencomp.eval.run.coding import code, nearest
from gencomp.kinds import saved

TINY = str(Path(__file__).parents[2] / "golden" / "tiny.safetensors")


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.fromarray(data.coffee()[100:228, 100:260])


def codec_or_skip(name: str) -> Baseline:
    try:
        return building.build(name)[0]
    except BaselineError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", [name for name in building.BUILT_IN if name != "vvc" and not name.endswith("-slow")])
def test_a_codec_codes_to_a_file_near_the_rate_and_back(name: str, image: Image.Image, tmp_path: Path) -> None:
    codec = codec_or_skip(name)
    match = nearest(codec, image, (0.8 * image.width * image.height / 8))
    coded = code(tmp_path / f"coded{codec.suffix}", codec, image, match.setting)
    assert coded.size == (tmp_path / f"coded{codec.suffix}").stat().st_size == match.size
    assert coded.bpp == pytest.approx(0.8, rel=0.1)
    error = np.abs(np.asarray(coded.image, float) - np.asarray(image, float)).mean()
    assert error < 12  # grey levels; a wrong colour matrix or range costs more


@pytest.mark.parametrize("name", [n for n in building.BUILT_IN if not n.endswith("-slow")])
def test_odd_sizes_come_back(name: str, image: Image.Image, tmp_path: Path) -> None:
    codec = codec_or_skip(name)
    odd = image.crop((0, 0, 65, 43))
    middle = codec.rate_control.setting(codec.rate_control.last // 2)
    coded = code(tmp_path / "coded", codec, odd, middle).image
    assert coded.size == (65, 43)
    assert np.abs(np.asarray(coded, float) - np.asarray(odd, float))[-1].mean() < 40  # the last row is the image's own
    assert code(tmp_path / "narrow", codec, image.crop((0, 0, 64, 43)), middle).image.size == (64, 43)


def test_bytes_do_not_depend_on_the_run_and_notes_state_version_and_options(image: Image.Image) -> None:
    for name, note in (("jpeg", "Pillow"), ("webp", "method 6"), ("avif", "speed 4")):
        codec = codec_or_skip(name)
        assert codec.encode(image, 30) == codec.encode(image, 30)
        assert note in codec.note
    assert "speed 1, tune=ssim" in codec_or_skip("avif-444-ssim-slow").note


FORMATS = {
    "jpeg": "4:2:0, 8 bits", "jpegli": "4:2:0, 8 bits", "webp": "4:2:0, 8 bits", "avif": "4:2:0, 8 bits",
    "avif-444-psnr": "4:4:4, 8 bits", "hevc": "4:2:0, 10 bits", "hevc-444": "4:4:4, 10 bits", "vvc": "4:2:0, 10 bits",
}  # fmt: skip


@pytest.mark.parametrize(("name", "expected"), FORMATS.items())
@pytest.mark.parametrize("size", [(64, 48), (65, 43)])
def test_a_file_says_its_chroma_format(name: str, expected: str, size: tuple[int, int], image: Image.Image) -> None:
    codec = codec_or_skip(name)
    data = codec.encode(image.crop((0, 0, *size)), codec.rate_control.setting(codec.rate_control.last // 2))
    assert codec.sample_format(data) == expected


def test_even_sides_cost_no_byte_and_odd_ones_one(image: Image.Image) -> None:
    codec = codec_or_skip("hevc")
    assert codec.encode(image.crop((0, 0, 64, 48)), 30)[0] == 0  # a plain elementary stream
    assert [codec.encode(image.crop((0, 0, w, h)), 30)[0] for w, h in ((63, 48), (64, 47), (63, 47))] == [1, 2, 3]


def test_tuning_reaches_the_encoder(image: Image.Image) -> None:
    """Other bytes at each tuning, and for PSNR more of it at no more bytes than by default."""
    plain, tuned = codec_or_skip("avif"), codec_or_skip("avif-444-psnr")
    target = plain.encode(image, 40)
    match = nearest(tuned, image, len(target))
    data = tuned.encode(image, match.setting)
    assert codec_or_skip("avif-444-ssim").encode(image, match.setting) != data
    errors = [
        np.square(np.asarray(c.decode(d, 1.0), float) - np.asarray(image, float)).mean()
        for c, d in ((plain, target), (tuned, data))
    ]
    assert len(data) < 1.03 * len(target)
    assert errors[1] < errors[0]


@pytest.mark.parametrize(("package", "name"), [("imagecodecs", "jpegxl"), ("imageio_ffmpeg", "hevc"), ("", "jepg")])
def test_an_absent_codec_says_what_would_help(package: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BaselineError, match="pip install" if package else "known: gencomp, jpeg"):
        building.build(name)


def test_a_user_s_adapter_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: Image.Image) -> None:
    (tmp_path / "my_adapter.py").write_text(
        "from gencomp.eval.codecs.baseline import Baseline, RateControl\n"
        "from gencomp.eval.codecs.classical import decode_with_pillow\n"
        "from gencomp.kinds import saved\n"
        "def make():\n"
        "    encode = lambda image: saved(image, 'PNG')\n"
        "    return Baseline('mine', '.png', RateControl('none', 0, 1), lambda p, s: encode(p), decode_with_pillow)\n"
        "def wrong():\n"
        "    return 5\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    codec = building.build("my_adapter:make")[0]
    assert code(tmp_path / "coded.png", codec, image, 0).image.tobytes() == image.tobytes()
    for bad in ("my_adapter:absent", "my_adapter:wrong", "no_such_module:make"):
        with pytest.raises(BaselineError):
            building.build(bad)


def test_another_size_than_went_in_is_an_error(image: Image.Image, tmp_path: Path) -> None:
    shrinking = Baseline(
        "shrinking", ".jpg", RateControl("quality", 1, 95), lambda p, q: saved(p.resize((8, 8)), "JPEG"),
        decode_with_pillow,
    )  # fmt: skip
    with pytest.raises(ValueError, match="8x8"):
        code(tmp_path / "coded.jpg", shrinking, image, 5)


@pytest.mark.parametrize("chroma", ["4:4:4", "4:2:2", "4:2:0"])
def test_every_sampling_of_jpeg_is_read(chroma: str, image: Image.Image) -> None:
    assert jpeg_format(saved(image, "JPEG", subsampling=chroma)) == f"{chroma}, 8 bits"
    assert jpeg_format(saved(image.convert("L"), "JPEG", progressive=True)) == "grey, 8 bits"
    assert (jpeg_format(b"no JPEG"), avif_format(b"no AVIF")) == ("", "")


def test_a_models_codec_takes_an_effort_by_its_name_and_says_so() -> None:
    assert building.split_effort(f"{building.OURS}@3") == (building.OURS, 3, "realism")
    assert building.split_effort(f"{building.OURS}@3-pixels") == (building.OURS, 3, "pixels")
    for other in ("jpeg@3", f"{building.OURS}@3-", f"{building.OURS}@3-faces", f"{building.OURS}@12"):
        assert building.split_effort(other) == (other, 0, "realism")
    plain, refined = (building.build(TINY + ending)[0] for ending in ("", "@2"))
    assert refined.name == f"{plain.name}@2"
    assert "effort 2 for psnr, ms_ssim, wasserstein" in refined.note
    small = Image.fromarray(data.coffee()[100:148, 100:148])
    assert refined.encode(small, 60) != plain.encode(small, 60)
    assert refined.decode(refined.encode(small, 60), 1.0).size == small.size


@pytest.mark.parametrize("name", ["avif", "avif-444-psnr", "vvc"])
def test_sketches_are_about_proportional_to_the_files(name: str, image: Image.Image) -> None:
    """By a ratio that hardly changes from one setting to the next; else a rate search would be led astray by them."""
    codec = codec_or_skip(name)
    assert codec.sketch is not None
    control = codec.rate_control
    settings = [control.setting(round(part * control.last)) for part in (0.3, 0.4, 0.5)]
    ratios = [codec.sketch(image, s) / len(codec.encode(image, s)) for s in settings]
    assert max(ratios) < 1.15 * min(ratios)
    assert 0.7 < min(ratios) <= max(ratios) < 1.5
