"""The codecs that are compared: each codes through a real file, at a rate that is asked for, and says what it is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from gencomp.eval.codecs import ours as learned
from gencomp.eval.codecs.baseline import Knob, Peer, PeerError, decode_with_pillow, through_pillow
from gencomp.eval.run.coding import code
from gencomp.eval.run.rates import RateSearch


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(data.coffee()[100:228, 100:260])


def peer_or_skip(name: str) -> Peer:
    try:
        return learned.build(name)[0]
    except PeerError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", [name for name in learned.BUILT_IN if name != "vvc"])
def test_a_peer_codes_to_a_file_near_the_rate_and_back(name: str, picture: Image.Image, tmp_path: Path) -> None:
    peer = peer_or_skip(name)
    target = 0.8 * picture.width * picture.height / 8
    search = RateSearch(peer.knob, lambda s: len(peer.encode(picture, s)), picture.width * picture.height)
    match = search.match(target)
    coded = code(tmp_path / f"coded{peer.suffix}", peer, picture, match.setting)
    assert coded.size == (tmp_path / f"coded{peer.suffix}").stat().st_size == match.size
    assert coded.bpp == pytest.approx(0.8, rel=0.1)
    error = np.abs(np.asarray(coded.picture, float) - np.asarray(picture, float)).mean()
    assert error < 12  # grey levels; a wrong colour matrix or range costs more


def test_vvc_codes_and_decodes(picture: Image.Image, tmp_path: Path) -> None:
    peer = peer_or_skip("vvc")
    coded = code(tmp_path / "coded.vvc", peer, picture, 40)
    assert np.abs(np.asarray(coded.picture, float) - np.asarray(picture, float)).mean() < 12
    with pytest.raises(RuntimeError, match="even"):
        peer.encode(picture.crop((0, 0, 33, 32)), 40)


@pytest.mark.parametrize("name", ["jpeg", "jpeg2000", "webp", "avif", "hevc"])
def test_odd_sizes_come_back(name: str, picture: Image.Image, tmp_path: Path) -> None:
    peer = peer_or_skip(name)
    odd = picture.crop((0, 0, 65, 43))
    middle = peer.knob.setting(peer.knob.last // 2)
    assert code(tmp_path / "coded", peer, odd, middle).picture.size == (65, 43)


def test_bytes_do_not_depend_on_the_run(picture: Image.Image) -> None:
    for name in ("jpeg", "webp", "avif"):
        peer = peer_or_skip(name)
        assert peer.encode(picture, 30) == peer.encode(picture, 30)


def test_notes_state_version_and_options() -> None:
    assert "speed 4" in peer_or_skip("avif").note
    assert "Pillow" in peer_or_skip("jpeg").note


def test_a_peer_that_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for package, name in (("imagecodecs", "jpegxl"), ("imageio_ffmpeg", "hevc")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(PeerError, match="pip install"):
            learned.build(name)


def test_an_unknown_codec_is_named() -> None:
    with pytest.raises(PeerError, match="known: gencomp, jpeg"):
        learned.build("jepg")


def test_a_user_s_adapter_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, picture: Image.Image
) -> None:
    (tmp_path / "my_adapter.py").write_text(
        "from gencomp.eval.codecs.baseline import Knob, Peer, decode_with_pillow, through_pillow\n"
        "def make():\n"
        "    encode = through_pillow('PNG')\n"
        "    return Peer('mine', '.png', Knob('none', 0, 1), lambda p, s: encode(p), decode_with_pillow)\n"
        "def wrong():\n"
        "    return 5\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    peer = learned.build("my_adapter:make")[0]
    assert code(tmp_path / "coded.png", peer, picture, 0).picture.tobytes() == picture.tobytes()
    for bad in ("my_adapter:absent", "my_adapter:wrong", "no_such_module:make"):
        with pytest.raises(PeerError):
            learned.build(bad)


def test_another_size_than_went_in_is_an_error(picture: Image.Image, tmp_path: Path) -> None:
    shrinking = Peer(
        "shrinking", ".jpg", Knob("quality", 1, 95), lambda p, q: through_pillow("JPEG")(p.resize((8, 8))),
        decode_with_pillow,
    )  # fmt: skip
    with pytest.raises(ValueError, match="8x8"):
        code(tmp_path / "coded.jpg", shrinking, picture, 5)
