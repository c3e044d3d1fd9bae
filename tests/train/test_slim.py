"""Narrower decoders: the teacher's files, the supernet's sub-networks, a budget that holds, runs that resume."""

import dataclasses
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from gencomp.codec import Codec
from gencomp.model import load_model
from gencomp.networks import build, config_from_dict, network_of
from gencomp.networks.contract import Network
from gencomp.networks.cost import cost
from gencomp.networks.hyperprior import HyperpriorConfig, HyperpriorNetwork
from gencomp.networks.transforms import TransformConfig
from gencomp.train.checkpoint import CheckpointError, checkpoints, load_checkpoint, starting_point
from gencomp.train.export import export, quantise
from gencomp.train.loop import RunOptions, run
from gencomp.train.procedures.slim.channels import (
    Supernet,
    chosen,
    group_sizes,
    importance_order,
    reconstruct,
    removed_for_good,
)
from gencomp.train.procedures.slim.widths import Elastic, best_widths, synthesis_kmac
from gencomp.train.recipe import Recipe
from gencomp.train.resume import followed
from gencomp.train.settings import RecipeError, recipe

from .conftest import FAST, same_end

WIDE = TransformConfig(8, (8, 8), (1, 1), (16, 16, 12, 8), (1, 2, 1), grain=True)
THIN = dataclasses.replace(WIDE, decoder_widths=(12, 8, 10, 6), decoder_inner=(2, 8, 0, 4, 6, 0, 6, 3))


@pytest.fixture
def supernet() -> Supernet:
    torch.manual_seed(1)
    network = Supernet(HyperpriorConfig(WIDE))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network.eval().requires_grad_(False)


def shown(network: Network) -> torch.Tensor:
    y = torch.randn(2, 8, 3, 5, generator=torch.Generator().manual_seed(2))
    return network.synthesize(y, torch.tensor([100, 900]), torch.tensor([0.0, 1.0]))


def test_a_sub_network_is_the_network_that_removing_its_channels_gives(supernet: Supernet) -> None:
    narrow = build(HyperpriorConfig(THIN)).eval()
    narrow.load_state_dict(removed_for_good(supernet.state_dict(), THIN))
    whole = shown(supernet)
    supernet.widths = THIN
    assert torch.equal(shown(supernet), shown(narrow))
    assert not torch.equal(whole, shown(narrow))


def test_sorting_channels_leaves_the_images_and_puts_the_loudest_first(supernet: Supernet) -> None:
    before = shown(supernet)
    supernet.get_parameter("synthesis.stage8.blocks.0.first.reduce.weight")[5] *= 50
    loud = shown(supernet)
    order = importance_order(supernet.synthesis, WIDE, lambda: shown(supernet))
    assert order["8.0.first.a"][0] == 5
    assert {group: len(channels) for group, channels in order.items()} == group_sizes(WIDE)
    supernet.synthesis.load_state_dict(chosen(supernet.synthesis.state_dict(), order))
    assert torch.allclose(shown(supernet), loud, rtol=1e-3, atol=1e-3 * float(loud.abs().max()))
    assert not torch.allclose(before, loud)


def test_least_squares_brings_the_narrower_images_nearer_and_leaves_equal_widths_alone(supernet: Supernet) -> None:
    wide = shown(supernet)
    for config, ratio in ((THIN, 0.9), (WIDE, None)):
        narrow = HyperpriorNetwork(HyperpriorConfig(config)).eval().requires_grad_(False)
        narrow.load_state_dict(removed_for_good(supernet.state_dict(), config))
        before = (shown(narrow) - wide).square().mean()
        reconstruct(narrow.synthesis, partial(shown, narrow), supernet.synthesis, partial(shown, supernet))
        after = (shown(narrow) - wide).square().mean()
        assert after < (1e-6 * wide.square().mean() if ratio is None else ratio * before)


def test_gradients_of_a_sub_network_reach_its_channels_alone(supernet: Supernet) -> None:
    supernet.requires_grad_(True)
    supernet.widths = THIN
    shown(supernet).square().mean().backward()
    gradient = supernet.get_parameter("synthesis.stage16.blocks.0.first.reduce.weight").grad
    assert gradient is not None
    assert gradient[:2, :12].all()
    assert not gradient[2:].any()
    assert not gradient[:, 12:].any()
    assert supernet.get_parameter("synthesis.stage8.blocks.0.first.reduce.weight").grad is None  # left out


@pytest.mark.parametrize("config", [WIDE, THIN])
def test_the_closed_form_of_the_arithmetic_is_what_is_counted(config: TransformConfig) -> None:
    other = dataclasses.replace(config, decoder_widths=(8, 8, 8, 8), decoder_inner=(0,) * 8)
    counted = [cost(build(HyperpriorConfig(c)), 64).decoder_kmac for c in (config, other)]
    difference = synthesis_kmac(config) - synthesis_kmac(other)
    assert counted[0] - counted[1] == pytest.approx(difference, rel=2e-3)  # counted with gains, once an image


@pytest.mark.parametrize("share", [0.35, 0.6, 1.0])
def test_drawn_and_changed_widths_keep_to_the_budget(share: float) -> None:
    elastic, rng, budget = Elastic(WIDE), np.random.default_rng(0), share * synthesis_kmac(WIDE)
    for _ in range(20):
        drawn = elastic.drawn(rng, budget)
        for places in (drawn, elastic.changed(rng, drawn, budget)):
            assert synthesis_kmac(elastic.config(places)) <= budget
    assert elastic.config(elastic.drawn(rng, 1e9)).decoder_widths == WIDE.decoder_widths


def test_the_search_finds_the_widths_of_least_loss() -> None:
    elastic, budget = Elastic(WIDE), 0.5 * synthesis_kmac(WIDE)
    found = best_widths(elastic, budget, lambda c: -float(c.decoder_inner[3]), 60, seed=0)
    assert found.decoder_inner[3] == 8
    assert synthesis_kmac(found) <= budget


def test_widths_inside_bottlenecks_come_back_from_a_file_and_old_files_have_none() -> None:
    config = HyperpriorConfig(THIN)
    assert config_from_dict("hyperprior", config.to_dict()) == config
    assert "decoder_inner" not in HyperpriorConfig(WIDE).to_dict()["transform"]
    with pytest.raises(ValueError, match="a width for each bottleneck"):
        TransformConfig(decoder_inner=(1, 2))


@pytest.fixture(scope="module")
def teacher(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    export(trained, path)
    return path


def slim(**values: str) -> Recipe:
    fixed = {"steps": "8", "narrow.begin": "4", "batch": "2", "crop": "128", "workers": "0", "precision": "no"}
    return recipe("slim", {**fixed, "narrow.candidates": "6", "shared.arithmetic": "0.6", **values})


@pytest.fixture(scope="module")
def slimmed(teacher: Path, photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("slim")
    run(slim(), [str(photographs)], out, init=teacher, options=FAST)
    return out


def test_a_narrower_decoder_shares_its_teachers_files(slimmed: Path, teacher: Path, tmp_path: Path) -> None:
    narrow, wide = export(slimmed, tmp_path / "slim.safetensors", graphs=True).model, load_model(teacher)
    assert (narrow.id, narrow.facts["realism"]) == (wide.id, True)
    asked = 0.6 * cost(network_of(wide)).decoder_kmac
    assert 0.7 * asked < cost(network_of(narrow)).decoder_kmac <= asked
    pixels = np.random.default_rng(0).integers(0, 256, (70, 91, 3), dtype=np.uint8)
    data = Codec(wide, "cpu").compress(pixels, quality=50)
    images = []
    for runtime in ("onnx", "torch"):
        codec = Codec(narrow, "cpu", runtime=runtime)
        assert np.array_equal(codec.latents(data), Codec(wide, "cpu").latents(data))
        images.append(np.asarray(codec.decompress(data, realism=1.0), np.int16))
    assert np.abs(images[0] - images[1]).max() <= 2
    assert Codec(narrow, "cpu", runtime="torch").compress(pixels, quality=50) == data


@pytest.mark.parametrize("stopped_at", [2, 4, 6])
def test_a_run_that_was_stopped_in_either_stage_or_between_ends_bit_for_bit_as_an_unbroken_one(
    slimmed: Path, teacher: Path, photographs: Path, tmp_path: Path, stopped_at: int
) -> None:
    every = RunOptions(save_every=2, log_every=2, keep=9)
    run(slim(), [str(photographs)], tmp_path, init=teacher, options=every)
    for late in checkpoints(tmp_path):
        if int(late.stem[5:]) > stopped_at:
            late.unlink()
    run(slim(), [str(photographs)], tmp_path, options=FAST)  # the teacher stands in the checkpoint
    models = [load_checkpoint(checkpoints(folder)[-1]).meta["recipe"]["model"] for folder in (slimmed, tmp_path)]
    assert models[0] == models[1]
    assert same_end(slimmed, tmp_path)


def test_a_decoder_that_learnt_the_rounding_goes_to_int8(teacher: Path, photographs: Path, tmp_path: Path) -> None:
    run(slim(**{"narrow.int8": "true"}), [str(photographs)], tmp_path, init=teacher, options=FAST)
    export(tmp_path, tmp_path / "float.safetensors")
    done = quantise(tmp_path / "float.safetensors", tmp_path / "int8.safetensors", [str(photographs)])
    assert done.id == load_model(teacher).id
    inner = done.config["transform"]["decoder_inner"]
    assert len(done.int8) == 3 * sum(width > 0 for width in inner)


def test_what_cannot_be_narrowed_is_refused(teacher: Path, photographs: Path, tmp_path: Path) -> None:
    for values, said in (({"shared.arithmetic": "0.01"}, "can be narrowed to"), ({"steps": "4"}, "before the last")):
        with pytest.raises(CheckpointError, match=said):
            followed(slim(**values), starting_point(teacher))
    with pytest.raises(CheckpointError, match="--init"):
        run(recipe("slim", {"precision": "no"}), [str(photographs)], tmp_path / "none", options=FAST)
    for key, value, said in (("shared.arithmetic", "2", "share"), ("shared.transform", "x", "unknown key")):
        with pytest.raises(RecipeError, match=said):
            recipe("slim", {key: value})
    assert not (tmp_path / "none").exists()
