"""`gencomp info`: what .gnc files hold."""

from __future__ import annotations

from pathlib import Path

import click

from gencomp import bitstream
from gencomp.cli import options
from gencomp.cli.batch import Outcome, attempt, echo, report
from gencomp.cli.inputs import find_inputs
from gencomp.cli.output import describe, info_text
from gencomp.cli.pipes import opened
from gencomp.cli.planning import load_codec
from gencomp.walk import is_coded


@click.command()
@options.paths("FILE...")
@click.option("--verify", is_flag=True, help="Decode the integers, too, and compare them with the file's checksum.")
@options.model
@options.device
@options.max_pixels
@options.as_json
def info(paths: tuple[Path, ...], verify: bool, model: str | None, device: str, max_pixels: int, as_json: bool) -> None:
    """Say what .gnc files hold: size, rate, quality, model, and whether they are damaged.

    Reads header and checksum alone; status 1 if a checksum is wrong. --model, --device and --max-pixels serve
    --verify, which needs the model of the file.
    """
    if not verify and (model is not None or device != "auto"):
        echo("Note: --model and --device have no effect without --verify", err=True)
    codec = load_codec(model, device) if verify else None

    def tell(source: Path) -> Outcome:
        with opened(source) as file:
            inspection = bitstream.inspect_file(file, max_pixels)
            record = describe(source, inspection)
            problem = "" if inspection.checksum_ok else "damaged file: its checksum does not match"
            if codec is None:
                return Outcome(info_text(record), record, problem)
            file.seek(0)
            verified = codec.verify(bitstream.read(file, max_pixels), max_pixels=max_pixels) if not problem else None
        record["latents_ok"] = verified is not None and verified.latents_ok
        record["entropy_bits"] = verified.entropy_bits if verified else None
        record["model_name"] = codec.model_name
        if not record["latents_ok"]:
            problem = problem or "its latents do not decode to what was coded"
        return Outcome(info_text(record), record, problem)

    inputs = find_inputs(paths, is_coded)
    results = (attempt(tell, source.path) for source in inputs.sources)
    report(results, len(inputs.sources), as_json, left_out=inputs.left_out)
