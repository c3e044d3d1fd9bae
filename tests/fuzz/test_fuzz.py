"""Some thousands of mutants in every run of the tests; `fuzz.py` says how to try millions."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # as for the script

import mutate_graph
import targets
from fuzz import fuzz


@pytest.mark.parametrize(
    ("target", "inputs"),
    [("header", 3000), ("file", 1000), ("model", 150), ("tar", 150), ("parquet", 300), ("onnx", 300)],
)
def test_mutants_end_in_what_is_documented(target: str, inputs: int) -> None:
    result = fuzz(target, seed=1, first=0, inputs=inputs)
    assert not result.found, "\n".join(f"input {found.number}: {found.what}" for found in result.found[:3])
    assert result.counts.total() == inputs
    assert len(result.counts) > 5, "the mutants all end alike: nothing behind that is tried"


def test_an_input_is_found_again_by_its_number() -> None:
    a = fuzz("header", seed=2, first=0, inputs=40).counts
    b = fuzz("header", seed=2, first=0, inputs=25).counts + fuzz("header", seed=2, first=25, inputs=15).counts
    assert a == b


def test_a_file_that_a_graph_reads_does_not_go_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check ONNX Runtime reads it: what the fuzzer looks for can be found."""
    tensors, metadata = mutate_graph.tensors_and_metadata(targets.MODEL.read_bytes())
    model = mutate_graph.onnx.load_from_string(tensors["graph.analysis"].tobytes())
    tensor = model.graph.initializer.add(name="s", data_type=2, dims=[16], data_location=1)
    for key, value in (("location", "secret"), ("offset", "0"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    model.graph.node.add(op_type="Identity", input=["s"], output=["leak"])
    model.graph.output.add(name="leak").type.tensor_type.elem_type = 2
    tensors["graph.analysis"] = np.frombuffer(model.SerializeToString(), np.uint8)
    hostile, run = mutate_graph.sealed(tensors, metadata), targets.onnx_target().run
    assert run(hostile).startswith("refused: the tensor 's' lies outside")
    monkeypatch.setattr("gencomp.model.check_graphs", lambda model: None)
    monkeypatch.setattr("gencomp.model.tensors_named", lambda data, given: [n for n in given if n.encode() in data])
    monkeypatch.setattr(mutate_graph, "may_do_more_than_compute", lambda graph: "")
    with pytest.raises(targets.Finding, match="was read"):
        run(hostile)
