"""The aim of the encoder: one model, two kinds of latents, files that any decoder reads."""

import numpy as np
import pytest
import skimage.data

from gencomp.codec import Codec
from gencomp.image import ImageWarning
from gencomp.model import Model, load_model, save_model
from gencomp.networks import network_of
from gencomp.networks.graphs import graphs_of

PIXELS = skimage.data.astronaut()[100:212, 150:290]


@pytest.fixture(scope="module")
def told(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The small golden model with an encoder that is told an aim, through a file and back."""
    drawn = np.random.default_rng(1)
    weights = {
        name: np.concatenate([value, drawn.normal(0, 1, value[:1].shape).astype(value.dtype)])
        if name.startswith("analysis.") and name.endswith(".gains")
        else value
        for name, value in model.weights.items()
    }
    config = {**model.config, "transform": {**model.config["transform"], "encoder_aim": True}}
    made = model._replace(config=config, weights=weights, facts={**model.facts, "aim": True}, graphs={})
    graphs = {name: np.frombuffer(graph, np.uint8) for name, graph in graphs_of(network_of(made)).items()}
    path = tmp_path_factory.mktemp("aim") / "told.safetensors"
    save_model(made._replace(graphs=graphs), path)
    return load_model(path)


def test_an_encoder_that_is_told_the_aim_codes_two_ways_and_every_decoder_reads_both(told: Model, model: Model) -> None:
    ours = [Codec(told, "cpu", runtime=runtime) for runtime in ("onnx", "torch")]
    for codec in ours:
        files = {aim: codec.compress(PIXELS, quality=40, aim=aim) for aim in ("realism", "pixels")}
        assert codec.compress(PIXELS, quality=40) == files["realism"] != files["pixels"]
        for aim, data in files.items():
            assert codec.size(PIXELS, 40, aim=aim) == len(data)
            latents = [reader.latents(data) for reader in (*ours, Codec(model, "cpu"))]
            assert all(np.array_equal(latents[0], other) for other in latents[1:])
            small = codec.encode(PIXELS, bytes=len(data) - 20, aim=aim)
            assert len(small.data) <= len(data) - 20
    both = [codec.runtime.analyze(PIXELS, 400, 0.0).y for codec in ours]
    assert np.abs(both[0] - both[1]).max() < 1e-3


def test_tiles_of_either_aim_agree_with_the_whole(told: Model) -> None:
    whole, tiled = (Codec(told, "cpu", tile=side, runtime="torch").runtime for side in (None, 64))
    for aim in (0.0, 1.0):
        assert np.abs(whole.analyze(PIXELS, 300, aim).y - tiled.analyze(PIXELS, 300, aim).y).max() < 1e-3


def test_an_aim_that_changes_nothing_is_said(model: Model) -> None:
    codec = Codec(model, "cpu")
    with pytest.warns(ImageWarning, match="knows no aim"):
        data = codec.compress(PIXELS, quality=40, aim="pixels")
    assert data == codec.compress(PIXELS, quality=40)
    with pytest.raises(ValueError, match="the aim is"):
        codec.compress(PIXELS, aim="beauty")
