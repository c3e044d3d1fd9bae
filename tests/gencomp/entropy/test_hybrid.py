"""The kind "hybrid": planes by JPEG and latents beside them; exact, and neither depends on the other."""

import io

import numpy as np
import pytest
from PIL import Image

from gencomp.bitstream import BitstreamError, ModelError
from gencomp.entropy import hybrid, jpeg
from gencomp.entropy.contract import Latents
from gencomp.entropy.hybrid import CHANNELS, from_planes, to_planes

from .models import hybrid as hybrid_model

ANSWER = "ea6b273831147fb81208a0844645dbcee620af42add1969e96c7e2c82c741a05"


def latents(height: int, width: int, seed: int) -> Latents:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(hybrid_model().latent_channels, height, width)).astype(np.float32)
    y[:CHANNELS] *= 0.6
    z = rng.normal(size=(hybrid_model().hyper_channels, -(-height // 4), -(-width // 4))).astype(np.float32)
    return Latents(y, 2 * z)


def test_the_learned_bits_do_not_depend_on_the_planes() -> None:
    one, other = latents(9, 6, 1), latents(9, 6, 1)
    other.y[:CHANNELS] = 0.3
    first, second = (hybrid_model().encode(given_latents, 700) for given_latents in (one, other))
    assert np.array_equal(first.y_int[CHANNELS:], second.y_int[CHANNELS:])
    inner = hybrid_model().inner.encode(Latents(one.y[CHANNELS:], one.z), 700).payload
    assert first.payload.endswith(inner)
    assert second.payload.endswith(inner)
    assert len(second.payload) < len(first.payload)


def test_a_finer_step_costs_more_and_shows_more() -> None:
    rough, fine = (hybrid_model().encode(latents(16, 16, 3), step) for step in (0, 1024))
    wanted = latents(16, 16, 3).y[:CHANNELS].clip(-2, 127 / 64)
    errors = [np.abs(coded.y_int[:CHANNELS] / 64 - wanted).mean() for coded in (rough, fine)]
    assert errors[1] < errors[0] / 4
    assert len(rough.payload) < len(fine.payload)
    assert (hybrid_model().step_at(0), hybrid_model().step_at(1024)) == (40, 2)


def test_planes_are_the_places_of_their_channels() -> None:
    y = np.arange(CHANNELS * 6, dtype=np.float32).reshape(CHANNELS, 2, 3) / np.float32(64)
    planes = to_planes(y)
    for c in range(CHANNELS):
        assert np.array_equal(planes[c // 4, (c // 2) % 2 :: 2, c % 2 :: 2], 64 * y[c] + 128)
    assert np.array_equal(from_planes(planes), 64 * y)


def test_planes_beyond_what_jpeg_can_hold_are_cut_into_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hybrid, "SIDE", 10)
    coded = hybrid_model().encode(latents(11, 6, 2), 512)
    assert len(list(hybrid.pieces(22, 12))) == 6
    assert np.array_equal(hybrid_model().decode(coded.payload, 11, 6, 512).y_int, coded.y_int)


def test_a_scan_with_its_head_is_a_jpeg_file() -> None:
    plane = np.random.default_rng(0).integers(0, 256, (21, 34), dtype=np.uint8)
    scan = jpeg.encode_plane(plane, 3)
    with Image.open(io.BytesIO(jpeg.head(21, 34, 3) + scan + b"\xff\xd9")) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "L", (34, 21))
        assert np.array_equal(np.asarray(image), jpeg.decode_plane(scan, 21, 34, 3))
    assert np.abs(jpeg.decode_plane(scan, 21, 34, 3).astype(int) - plane).max() <= 12


def test_a_machine_with_another_inverse_dct_does_not_know_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = hybrid_model().known_answer()

    def off_by_one(scan: bytes, height: int, width: int, step: int) -> np.ndarray:
        plane = jpeg.decode_plane(scan, height, width, step).copy()
        plane[0, 0] ^= 1
        return plane

    monkeypatch.setattr(hybrid, "decode_plane", off_by_one)
    assert hybrid_model().known_answer() != expected


def test_the_answer_is_that_of_libjpeg() -> None:
    """As decoded where this was written; a digest, so that it fails where the integer inverse DCT is another one."""
    seen = [jpeg.decode_plane(jpeg.PROBE, 8, 16, step) for step in (1, 7, 40, 255)]
    assert hybrid.answer(seen) == ANSWER


def test_an_encoder_that_writes_another_kind_of_jpeg_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg, "DC_CODES", (jpeg.DC_CODES[0], bytes(range(11, -1, -1))))
    with pytest.raises(ModelError, match="other tables"):
        jpeg.encode_plane(np.zeros((8, 8), np.uint8), 5)


def test_what_ends_in_a_scan_is_refused() -> None:
    payload = hybrid_model().encode(latents(6, 5, 0), 512).payload
    scans = hybrid.write_planes(to_planes(latents(6, 5, 0).y[:CHANNELS]), hybrid_model().step_at(512))
    assert payload.startswith(scans)
    for length in range(len(scans)):
        with pytest.raises(BitstreamError):
            hybrid_model().decode(payload[:length], 6, 5, 512)


def test_a_marker_within_a_scan_is_refused() -> None:
    scan = jpeg.encode_plane(np.random.default_rng(0).integers(0, 256, (16, 16), dtype=np.uint8), 2)
    for marker in (b"\xff\xd9", b"\xff\xd0", b"\xff\xc4", b"\xff"):
        with pytest.raises(BitstreamError, match="marker"):
            jpeg.decode_plane(scan[:40] + marker + scan[42:], 16, 16, 2)


def test_damage_ends_in_an_error_or_in_other_latents() -> None:
    coded, rng = hybrid_model().encode(latents(6, 5, 0), 512), np.random.default_rng(1)
    refused = 0
    for _ in range(200):
        damaged = bytearray(coded.payload)
        damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
        try:
            back = hybrid_model().decode(bytes(damaged), 6, 5, 512)
        except BitstreamError:
            refused += 1
            continue
        assert back.y_int.shape == coded.y_int.shape
    assert 10 < refused < 190
