"""The verb `int8`: a model to its form in eight bits."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from gencomp.bitstream import ModelError
from gencomp.codec import Codec
from gencomp.model import load_model
from gencomp.train.cli_int8 import int8
from gencomp.train.int8 import quantise

GOLDEN = Path(__file__).parents[1] / "golden"


def test_a_model_becomes_one_in_eight_bits_that_reads_the_same_files(photographs: Path, tmp_path: Path) -> None:
    source, out = GOLDEN / "tiny.safetensors", tmp_path / "int8.safetensors"
    said = CliRunner().invoke(int8, [str(source), "--data", str(photographs), "-o", str(out), "--json"])
    assert said.exit_code == 0, said.output
    record = json.loads(said.stdout)
    model, before = load_model(out), load_model(source)
    assert (model.id, record["model"], record["layers"]) == (before.id, before.id.hex(), 18)
    assert model.facts["int8"]
    data = (GOLDEN / "odd.gnc").read_bytes()
    shown = [np.asarray(Codec(m, "cpu", runtime="onnx").decompress(data), np.int16) for m in (before, model)]
    assert np.abs(shown[0] - shown[1]).mean() < 2
    again = tmp_path / "again.safetensors"
    quantise(source, again, [str(photographs)])
    assert again.read_bytes() == out.read_bytes()
    with pytest.raises(ModelError, match="already"):
        quantise(out, again, [str(photographs)])
