"""Every rung of the ladder, with a tiny network: it learns, resumes, and its files decode exactly."""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gencomp.bitstream import quality_to_step
from gencomp.codec import Codec
from gencomp.entropy.contract import Arithmetic, Evaluation
from gencomp.networks import build, network_of
from gencomp.networks.contract import NetworkConfig, TrainingInputs
from gencomp.networks.hific import HificConfig
from gencomp.networks.hyperprior import HyperpriorConfig
from gencomp.networks.priors import PriorConfig
from gencomp.networks.transforms import TransformConfig, quality_condition
from gencomp.runtime.torch import TorchRuntime
from gencomp.train.checkpoint import checkpoints, exported, load_checkpoint
from gencomp.train.export import Export, export
from gencomp.train.loop import RunOptions, run
from gencomp.train.losses import rate_distortion
from gencomp.train.recipe import Recipe
from gencomp.train.recipes import LADDER
from gencomp.train.settings import recipe

from .conftest import half_of, lines, same_end

STEPS = 40
FAST = {"steps": str(STEPS), "batch": "4", "crop": "64", "warmup": "4", "ema": "0.9", "workers": "0", "precision": "no"}
TINY = {
    "autoencoder": {"model.latent_channels": "8", "model.widths": "8,8,8"},
    "vae": {"model.latent_channels": "8", "model.widths": "8,8,8"},
    "theis2017": {"model.latent_channels": "16", "model.widths": "8,8"},
    "balle2017": {"model.latent_channels": "8"},
    "balle2018": {"model.latent_channels": "8", "model.width": "8"},
    "minnen2018": {"model.latent_channels": "8", "model.width": "8"},
    "santurkar2018": {"model.latent_channels": "8", "model.widths": "8,8,8,8,12"}
    | {"generator.discriminators.patch.width": "4"},
    "hybrid": {"model.learned_channels": "8", "model.width": "8"},
    "light": {"model.latent_channels": "8", "model.widths": "8,8,12", "model.depths": "1,1,1"}
    | {"model.hyper_channels": "4", "model.hyper_width": "8"},
}
KEPT = RunOptions(save_every=STEPS // 2, log_every=1)
data = pytest.importorskip("skimage.data")
rungs = pytest.mark.parametrize("rung", TINY)


def tiny(rung: str) -> Recipe:
    return recipe(rung, {**FAST, **TINY[rung]})


class Climbed:
    """Runs and their exports, made once for all tests."""

    def __init__(self, photographs: Path, folder: Path) -> None:
        self.photographs, self.folder = photographs, folder
        self.run, self.export = functools.cache(self._run), functools.cache(self._export)

    def _run(self, rung: str) -> Path:
        run(tiny(rung), [str(self.photographs)], self.folder / rung, options=KEPT)
        return self.folder / rung

    def _export(self, rung: str) -> Export:
        return export(self.run(rung), self.folder / f"{rung}.safetensors", graphs=True)


@pytest.fixture(scope="module")
def climbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Climbed]:
    folder, photographs = tmp_path_factory.mktemp("ladder"), tmp_path_factory.mktemp("photographs")
    for name in ("astronaut", "coffee", "chelsea"):
        Image.fromarray(getattr(data, name)()).save(photographs / f"{name}.png")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks so small lose by sharing
    yield Climbed(photographs, folder)
    torch.set_num_threads(threads)


def test_every_rung_is_tried_here() -> None:
    assert set(TINY) == set(LADDER)


@rungs
def test_the_loss_falls_on_photographs(climbed: Climbed, rung: str) -> None:
    """Rate and distortion of the same crops at every quality, by the network as it was and as it became."""
    chosen = tiny(rung)
    torch.manual_seed(chosen.seed)
    before, after = build(chosen.model), build(chosen.model)
    half, whole = (exported(load_checkpoint(saved).tensors) for saved in checkpoints(climbed.run(rung)))
    if len(chosen.stages) > 1:  # nothing is coded before
        before.load_state_dict(half)
    after.load_state_dict(whole)
    pixels = np.stack([data.astronaut()[64 * i : 64 * i + 64, 128:192] for i in range(8)])
    x, steps = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255, torch.arange(8) * 146
    inputs = TrainingInputs(x, steps, torch.zeros(8), {}, torch.zeros(8, 2, dtype=torch.long))
    losses = []
    for network in (before, after):
        with torch.no_grad():
            output = network(inputs)
        assert output.x_hat.abs().max() < 8  # from the first step on about 0..1
        bits = torch.stack(list(output.rounded_bits.values())).sum(0)
        losses.append(float(rate_distortion(output.x_hat, bits, x, steps, chosen)))
    # an encoder around a generator of 20 steps cannot win much: test_generator.py shows that it learns
    assert losses[1] < (1.01 if len(chosen.stages) > 1 else 0.8) * losses[0]
    logged = lines(climbed.run(rung))
    assert len(logged) == STEPS
    assert all(line["bpp"] > 0 for line in logged if line["stage"] == "rate_distortion")


@rungs
def test_a_run_that_was_stopped_goes_on_to_the_same_weights(climbed: Climbed, rung: str, tmp_path: Path) -> None:
    run(tiny(rung), [str(climbed.photographs)], half_of(climbed.run(rung), tmp_path / "half"), options=KEPT)
    assert same_end(climbed.run(rung), tmp_path / "half")


@rungs
def test_files_of_odd_sizes_decode_exactly_in_every_way(climbed: Climbed, rung: str) -> None:
    """Both run-times read each other's files, and both arithmetics give the same integers."""
    model = climbed.export(rung).model
    codecs = [Codec(model, "cpu", runtime=name) for name in ("torch", "onnx")]
    tiled = Codec(model, "cpu", tile=32, runtime="torch")
    pixels = data.astronaut()[100:177, 150:283]
    sizes = []
    for quality in (1, 50, 100):
        for writes, reads in (codecs, codecs[::-1]):
            written = writes.compress(pixels, quality=quality)
            assert reads.verify(written).latents_ok
            shown = [np.asarray(c.decompress(written)).astype(int) for c in (*codecs, tiled)]
            assert shown[0].shape == pixels.shape
            assert np.abs(shown[0] - shown[1]).max() <= 1
            assert np.abs(shown[0] - shown[2]).max() <= 1
        sizes.append(len(written))
    assert sizes[0] < sizes[1] < sizes[2]
    latents = TorchRuntime(network_of(model), "cpu").analyze(pixels, 700)
    payload, (height, width) = model.entropy.encode(latents, 700, Evaluation(check=True)).payload, latents.y.shape[1:]
    arithmetics: tuple[Arithmetic, ...] = ("float64", "int64")
    a, b = (model.entropy.decode(payload, height, width, 700, Evaluation(arithmetic=a)).y_int for a in arithmetics)
    assert np.array_equal(a, b)
    assert np.abs(a / 64 - latents.y).max() < 0.51


@rungs
def test_integers_cost_what_the_floats_promise(climbed: Climbed, rung: str) -> None:
    """Or less: tables that are fitted at export know better than a network of 40 steps what its latents are like."""
    done = climbed.export(rung)
    assert done.rate_change < 0.01
    assert done.model.entropy.kind != "factorized" or done.rate_change > -0.01


@rungs
def test_the_log_names_the_rate_of_files(climbed: Climbed, rung: str) -> None:
    """Bits of rounded latents by the training's own account of a batch, against those of files; tables that are fitted
    at export may take less than a network that has hardly learnt."""
    model = climbed.export(rung).model
    network, step = network_of(model), torch.full((6,), quality_to_step(60))
    photographs = (data.astronaut(), data.coffee(), data.chelsea())
    crops = [image[:256, left : left + 256] for image in photographs for left in (0, 190)]
    x = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        said = network(TrainingInputs(x, step, torch.zeros(6), {}, torch.zeros(6, 2, dtype=torch.long))).rounded_bits
    codec, promised = Codec(model, "cpu", runtime="torch"), sum(float(bits.sum()) for bits in said.values())
    coded = sum(codec.encode(crop, quality=60).entropy_bits for crop in crops)
    assert coded < 1.1 * promised
    assert model.entropy.kind != "factorized" or coded > 0.9 * promised


OTHERS: dict[str, NetworkConfig] = {
    "hyperprior": HyperpriorConfig(TransformConfig(4, (8, 8), (2, 1), (8, 8, 8, 8), (1, 2, 1)), PriorConfig(4, 8, 8)),
    "hific": HificConfig(8, (4, 8, 8, 16, 16), residual_blocks=2, hyper_channels=8),
}


def transforms(family: str, network: Any) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    """Synthesis and analysis in float64, which float32 at their borders would round."""
    step, zero = torch.tensor([512]), torch.zeros(1, dtype=torch.double)
    if family == "hific":
        return network.synthesis, network.analysis
    if family == "hyperprior":
        condition = quality_condition(step).double()
        origin = torch.zeros(1, 2)
        return lambda y: network.synthesis(y, condition, zero, origin), lambda x: network.analysis(x, condition)
    return lambda y: network.synthesize(y, step, zero), lambda x: network.analyze(x, step)


@pytest.mark.parametrize("family", [*TINY, *OTHERS])
@torch.no_grad()
def test_tiles_are_as_the_whole_and_halos_no_wider_than_they_must(family: str) -> None:
    """Change one place: nothing beyond the halo may change, and the halo may be generous by one latent at most."""
    torch.manual_seed(1)
    network: Any = build(OTHERS.get(family) or tiny(family).model).double().eval()
    for parameter in network.parameters():
        if not parameter.any():  # what begins at zero would hide how far it will see
            torch.nn.init.normal_(parameter, std=0.1)
    channels, side, centre = network.config.latent_channels, 17, 8
    synthesize, analyze = transforms(family, network)
    y = torch.randn(1, channels, side, side, dtype=torch.double)
    poked = y.clone()
    poked[:, :, centre, centre] += 1
    moved = (synthesize(y) != synthesize(poked)).any(1)[0]
    rows = torch.nonzero(moved.any(1)).flatten() // network.stride
    assert 0 <= network.halo.synthesis - max(centre - int(rows.min()), int(rows.max()) - centre) <= 1
    stride = network.stride
    x, reach = torch.rand(1, 3, stride * side, stride * side, dtype=torch.double), 0
    for offset in (0, stride - 1):
        poked = x.clone()
        poked[:, :, centre * stride + offset, centre * stride + offset] += 1
        moved = (analyze(x) != analyze(poked)).any(1)[0]
        rows = torch.nonzero(moved.any(1)).flatten()
        reach = max(reach, centre - int(rows.min()), int(rows.max()) - centre)
    assert 0 <= network.halo.analysis - reach <= 1
