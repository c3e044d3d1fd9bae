"""A model as a folder of ONNX files with their weights in them, for programs that know no gencomp.

The graphs are those of the model file (gencomp/networks/graphs.py), made anew where it holds none. Beside them lie the
integers that decide bits, and a README with shapes, ranges and an example, which a test runs.
"""

import secrets
import shutil
from pathlib import Path
from string import Template

import onnx

from gencomp.files import shown
from gencomp.model import Model, save_model
from gencomp.networks import network_of
from gencomp.networks.graphs import graphs_of, with_weights
from gencomp.outputs import Refused

ENTROPY, README = "entropy.safetensors", "README.md"
OUTPUTS = {"analysis": "y", "hyper_analysis": "z", "synthesis": "image"}
VALUES = {  # type and shape, and what the values are
    "x": ("float32 [1, 3, {stride} h, {stride} w]", "sRGB in 0 .. 1"),
    "y": ("float32 [1, {channels}, h, w]", "latents of the whole image, not rounded"),
    "z": ("float32 [1, {hyper_channels}, ..]", "hyper-latents, not rounded"),
    "y_hat": ("float32 [1, {channels}, h, w]", "decoded latents"),
    "quality_step": ("int64 [1]", "0 .. 1024: the qualities 1 .. 100 of gencomp"),
    "realism": ("float32 [1]", "0 (least distortion) .. 1 (most realistic)"),
    "origin": ("int64 [1, 2]", "row and column of the first latent: 0, 0 for a whole image"),
    "image": ("uint8 [1, {stride} h, {stride} w, 3]", "sRGB in 0 .. 255"),
}


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refused where `folder` holds anything, or, with `overwrite`, anything else than such an export."""
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{shown(folder)} is a file: name a folder")
    found = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if found - {ENTROPY, README, *(f"{name}.onnx" for name in OUTPUTS)}:
        raise Refused(f"{shown(folder)} holds other files: name a new folder")
    if found and not overwrite:
        raise Refused(f"{shown(folder)} exists and is kept: name a new folder, or give --overwrite")


def export_onnx(model: Model, folder: Path, overwrite: bool = False) -> None:
    """Write graphs, entropy model and README into `folder`, whole or not at all, as `check_folder` allows."""
    check_folder(folder, overwrite)
    graphs = {name: graph.tobytes() for name, graph in model.graphs.items()} or graphs_of(network_of(model))
    whole = {name: with_weights(graph, model.tensors_of(graph), OUTPUTS[name]) for name, graph in graphs.items()}
    real = folder.resolve()
    real.parent.mkdir(parents=True, exist_ok=True)
    new, old = (real.with_name(f".gencomp-{secrets.token_hex(6)}.tmp") for _ in range(2))
    try:
        new.mkdir()
        for name, graph in whole.items():
            (new / f"{name}.onnx").write_bytes(graph)
        save_model(model._replace(weights={}, int8={}, graphs={}), new / ENTROPY)
        (new / README).write_text(_readme(model, whole), "utf-8")
        check_folder(folder, overwrite)
        if real.exists():
            real.rename(old)
        new.rename(real)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if old.exists():
            shutil.rmtree(old) if real.exists() else old.rename(real)


def _readme(model: Model, graphs: dict[str, bytes]) -> str:
    inputs = {name: [value.name for value in onnx.load_from_string(g).graph.input] for name, g in graphs.items()}
    sizes = {"channels": model.entropy.latent_channels, "hyper_channels": model.entropy.hyper_channels}
    rows = []
    for name, taken in inputs.items():
        for value in (*taken, OUTPUTS[name]):
            form, what = VALUES[value]
            way = "in" if value in taken else "out"
            rows.append(f"| `{name}.onnx` | {way} | {value} | {form.format(stride=model.stride, **sizes)} | {what} |")
    given = {name: "{" + ", ".join(f'"{value}": {value}' for value in taken) + "}" for name, taken in inputs.items()}
    hyper = f'run("hyper_analysis", {given["hyper_analysis"]})[0]' if "hyper_analysis" in given else "None"
    return Template(Path(__file__).with_name("onnx.md").read_text("utf-8")).substitute(
        name=model.name,
        id=model.id.hex(),
        stride=model.stride,
        rows="\n".join(rows),
        halo_analysis=model.halo[0],
        halo_synthesis=model.halo[1],
        analysis=given["analysis"],
        hyper=hyper,
        synthesis=given["synthesis"],
        realism=float(bool(model.facts.get("realism", False))),
    )
