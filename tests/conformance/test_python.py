"""The Python implementation passes the conformance set."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from gencomp import BitstreamError
from gencomp.codec import Codec, load
from gencomp.entropy import KINDS

HERE = Path(__file__).parent
CASES: dict[str, list[dict[str, Any]]] = json.loads((HERE / "cases.json").read_text())
SAYS = {  # what this implementation says of each error
    "foreign": "not a gencomp file|empty file",
    "newer": "newer version of gencomp",
    "damaged": "^damaged file",
    "other-model": "another model",
    "too-large": "limit",
    "undecodable": "damaged|zero byte|left over|not those that were encoded|beyond|ends",
}


def named(kind: str) -> Any:
    return pytest.mark.parametrize("case", CASES[kind], ids=lambda c: c.get("file", c["model"]))


def digest(latents: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(latents, "<i4").tobytes()).hexdigest()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return load(HERE / "../golden/tiny.safetensors", device="cpu")


@named("decode")
def test_files_decode_to_their_latents(codec: Codec, case: dict[str, Any]) -> None:
    data = (HERE / case["file"]).read_bytes()
    assert digest(codec.latents(data)) == case["latents"]
    assert codec.decompress(data).size == (case["width"], case["height"])


@named("refuse")
def test_invalid_files_are_refused_for_their_reason(codec: Codec, case: dict[str, Any]) -> None:
    with pytest.raises(BitstreamError) as refused:
        codec.decompress((HERE / case["file"]).read_bytes())
    assert re.search(SAYS[case["error"]], str(refused.value)), refused.value


@named("entropy")
def test_payloads_of_every_kind_decode_to_their_latents(case: dict[str, Any]) -> None:
    with safe_open(HERE / case["model"], "np") as file:
        arrays = {name.removeprefix("integer."): file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        stated = json.loads(file.metadata()["gencomp"])
    model = KINDS[stated["kind"]](arrays)
    assert model.known_answer() == stated["known_answer"]
    coded = model.decode(bytes.fromhex(case["payload"]), case["height"], case["width"], case["quality_step"])
    assert digest(coded.y_int) == case["latents"]


def test_the_set_covers_what_it_promises() -> None:
    assert (1, 1) in {(case["width"], case["height"]) for case in CASES["decode"]}
    assert {0, 1024} <= {case["quality_step"] for case in CASES["decode"]}
    assert {case["error"] for case in CASES["refuse"]} == set(SAYS)
    kinds = {case["model"].split("/")[1].removesuffix(".safetensors") for case in CASES["entropy"]}
    assert kinds >= set(KINDS) - {
        "hybrid"
    }  # its files hold JPEG scans, for which JPEG has conformance tests of its own
