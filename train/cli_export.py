"""The verb `gencomp export`. torch is imported inside it, so that --help answers at once."""

import json
from pathlib import Path

import click

from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.cli.group import WrongUsage
from gencomp.files import shown
from gencomp.outputs import protecting

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=_FOLDER, required=False)
@click.option("-o", "--output", type=_FOLDER, metavar="MODEL", help="The model file that RUN becomes.")
@click.option("--onnx", type=_FOLDER, metavar="DIR", help="Write the model as ONNX files with a README for others.")
@click.option("--model", metavar="NAME|FILE", help="Without RUN: the model for --onnx.  [default: the embedded one]")
@options.overwrite
@click.option(
    "--data", multiple=True, metavar="FOLDER|NAME", help="To calibrate on; the run's own photographs by default."
)
@click.option("--name", default="", help="The model's name; the recipe's by default.")
@click.option("--integers", type=_FOLDER, metavar="MODEL", help="Keep the integers, and so the files, of this model.")
@click.option("--strict", is_flag=True, help="Fail where the integers change the rate by over 0.2 %.")
@click.option(
    "--realism-scale",
    type=click.FloatRange(0, 2, min_open=True),
    default=1.0,
    show_default=True,
    metavar="R",
    help="The realism of training that becomes realism 1; a lower one costs less distortion.",
)
@click.option(
    "--graphs/--no-graphs",
    default=True,
    show_default=True,
    help="Write the transforms as ONNX graphs, too, for decoding without PyTorch.",
)
@click.option("--push-to-hub", metavar="USER/NAME", help="Upload the model, too.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def export(
    run: Path | None,
    output: Path | None,
    onnx: Path | None,
    model: str | None,
    overwrite: bool,
    data: tuple[str, ...],
    name: str,
    integers: Path | None,
    strict: bool,
    realism_scale: float,
    graphs: bool,
    push_to_hub: str | None,
    as_json: bool,
) -> None:
    """Convert a training RUN to a model file that codes exactly everywhere, or a model to ONNX files.

    RUN is the folder of a run, whose newest checkpoint counts, or one checkpoint. The averaged weights are taken, the
    prior is converted to integers with tables fitted to what is coded, their bounds are proved, the self-test is run,
    and the change of the rate is reported. A run that began with a model and left what decides bits alone keeps that
    model's integers: old files stay readable. Equal runs give equal files.

    \b
    gencomp export runs/base -o base.safetensors
    gencomp export --onnx base-onnx/ --model base.safetensors
    """
    if (run is None) != (output is None) or (run is None and onnx is None):
        raise WrongUsage("give RUN and -o MODEL, or --onnx DIR, or all three")
    if run is not None and model is not None:
        raise WrongUsage("--model goes with --onnx alone: with RUN, its own model is written")
    if onnx is not None:
        from .onnx_folder import check_folder, export_onnx

        check_folder(onnx, overwrite)
    if run is None or output is None:
        assert onnx is not None
        from gencomp.codec import model_path
        from gencomp.model import load_model

        source = load_model(model_path(model))
        export_onnx(source, onnx, overwrite)
        record = {"path": str(onnx), "name": source.name, "model": source.id.hex()}
        echo(json.dumps(record) if as_json else f"{shown(onnx)}: {source.name}, model {source.id.hex()}, as ONNX")
        return
    from .export import RATE_WARNING, inputs_of
    from .export import export as convert

    protecting([*inputs_of(run), integers, *data], overwrite).check(output)
    done = convert(
        run,
        output,
        name=name,
        data=list(data) or None,
        integers_of=integers,
        strict=strict,
        realism_scale=realism_scale,
        graphs=graphs,
        replace=output.exists(),
    )
    facts = done.model.facts
    if as_json:
        record = {"path": str(output), "name": done.model.name, "model": done.model.id.hex(), **facts}
        echo(json.dumps(record | {"bytes": output.stat().st_size, "rate_change": done.rate_change}))
    else:
        echo(
            f"{shown(output)}: model {done.model.id.hex()}, {facts['parameters']:,} parameters, "
            f"rate {100 * done.rate_change:+.3f} % against the float networks"
        )
    if done.rate_change > RATE_WARNING:
        echo("Warning: the integers raise the rate by over 0.2 %", err=True)
    if onnx is not None:
        export_onnx(done.model, onnx, overwrite)
    if push_to_hub:
        from .hub import push_to_hub as push

        echo(push(done.model, output, push_to_hub))
