"""`gencomp info`: what .gnc files hold."""

from pathlib import Path
from typing import Any

import click

from gencomp import bitstream
from gencomp.cli import options
from gencomp.cli.batch import FileOutcome, attempt, describe, echo, report, size_text
from gencomp.cli.planning import find_inputs, opened
from gencomp.files import shown
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
    codec = None
    if verify:
        from gencomp import codec as codecs

        codec = codecs.load(model, device=device)

    def tell(source: Path) -> FileOutcome:
        with opened(source) as file:
            inspection = bitstream.inspect_file(file, max_pixels, keep=verify)
        record = describe(source, inspection)
        problem = "" if inspection.checksum_ok else "damaged file: its checksum does not match"
        if codec is not None:
            verified = codec.verify(inspection, max_pixels=max_pixels) if not problem else None
            record["latents_ok"] = verified is not None and verified.latents_ok
            record["entropy_bits"] = verified.entropy_bits if verified else None
            record["model_name"] = codec.model_name
            if not record["latents_ok"]:
                problem = problem or "its latents do not decode to what was coded"
        return FileOutcome(_text(record), record, problem)

    places, left_out = find_inputs(paths, is_coded)
    report((attempt(tell, source) for source in places), len(places), as_json, left_out=left_out)


def _text(record: dict[str, Any]) -> str:
    sections = ", ".join(f"{name} {size:,}" for name, size in record["sections"].items())
    lines = [
        shown(record["path"]),
        f"  image     {record['width']}x{record['height']}",
        f"  size      {size_text(record)} ({sections})",
        f"  quality   {record['quality']:.1f}",
        f"  model     {record['model']}" + (f" ({record['model_name']})" if "model_name" in record else ""),
        f"  format    {record['format_version']}",
        f"  checksum  {'ok' if record['checksum_ok'] else 'WRONG'}",
    ]
    if record.get("entropy_bits") is not None:
        lines.append(f"  latents   {'ok' if record['latents_ok'] else 'WRONG'}, {record['entropy_bits']:,.1f} bits")
    return "\n".join(lines)
