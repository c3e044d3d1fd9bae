"""Model files: exact, reproducible, and refused when anything is wrong with them."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from gencomp.bitstream import ModelError
from gencomp.codec import Codec, load
from gencomp.entropy.intnet import Backend
from gencomp.entropy.prior import IntegerPrior, decode_latents, encode_latents
from gencomp.model import Model, check_known_answer, integer_digest, load_model, save_model
from gencomp.networks.freeze import Latents, float_pass, freeze_prior, rate_change
from gencomp.networks.priors import Prior, PriorConfig

TINY = Path(__file__).parent.parent / "golden" / "tiny.safetensors"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(TINY)


def latents(model: Model, step: int, seed: int) -> Latents:
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    x = torch.nn.functional.interpolate(x, size=(128, 128), mode="bicubic").clamp(0, 1)
    with torch.no_grad():
        y = model.network.latents(x, torch.tensor([step]))
        return Latents(y, torch.round(model.network.prior.hyper_analysis(y)), step)


def test_saving_and_loading_changes_nothing_and_equal_models_give_equal_bytes(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").read_bytes() == TINY.read_bytes()
    assert integer_digest(load_model(tmp_path / "copy.safetensors").integers) == integer_digest(model.integers)


def test_the_model_id_follows_the_integers_and_not_the_generator(model: Model) -> None:
    with torch.no_grad():
        other = load_model(TINY)
        other.network.synthesis.stem.weight.mul_(2)
    assert other.id == model.id
    weights = model.integers.tables.y[0].copy()
    weights[0] += 1
    weights[1] -= 1
    tables = model.integers.tables
    changed = type(tables)((weights, *tables.y[1:]), tables.z, tables.escape)
    assert integer_digest(model.integers._replace(tables=changed))[:4] != model.id


def test_another_generator_decodes_the_same_file(model: Model) -> None:
    data = Codec(model, "cpu").compress(Image.new("RGB", (40, 30), (200, 30, 60)))
    other = load_model(TINY)
    with torch.no_grad():
        other.network.synthesis.stem.weight.mul_(-1)
    assert Codec(other, "cpu").decompress(data).size == (40, 30)


def test_the_known_answer_is_the_same_by_both_arithmetics_and_notices_a_changed_weight(model: Model) -> None:
    assert check_known_answer(model, "f64")
    assert check_known_answer(model, "i64")
    layers = list(model.integers.contexts[1].layers)
    layers[0] = layers[0]._replace(bias=layers[0].bias + 40)
    contexts = list(model.integers.contexts)
    contexts[1] = contexts[1]._replace(layers=tuple(layers))
    damaged = model._replace(integers=model.integers._replace(contexts=tuple(contexts)))
    assert not check_known_answer(damaged, "f64")
    with pytest.raises(ModelError, match="known-answer"):
        Codec(damaged, "cpu")


def test_a_frozen_prior_costs_nearly_what_the_float_prior_does() -> None:
    torch.manual_seed(3)
    prior = Prior(16, PriorConfig(hyper_channels=8, hyper_width=16, feature_width=16)).eval()
    drawn = [Latents(torch.randn(1, 16, 8, 8), torch.randint(-2, 3, (1, 8, 2, 2)).float(), s) for s in (0, 512, 1024)]
    frozen = freeze_prior(prior, drawn[:2])
    assert abs(rate_change(prior, frozen, drawn[2:])) < 0.005
    assert float_pass(prior, drawn[2]).bits > 100


def test_latents_come_back_under_either_arithmetic_and_any_tile(model: Model) -> None:
    y, z_hat, step = latents(model, 700, 3)
    coded = encode_latents(model.integers, y[0], z_hat[0], step, "f64", tile=3)
    backends: tuple[Backend, ...] = ("f64", "i64")
    for backend in backends:
        back = decode_latents(model.integers, coded.payload, y.shape[2], y.shape[3], step, backend, tile=5)
        assert torch.equal(back.y_int, coded.y_int)


def test_latents_that_are_not_numbers_are_coded_as_something_that_decodes(model: Model) -> None:
    y, z_hat, step = latents(model, 700, 3)
    y[0, 0, 0, 0], y[0, 1, 0, 0], y[0, 2, 0, 0] = float("nan"), float("inf"), -1e30
    coded = encode_latents(model.integers, y[0], z_hat[0], step)
    assert torch.equal(decode_latents(model.integers, coded.payload, y.shape[2], y.shape[3], step).y_int, coded.y_int)


@pytest.mark.parametrize("damage", ["cut", "flip", "foreign", "absent", "no metadata", "float integers", "unbounded"])
def test_a_broken_model_file_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    path, data = tmp_path / "model.safetensors", bytearray(TINY.read_bytes())
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        data[9] ^= 0xFF
        path.write_bytes(data)
    elif damage == "foreign":
        path.write_bytes(b"PK\x03\x04 a zip of pickles")
    elif damage == "no metadata":
        save_file(load_file(TINY), path)
    elif damage in ("float integers", "unbounded"):
        _rewrite(path, damage)
    with pytest.raises(ModelError) as error:
        load_model(path)
    assert "\n" not in str(error.value)


def _rewrite(path: Path, damage: str) -> None:
    from safetensors import safe_open

    with safe_open(TINY, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(TINY)
    if damage == "float integers":
        tensors["integer.tables.y_weights"] = tensors["integer.tables.y_weights"].float()
    else:
        tensors["integer.context0.0.bias"] = tensors["integer.context0.0.bias"] + (1 << 45)
    save_file(tensors, path, metadata)


def test_a_model_that_is_nowhere_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="no model file"):
        load("nonesuch")


def test_integer_priors_are_told_apart_by_identity(model: Model) -> None:
    assert isinstance(model.integers, IntegerPrior)
    assert hash(model.integers) == hash(model.integers)
