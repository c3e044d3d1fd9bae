"""The verb `gencomp int8`. torch is imported inside it, so that --help answers at once."""

import json
from pathlib import Path

import click

from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.files import shown
from gencomp.outputs import protecting

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("model", metavar="MODEL")
@click.option(
    "--data",
    multiple=True,
    required=True,
    metavar="FOLDER|NAME",
    help="Photographs to calibrate on: a few dozen that look like yours. Repeatable.",
)
@click.option("-o", "--output", required=True, type=_FILE, metavar="FILE", help="The model file.")
@options.overwrite
@click.option("--name", default="", help="The model's name; MODEL's and -int8 by default.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def int8(model: str, data: tuple[str, ...], output: Path, overwrite: bool, name: str, as_json: bool) -> None:
    """Let the decoder of MODEL compute in eight bits, on ONNX Runtime.

    MODEL is a file or gencomp-base. The bottlenecks of the synthesis get weights of eight bits, and ranges of
    activations that are measured on photographs; nothing is trained. The encoder and the integers stay, and so do all
    files: the model id is MODEL's. PyTorch decodes with the same weights in float32, about a grey level apart.

    \b
    gencomp int8 gencomp-base --data photos/ -o int8.safetensors
    gencomp decompress photo.gnc --model int8.safetensors

    A decoder that was trained for eight bits loses less: see "Eight bits" in train/README.md.
    """
    from .int8 import quantise
    from .resume import model_file

    source = model_file(model)
    protecting([source, *data], overwrite).check(output)
    done = quantise(source, output, list(data), name, replace=output.exists())
    if as_json:
        record = {"path": str(output), "name": done.name, "model": done.id.hex(), "layers": len(done.int8)}
        echo(json.dumps(record | {"bytes": output.stat().st_size, "bytes_before": source.stat().st_size}))
    else:
        echo(f"{shown(output)}: model {done.id.hex()}, {len(done.int8)} layers in eight bits")
