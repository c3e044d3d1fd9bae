"""The codec as a whole, on the tiny model of tests/golden."""

import hashlib
import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gencomp import bitstream
from gencomp.bitstream import BitstreamError
from gencomp.codec import Codec, RateError
from gencomp.image import ImageError
from gencomp.model import load_model

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = json.loads((GOLDEN / "golden.json").read_text())


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    smooth = rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
    return Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("name", CASES)
def test_golden_files_decode_to_their_recorded_latents(codec: Codec, name: str) -> None:
    latents = codec.latents((GOLDEN / f"{name}.gnc").read_bytes())
    assert hashlib.sha256(latents.astype("<i4").tobytes()).hexdigest() == CASES[name]["latents"]


@pytest.mark.parametrize("name", CASES)
def test_golden_files_decode_to_their_recorded_pictures(codec: Codec, name: str) -> None:
    image = np.asarray(codec.decompress((GOLDEN / f"{name}.gnc").read_bytes()), np.int16)
    recorded = np.asarray(Image.open(GOLDEN / f"{name}.png"), np.int16)
    assert image.shape == recorded.shape
    assert np.abs(image - recorded).max() <= 2


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.floats(1, 100), st.integers(0, 5))
def test_every_size_and_quality_comes_back_with_its_latents(height: int, width: int, quality: float, seed: int) -> None:
    codec = Codec(load_model(GOLDEN / "tiny.safetensors"), "cpu")
    encoded = codec.encode(noise(height, width, seed), quality=quality)
    assert codec.decompress(encoded.data).size == (width, height)
    verified = codec.verify(encoded.data)
    assert verified.latents_ok
    assert verified.entropy_bits == pytest.approx(encoded.entropy_bits, abs=1e-6)
    assert 8 * len(encoded.data) <= encoded.entropy_bits * 1.005 + 8 * 40


def test_a_tile_size_changes_no_latent_of_a_file_and_no_pixel_by_more_than_one(codec: Codec) -> None:
    data = codec.compress(noise(300, 421), quality=60)
    whole, image = codec.latents(data), np.asarray(codec.decompress(data), np.int16)
    for side in (16, 48, 128, 400):
        tiled = Codec(load_model(GOLDEN / "tiny.safetensors"), "cpu", tile=side)
        assert np.array_equal(tiled.latents(data), whole)
        assert np.abs(np.asarray(tiled.decompress(data), np.int16) - image).max() <= 1


def test_coding_in_tiles_moves_at_most_a_rare_latent(codec: Codec) -> None:
    image = noise(300, 421)
    whole = codec.latents(codec.compress(image))
    tiled = Codec(load_model(GOLDEN / "tiny.safetensors"), "cpu", tile=64)
    other = tiled.latents(tiled.compress(image))
    assert (whole != other).mean() < 1e-3


@pytest.mark.parametrize("limit", [900, 1200, 1600])
def test_a_byte_limit_gives_the_largest_quality_within_it(codec: Codec, limit: int) -> None:
    image = noise(96, 96)
    encoded = codec.encode(image, bytes=limit)
    assert len(encoded.data) <= limit
    if encoded.quality < 100:
        better = bitstream.step_to_quality(bitstream.quality_to_step(encoded.quality) + 1)
        assert len(codec.compress(image, quality=better)) > limit


def test_a_rate_in_bits_a_pixel_is_a_limit_on_the_file(codec: Codec) -> None:
    image = noise(128, 128)
    assert 8 * len(codec.compress(image, bpp=1.0)) <= 1.0 * 128 * 128


def test_an_unreachable_rate_is_an_error_that_names_the_smallest_file(codec: Codec) -> None:
    image = noise(64, 64)
    smallest = len(codec.compress(image, quality=1))
    with pytest.raises(RateError, match=f"{smallest} bytes"):
        codec.compress(image, bytes=smallest - 1)
    assert len(codec.compress(image, bytes=smallest)) <= smallest


def test_a_file_of_another_model_is_refused(codec: Codec) -> None:
    header, payload = bitstream.unpack(codec.compress(noise(20, 20)))
    foreign = bitstream.Header(b"none", header.width, header.height, header.quality_step, header.latents_crc)
    with pytest.raises(BitstreamError, match="another model"):
        codec.decompress(bitstream.pack(foreign, payload))


def test_realism_outside_its_range_is_refused(codec: Codec) -> None:
    with pytest.raises(ValueError, match="realism"):
        codec.decompress(codec.compress(noise(16, 16)), realism=1.5)


def test_realism_has_no_effect_on_a_model_that_does_not_know_it_and_it_says_so(codec: Codec) -> None:
    data = codec.compress(noise(40, 40))
    with pytest.warns(UserWarning, match="does not know realism"):
        asked = codec.decompress(data, realism=0.0)
    assert asked.tobytes() == codec.decompress(data).tobytes()
    assert not codec.knows_realism


def test_version_2_decodes_alike_and_refuses_a_size_that_its_latents_were_not_coded_for(codec: Codec) -> None:
    data = codec.compress(noise(37, 53))
    header, payload = bitstream.unpack(data)
    second = replace(header, version=2).sealed(header.latents_crc)
    file = bitstream.pack(second, payload, {77: b"unknown"})
    assert codec.decompress(file).tobytes() == codec.decompress(data).tobytes()
    assert codec.verify(file).latents_ok
    forged = bitstream.pack(replace(second, width=52), payload)  # the same latents cover 52 columns too
    assert not codec.verify(forged).latents_ok
    with pytest.raises(BitstreamError, match="not those that were encoded"):
        codec.decompress(forged)


def test_metadata_are_kept_when_asked_for_and_count_as_bytes(codec: Codec) -> None:
    image = noise(96, 96)
    image.info["comment"] = b"x" * 300
    plain, kept = codec.compress(image, quality=50), codec.compress(image, quality=50, keep=["comment"])
    assert (plain[3], kept[3]) == (1, 2)
    assert (codec.decompress(plain).info, codec.decompress(kept).info) == ({}, {"comment": "x" * 300})
    assert codec.decompress(plain).tobytes() == codec.decompress(kept).tobytes()
    limited = codec.encode(image, bytes=len(plain), keep=["comment"])
    assert len(limited.data) <= len(plain)
    assert limited.quality < 50


@pytest.mark.parametrize("bpp", [float("inf"), float("nan"), 0.0, -1.0])
def test_rates_that_are_no_positive_number_are_refused(codec: Codec, bpp: float) -> None:
    with pytest.raises(ValueError, match="positive number"):
        codec.compress(noise(16, 16), bpp=bpp)


def test_running_out_of_memory_names_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = Codec(load_model(GOLDEN / "tiny.safetensors"), "cpu")
    data = codec.compress(noise(20, 30))

    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(codec.runtime, "synthesize", exhausted)
    with pytest.raises(BitstreamError, match="not enough memory for an image of 30x20 pixels"):
        codec.decompress(data)
    monkeypatch.setattr(codec.runtime, "analyze", exhausted)
    with pytest.raises(ImageError, match="not enough memory for an image of 30x20 pixels"):
        codec.compress(noise(20, 30))


def test_a_decode_warns_and_refuses_where_pillow_does(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    data = codec.compress(noise(20, 30))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 599)
    for call in (codec.decompress, codec.verify, codec.latents):
        with pytest.warns(Image.DecompressionBombWarning, match="30x20"):
            call(data, max_pixels=1198)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call(data, max_pixels=10_000)
            call(data, max_pixels=None)
        with pytest.raises(BitstreamError, match="over the limit"):
            call(data, max_pixels=599)


FORK = """
import os, signal, sys
import numpy as np
import gencomp
codec = gencomp.load(sys.argv[1], runtime=sys.argv[2])
image = np.random.default_rng(0).integers(0, 256, (640, 640, 3), dtype=np.uint8)
data = codec.compress(image)
expected = codec.decompress(data).tobytes()
children = []
for _ in range(2):
    if not (child := os.fork()):
        signal.alarm(60)  # ends the child if it waits for threads that it does not have
        seen = np.frombuffer(codec.decompress(data).tobytes(), np.uint8).astype(int)
        os._exit(int(np.abs(seen - np.frombuffer(expected, np.uint8)).max() > 1))
    children.append(child)
print([os.waitpid(child, 0)[1] for child in children])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize("runtime", ["onnx", "torch"])
def test_two_forked_processes_decode_after_their_parent_has_used_two_threads(runtime: str) -> None:
    """As the workers of a data loader, or of datasets.map(num_proc=...), do."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, "-W", "ignore", "-c", FORK, str(GOLDEN / "tiny.safetensors"), runtime]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == "[0, 0]\n"
