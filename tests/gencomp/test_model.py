"""Model files: exact, reproducible, and refused when anything is wrong with them."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from gencomp.bitstream import ModelError
from gencomp.codec import Codec, load
from gencomp.entropy.hyperprior import Hyperprior
from gencomp.model import Model, integer_digest, load_model, save_model
from gencomp.networks import network_of

TINY = Path(__file__).parent.parent / "golden" / "tiny.safetensors"


def test_saving_and_loading_changes_nothing_and_equal_models_give_equal_bytes(model: Model, tmp_path: Path) -> None:
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_model(model, first)
    save_model(load_model(first), second)
    assert first.read_bytes() == second.read_bytes()
    again = load_model(first)
    assert integer_digest(again.entropy) == integer_digest(model.entropy)
    assert again[:3] + again[5:9] == model[:3] + model[5:9]
    assert {name: g.tobytes() for name, g in again.graphs.items()} == {n: g.tobytes() for n, g in model.graphs.items()}
    assert all(np.array_equal(again.weights[name], weight) for name, weight in model.weights.items())


def test_files_of_the_first_form_are_the_same_models(model: Model) -> None:
    first = load_model(TINY.with_name("tiny-first-form.safetensors"))
    assert (first.family, first.entropy.kind) == ("hyperprior", "context")
    assert (first.id, first.config, first.answer, first.facts) == (model.id, model.config, model.answer, model.facts)
    assert not first.graphs


def test_the_model_id_follows_the_integers_and_not_the_generator(model: Model) -> None:
    assert with_stem(model, 2).id == model.id
    assert isinstance(model.entropy, Hyperprior)
    weights = model.entropy.tables.y[0].copy()
    weights[0] += 1
    weights[1] -= 1
    tables = model.entropy.tables
    changed = type(tables)((weights, *tables.y[1:]), tables.z, tables.escape)
    assert integer_digest(dataclasses.replace(model.entropy, tables=changed))[:4] != model.id


def with_stem(model: Model, factor: float) -> Model:
    stem = "synthesis.stem.weight"
    return model._replace(weights={**model.weights, stem: np.float16(factor) * model.weights[stem]})


def test_the_known_answer_is_the_same_by_both_arithmetics_and_notices_a_changed_weight(model: Model) -> None:
    assert model.entropy.known_answer("float64") == model.entropy.known_answer("int64") == model.answer
    integers = model.entropy
    assert isinstance(integers, Hyperprior)
    first, *layers = integers.contexts[1].layers
    first = dataclasses.replace(first, bias=first.bias + 40)
    context = dataclasses.replace(integers.contexts[1], layers=(first, *layers))
    contexts = (integers.contexts[0], context, *integers.contexts[2:])
    damaged = model._replace(entropy=dataclasses.replace(integers, contexts=contexts))
    assert damaged.entropy.known_answer() != model.answer
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


def test_every_flipped_bit_is_refused(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_model(model, path)
    good, draw = path.read_bytes(), np.random.default_rng(4)
    for at, bit in zip(draw.integers(len(good), size=300), draw.integers(8, size=300)):
        damaged = bytearray(good)
        damaged[at] ^= 1 << int(bit)
        path.write_bytes(damaged)
        with pytest.raises(ModelError):
            load_model(path)


def test_weights_that_are_no_numbers_are_refused_whatever_the_digest_says(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="float16"):
        save_model(with_stem(model, np.inf), tmp_path / "model.safetensors")


@pytest.mark.parametrize("depths", [[10**9, 1, 1], [1, 1, -1], ["a"], 5, [1], [1, 1, 4096]])
def test_a_configuration_out_of_bounds_is_refused_at_once(model: Model, depths: Any) -> None:
    transform = {**model.config["transform"], "decoder_depths": depths}
    began = time.process_time()
    with pytest.raises(ModelError):
        network_of(model._replace(config={**model.config, "transform": transform}))
    assert time.process_time() - began < 1


@pytest.mark.parametrize("name", ["encoder_widths", "encoder_depths", "decoder_widths", "decoder_depths"])
def test_a_number_too_many_or_too_few_for_the_resolutions_is_refused(model: Model, name: str) -> None:
    """A superfluous one would change no weight, and fail only when an image is coded."""
    numbers = model.config["transform"][name]
    for values in ([*numbers, 1], numbers[:-1]):
        transform = {**model.config["transform"], name: values}
        with pytest.raises(ModelError):
            network_of(model._replace(config={**model.config, "transform": transform}))


def test_weights_of_another_shape_than_the_configuration_are_refused(model: Model) -> None:
    stem = model.weights["synthesis.stem.weight"]
    with pytest.raises(ModelError, match=r"synthesis\.stem\.weight"):
        network_of(model._replace(weights={**model.weights, "synthesis.stem.weight": stem[:-1]}))


def test_a_stride_is_one_of_three_and_that_of_the_network(model: Model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="stride"):
        network_of(model._replace(stride=32))
    for stride in (0, 8, 48, 128, 2**40):
        save_model(model._replace(stride=stride), tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match="stride"):
            load_model(tmp_path / "model.safetensors")


def _rewrite(path: Path, damage: str) -> None:
    with safe_open(TINY, "np") as file:
        metadata = file.metadata()
    tensors = load_file(TINY)
    if damage == "float integers":
        tensors["integer.tables.y_weights"] = tensors["integer.tables.y_weights"].astype(np.float32)
    else:
        tensors["integer.context0.0.bias"] = tensors["integer.context0.0.bias"] + (1 << 45)
    save_file(tensors, path, metadata)


def test_a_model_that_is_nowhere_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        load(tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match="no model file"):
        load("nonesuch")
