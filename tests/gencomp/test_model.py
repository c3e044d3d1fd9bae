"""Model files: exact, reproducible, and refused when anything is wrong with them."""

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from gencomp.bitstream import ModelError
from gencomp.codec import Codec, load
from gencomp.entropy.hyperprior import Hyperprior
from gencomp.model import Model, check_known_answer, integer_digest, load_model, save_model

TINY = Path(__file__).parent.parent / "golden" / "tiny.safetensors"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(TINY)


def test_saving_and_loading_changes_nothing_and_equal_models_give_equal_bytes(model: Model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "copy.safetensors")
    assert (tmp_path / "copy.safetensors").read_bytes() == TINY.read_bytes()
    assert integer_digest(load_model(tmp_path / "copy.safetensors").integers) == integer_digest(model.integers)


def test_the_model_id_follows_the_integers_and_not_the_generator(model: Model) -> None:
    with torch.no_grad():
        other = load_model(TINY)
        other.network.synthesis.stem.weight.mul_(2)
    assert other.id == model.id
    assert isinstance(model.integers, Hyperprior)
    weights = model.integers.tables.y[0].copy()
    weights[0] += 1
    weights[1] -= 1
    tables = model.integers.tables
    changed = type(tables)((weights, *tables.y[1:]), tables.z, tables.escape)
    assert integer_digest(dataclasses.replace(model.integers, tables=changed))[:4] != model.id


def test_another_generator_decodes_the_same_file(model: Model) -> None:
    data = Codec(model, "cpu").compress(Image.new("RGB", (40, 30), (200, 30, 60)))
    other = load_model(TINY)
    with torch.no_grad():
        other.network.synthesis.stem.weight.mul_(-1)
    assert Codec(other, "cpu").decompress(data).size == (40, 30)


def test_the_known_answer_is_the_same_by_both_arithmetics_and_notices_a_changed_weight(model: Model) -> None:
    assert check_known_answer(model, "float64")
    assert check_known_answer(model, "int64")
    integers = model.integers
    assert isinstance(integers, Hyperprior)
    first, *layers = integers.contexts[1].layers
    context = dataclasses.replace(
        integers.contexts[1], layers=(dataclasses.replace(first, bias=first.bias + 40), *layers)
    )
    contexts = (integers.contexts[0], context, *integers.contexts[2:])
    damaged = model._replace(integers=dataclasses.replace(integers, contexts=contexts))
    assert not check_known_answer(damaged, "float64")
    with pytest.raises(ModelError, match="known-answer"):
        Codec(damaged, "cpu")


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
