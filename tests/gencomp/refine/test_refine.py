"""Refinement at encoding, on the tiny model of tests/golden."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

import gencomp
from gencomp import bitstream
from gencomp.bitstream import ModelError, quality_to_step
from gencomp.codec import Codec
from gencomp.effort import AIMS
from gencomp.entropy.contract import Coded, Latents
from gencomp.image import to_tensor
from gencomp.model import load_model
from gencomp.perceptual.weights import NETWORKS
from gencomp.refine import objective as objectives
from gencomp.refine.encode import encode_refined
from gencomp.refine.objective import MS_SSIM_WEIGHT, Aim, Objective, Price, aim_of, minimised, price_of
from gencomp.refine.refine import refine
from gencomp.runtime.torch import torch_runtime

GOLDEN = Path(__file__).parents[2] / "golden"
QUALITY = 60


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(load_model(GOLDEN / "tiny.safetensors"), "cpu")


def image(height: int = 64, width: int = 64, seed: int = 0) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    smooth = rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(smooth).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture(autouse=True)
def no_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies on this disk."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def distortion(shown: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint8], price: Price, aim: str) -> float:
    return Objective(to_tensor(pixels), price, aim_of(aim, 1, torch.device("cpu"))).value(to_tensor(shown))


def objective(codec: Codec, data: bytes, pixels: npt.NDArray[np.uint8], aim: str = "pixels") -> float:
    """R + lambda D in bits, of a file and the original."""
    header, _ = bitstream.unpack(data)
    price = price_of(codec.model.facts, header.quality_step)
    shown = np.asarray(codec.decompress(data, realism=None if aim == "realism" else 0.0))
    bits = codec.verify(data).entropy_bits
    return bits + price.lam * pixels[..., 0].size * distortion(shown, pixels, price, aim)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (37, 75), (1, 1)])
@pytest.mark.parametrize(("effort", "aim"), [(1, "realism"), (3, "realism"), (3, "pixels")])
def test_an_effort_is_never_worse_than_none(codec: Codec, height: int, width: int, effort: int, aim: str) -> None:
    pixels = image(height, width)
    plain, refined = (codec.compress(pixels, quality=QUALITY, effort=e, aim=aim) for e in (0, effort))
    assert objective(codec, refined, pixels, aim) <= objective(codec, plain, pixels, aim)


def test_an_effort_pays(codec: Codec) -> None:
    """Not only no worse: an untrained model's analysis is so poor a guess that a few steps must win."""
    pixels = image()
    for aim in AIMS:
        plain, refined = (codec.compress(pixels, quality=QUALITY, effort=e, aim=aim) for e in (0, 3))
        assert objective(codec, refined, pixels, aim) < 0.99 * objective(codec, plain, pixels, aim)


def test_equal_calls_give_equal_files_that_any_decoder_reads(codec: Codec) -> None:
    first, second = (codec.compress(image(), quality=QUALITY, effort=2) for _ in range(2))
    assert first == second
    other = Codec(load_model(GOLDEN / "tiny.safetensors"), "cpu", tile=16)
    assert other.verify(first).latents_ok
    assert np.array_equal(other.latents(first), codec.latents(first))


def test_no_effort_leaves_the_file_as_it_was(codec: Codec) -> None:
    assert codec.compress(image(), effort=0) == codec.compress(image())
    assert codec.encode(image(), effort=0).gain is None


def test_what_refinement_finds_is_what_the_encoder_codes() -> None:
    """Refined latents lie on the residuals that were chosen: the integer prior rounds them to the same. Of a trained
    model, whose integers follow its float prior."""
    codec = gencomp.load(device="cpu")
    pixels, step = image(), quality_to_step(QUALITY)
    latents = codec.runtime.analyze(pixels, step)
    network = torch_runtime(codec.runtime, codec.model).network
    refined = refine(codec.model, network, pixels, latents, step, 3)
    y_hat = codec.model.entropy.encode(refined, step).y_int / 64
    assert np.abs(y_hat - refined.y).max() < 0.5  # apart by what the integers' means differ from the float ones


def test_tiles_agree_with_the_whole_in_form_and_gain_too(codec: Codec) -> None:
    pixels, step = image(96, 80), quality_to_step(QUALITY)
    latents = codec.runtime.analyze(pixels, step)
    runtime = torch_runtime(codec.runtime, codec.model)
    price = price_of(codec.model.facts, step)

    def value(found: Latents) -> float:
        coded = codec.model.entropy.encode(found, step)
        shown = runtime.synthesize((coded.y_int / 64).astype(np.float32), (96, 80), step, 0.0)
        return coded.bits + price.lam * 96 * 80 * distortion(shown, pixels, price, "pixels")

    seen: list[tuple[int, int]] = []
    whole = refine(codec.model, runtime.network, pixels, latents, step, 2)
    tiled = refine(codec.model, runtime.network, pixels, latents, step, 2, side=4, progress=lambda *at: seen.append(at))
    assert (tiled.y.shape, tiled.y.dtype) == (whole.y.shape, whole.y.dtype)
    before = value(latents)
    assert before - value(tiled) > 0.3 * (before - value(whole)) > 0
    assert seen[-1][0] == seen[-1][1] == len(seen)


def test_a_limit_of_bytes_holds_and_is_used(codec: Codec) -> None:
    pixels = image(96, 96)
    for limit in (900, 1400):
        plain, refined = (codec.encode(pixels, bytes=limit, effort=e) for e in (0, 1))
        assert len(refined.data) <= limit
        assert objective_free_error(codec, refined.data, pixels) <= objective_free_error(codec, plain.data, pixels)
    assert 8 * len(codec.compress(pixels, bpp=1.0, effort=1)) <= 1.0 * 96 * 96


def objective_free_error(codec: Codec, data: bytes, pixels: npt.NDArray[np.uint8]) -> float:
    """D alone, at the price of no quality in particular: the weight of MS-SSIM is the same at all."""
    return distortion(np.asarray(codec.decompress(data)), pixels, price_of(codec.model.facts, 0), "realism")


def test_the_search_within_a_limit_refines_three_times_at_most(codec: Codec) -> None:
    pixels, step = image(), quality_to_step(QUALITY)
    runtime, calls = torch_runtime(codec.runtime, codec.model), []
    plain = codec.model.entropy.encode(runtime.analyze(pixels, step), step)

    def code(latents: Latents, step: int) -> Coded:
        calls.append(step)
        return codec.model.entropy.encode(latents, step)

    room = len(plain.payload)
    found = encode_refined(codec.model, runtime, code, pixels, step, plain, room, 1, "realism")
    assert 1 <= len(calls) <= 3
    assert len(found.coded.payload) <= room


@pytest.mark.parametrize(
    ("asked", "match"), [({"effort": -1}, "0 to 9"), ({"effort": 10}, "0 to 9"), ({"aim": "x"}, "aim")]
)
def test_an_effort_or_aim_that_is_none_is_refused(codec: Codec, asked: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        codec.compress(image(), **asked)


def test_the_gradient_is_that_of_the_value_in_tiles_and_with_nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x, x_hat = (torch.rand(1, 3, 72, 40, generator=generator) for _ in range(2))
    aim = aim_of("realism", 1, torch.device("cpu"))
    for side, kept in ((32, 1 << 20), (256, 0)):
        monkeypatch.setattr(objectives, "KEPT", kept)
        parts = Objective(x, Price(0.01, 600), Aim(1.0, tuple(m._replace(side=side) for m in aim.measures)))
        value, slope = parts.weigh(x_hat)
        assert value == pytest.approx(parts.value(x_hat), rel=1e-4)
        less = parts.value(x_hat - 1e-3 * slope / slope.abs().max())
        assert less - value == pytest.approx(-1e-3 * float(slope.square().sum() / slope.abs().max()), rel=0.2)


def test_feature_networks_join_and_are_named(codec: Codec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Untrained ones, under the published names: what is held is the plumbing."""
    import lpips
    import timm

    before = minimised("realism", 9), codec.compress(image(), quality=QUALITY, effort=1)
    alone = aim_of("realism", 1, torch.device("cpu")).measures
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    for net in ("alex", "lite"):
        (folder / NETWORKS[net].files[1]).touch()
    alex, lite = (
        lpips.LPIPS(net="alex", pnet_rand=True, verbose=False),
        timm.create_model("tf_efficientnet_lite0", features_only=True),
    )
    monkeypatch.setattr(objectives, "load_lpips", lambda net: alex.requires_grad_(False))
    monkeypatch.setattr(objectives, "load_lite", lambda: lite.eval().requires_grad_(False))
    assert before[0] == ("psnr", "ms_ssim", "wasserstein")
    assert minimised("realism", 9) == (*before[0], "lpips_alex", "lite")
    assert minimised("pixels", 9) == ("psnr", "ms_ssim")
    together = aim_of("realism", 1, torch.device("cpu")).measures
    assert (len(alone), len(together)) == (1, 3)
    assert alone[0].weight > together[0].weight  # what stands for all of perception counts for more
    refined = codec.encode(image(), quality=QUALITY, effort=1)
    assert refined.data != before[1]
    assert refined.gain is not None
    assert refined.gain.distortion < 0


def test_a_family_without_passes_is_refused_in_one_line(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    network = torch_runtime(codec.runtime, codec.model).network
    monkeypatch.setattr(type(network), "pass_prior", None)
    with pytest.raises(ModelError, match="effort 0"):
        codec.compress(image(), effort=1)


def test_the_price_is_the_models_own_where_it_says_so() -> None:
    assert (price_of({}, 0).lam, price_of({}, 1024).lam) == (pytest.approx(7e-5), pytest.approx(0.03))
    own = price_of({"lambda_min": 0.001, "lambda_max": 0.1, "ms_ssim_weight": 0}, 512)
    assert (own.lam, own.ms_ssim_weight) == (pytest.approx(0.01), 0)
    assert price_of({"lambda_min": "nonsense", "ms_ssim_weight": -1}, 0) == (pytest.approx(7e-5), MS_SSIM_WEIGHT)


def test_pillow_saves_with_an_effort(tmp_path: Path, codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gencomp.pillow, "_default_codec", lambda: codec)
    Image.fromarray(image()).save(tmp_path / "a.gnc", quality=QUALITY, effort=1)
    assert (tmp_path / "a.gnc").read_bytes() == codec.compress(image(), quality=QUALITY, effort=1)
