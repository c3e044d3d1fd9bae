"""ONNX Runtime against PyTorch: the same files, the same images within two levels, without importing torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gencomp.bitstream import ModelError
from gencomp.codec import Codec
from gencomp.model import Model, load_model
from gencomp.runtime import open_runtime

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(GOLDEN / "tiny.safetensors")


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["dot", "strip", "odd", "wide", "loud"])
def test_golden_files_decode_to_the_same_image_within_two_levels(model: Model, name: str) -> None:
    data = (GOLDEN / f"{name}.gnc").read_bytes()
    shown = [np.asarray(Codec(model, "cpu", runtime=r).decompress(data), np.int16) for r in ("onnx", "torch")]
    assert np.abs(shown[0] - shown[1]).max() <= 2


@pytest.mark.parametrize("size", [(1, 1), (17, 40), (130, 67)])
def test_both_write_files_that_both_read(model: Model, size: tuple[int, int]) -> None:
    codecs = [Codec(model, "cpu", runtime=r) for r in ("onnx", "torch")]
    files = [codec.compress(noise(*size), quality=60) for codec in codecs]
    latents = [codec.latents(file) for codec in codecs for file in files]
    assert np.mean(latents[0] != latents[1]) < 1e-3  # rounding ties alone may differ between the files
    assert np.array_equal(latents[0], latents[2])
    assert np.array_equal(latents[1], latents[3])


def test_tiles_agree_with_the_whole(model: Model) -> None:
    whole, tiled = (open_runtime(model, "cpu", tile, "onnx") for tile in (None, 5))
    pixels = noise(150, 211)
    ours, theirs = whole.analyze(pixels, 700), tiled.analyze(pixels, 700)
    assert np.abs(ours.y - theirs.y).max() < 1e-3
    y_hat = np.rint(ours.y).astype(np.float32)
    shown = [r.synthesize(y_hat, (150, 211), 700, 0.5).astype(np.int16) for r in (whole, tiled)]
    assert np.abs(shown[0] - shown[1]).max() <= 1


def test_coding_and_decoding_import_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys, numpy, gencomp\n"
        f"codec = gencomp.load({str(GOLDEN / 'tiny.safetensors')!r})\n"
        "codec.decompress(codec.compress(numpy.zeros((20, 30, 3), numpy.uint8)))\n"
        "assert codec.runtime.name == 'onnx'\n"
        "assert not {'torch', 'datasets', 'scipy', 'onnx'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, timeout=60)


def test_a_model_without_graphs_takes_torch_and_says_so_when_asked_for_the_other(model: Model) -> None:
    bare = model._replace(graphs={})
    assert open_runtime(bare, "cpu").name == "torch"
    with pytest.raises(ModelError, match="no graphs"):
        open_runtime(bare, "cpu", name="onnx")
    with pytest.raises(ModelError, match="known: auto, onnx, torch"):
        open_runtime(bare, "cpu", name="tensorflow")


def test_a_graph_that_is_none_is_a_model_error(model: Model) -> None:
    broken = model._replace(graphs={**model.graphs, "synthesis": np.frombuffer(b"no graph", np.uint8)})
    with pytest.raises(ModelError, match="graph"):
        open_runtime(broken, "cpu", name="onnx").synthesize(np.zeros((16, 1, 1), np.float32), (16, 16), 0, 0.0)


@pytest.mark.parametrize("graphs", [{"analysis"}, {"synthesis"}, {"analysis", "synthesis"}])
def test_a_model_that_lacks_a_graph_or_has_another_in_its_place_is_refused(model: Model, graphs: set[str]) -> None:
    lacking = model._replace(graphs={name: model.graphs[name] for name in graphs})
    exchanged = model._replace(graphs={**model.graphs, "hyper_analysis": model.graphs["analysis"]})
    for broken in (lacking, exchanged):
        with pytest.raises(ModelError):
            Codec(broken, "cpu", runtime="onnx").compress(noise(20, 36))


def test_a_graph_whose_names_are_no_text_is_a_silent_error(model: Model, capfd: pytest.CaptureFixture[str]) -> None:
    graph = np.frombuffer(model.graphs["synthesis"].tobytes().replace(b"Conv", b"C\xffnv"), np.uint8)
    with pytest.raises(ModelError):
        Codec(model._replace(graphs={**model.graphs, "synthesis": graph}), "cpu", runtime="onnx").decompress(
            (GOLDEN / "dot.gnc").read_bytes()
        )
    assert capfd.readouterr() == ("", "")
