"""`gencomp bulk`: names a source, a destination and what is to be done; says what was done.

Exit status: 0 all is done; 1 an image, a shard or the whole run is not (`outcome` of --json says which); 2 wrong usage;
130 interrupted. The same command goes on wherever it was.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from gencomp.bitstream import DEFAULT_QUALITY
from gencomp.bulk.settings import DIRECTIONS, FORMATS, Settings
from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.cli.group import WrongUsage
from gencomp.files import shown

if TYPE_CHECKING:
    from gencomp.bulk.plan import ShardedSource
    from gencomp.bulk.run import Result


class _Part(click.ParamType):
    """`i/n`, counted from 0, as Slurm's array index."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        found = re.fullmatch(r"(\d+)/(\d+)", str(value))
        if not found or int(found[1]) >= int(found[2]):
            self.fail(f"{value} is no part i/n with i from 0 to n - 1", param, ctx)
        return int(found[1]), int(found[2])


@click.command()
@click.argument("source")
@click.argument("dest")
@click.option("--direction", type=click.Choice(DIRECTIONS), default="code")
@options.quality(f"1 (smallest) to 100 (best).  [default: {DEFAULT_QUALITY:g}]", default=None)
@click.option("--bpp", type=options.POSITIVE, help="Instead: at most so many bits per pixel.")
@click.option("--bytes", type=click.IntRange(min=1), metavar="N", help="Instead: at most N bytes per image.")
@options.effort
@options.aim
@options.keep
@options.background
@options.realism("For decode; 0: least distortion, 1: most realistic.", default=None)
@click.option("--format", type=click.Choice(FORMATS), default="png", help="For decode.")
@click.option("--column", metavar="NAME", help="The images, where they are ambiguous: of parquet; jpg,left.png of tar.")
@click.option("--pack", is_flag=True, help="Write the images of folders into tar files, one a shard.")
@click.option("--per-shard", type=click.IntRange(min=1), default=1000, help="Images of a folder.")
@click.option("--jobs", type=click.IntRange(min=1), help="Processes.  [default: one a core, as memory allows]")
@click.option("--shard", "part", type=_Part(), default="0/1", help="This machine's part: 0/16 to 15/16 of 16.")
@click.option("--retry-failed", is_flag=True, help="Also repeat the failed images of finished shards.")
@options.overwrite
@click.option("--timeout", type=float, default=1800, help="Seconds an image may take.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local")
@click.option("--ray-address", metavar="ADDRESS", help="Cluster to join, or auto.  [default: this machine]")
@click.option("--gpus-per-worker", type=click.FloatRange(min=0), default=0.0, help="For Ray: 0.25 puts four on a GPU.")
@click.option("--dry-run", is_flag=True, help="Code a hundred images, write nothing, predict the whole.")
@click.option("--report", "report_only", is_flag=True, help="Code nothing; sum up all parts and write the report.")
@options.model
@click.option("--device", default="auto", help="auto, cpu or cuda; workers share out several GPUs.")
@options.max_pixels
@options.quiet
@click.option("--json", "as_json", is_flag=True, help="The outcome as one JSON object on standard output.")
def bulk(source: str, dest: str, **given: Any) -> None:
    """Code, decode or verify a data set, shard by shard.

    SOURCE is a folder of images, of WebDataset tar files or of parquet files, one such file or a pattern, on this disk
    or wherever fsspec reaches (s3://…); DEST gets the same, and belongs to this source and these settings. Other
    columns and tar members pass through; so do, by default, tar members that hold labels or depth (palettes, 16 bits,
    names such as x.seg.png). Finished shards stay: after a crash the same command continues. Status tables, settings
    and report.html are in DEST/.bulk.

    \b
    gencomp bulk photos/ coded/ --dry-run
    gencomp bulk photos/ coded/ --quality 30 --jobs 8
    gencomp bulk 's3://set/{00000..00999}.tar' s3://coded --shard $SLURM_ARRAY_TASK_ID/64
    gencomp bulk coded/ seen/ --direction decode --format webp
    gencomp bulk coded/ checked/ --direction verify
    """
    notes = options.aim_notes(given["effort"], given["aim"])
    for note in [] if given["quiet"] else notes:
        echo(f"Note: {note}", err=True)
    try:
        settings = Settings(**{field.name: given[field.name] for field in fields(Settings)})
    except ValueError as error:
        raise WrongUsage(str(error)) from None
    if given["dry_run"]:
        _dry_run(source, settings, given)
    elif given["report_only"]:
        from gencomp.bulk.plan import find_shards

        _report(dest, find_shards(source, settings), {}, given["quiet"])
    else:
        _run(source, dest, settings, given)


def _run(source: str, dest: str, settings: Settings, given: dict[str, Any]) -> None:
    from gencomp.bulk.run import default_jobs, local_engine, run_bulk

    jobs, quiet = given["jobs"] or default_jobs(), given["quiet"]
    if given["engine"] == "ray":
        from gencomp.bulk.ray_engine import ray_engine

        engine = ray_engine(jobs, given["ray_address"], given["gpus_per_worker"])
    else:
        engine = local_engine(jobs, given["timeout"])
    how = {name: given[name] for name in ("part", "retry_failed", "overwrite", "quiet")}
    result = run_bulk(source, dest, settings, engine=engine, **how)
    report = _report(dest, result.source, result.broken, quiet) if given["part"][1] == 1 else None
    outcome = "shards broken" if result.broken else "images failed" if result.tally.failed else "done"
    if given["as_json"]:
        record = {**result.tally.to_json(), "shards": result.shards, "broken": result.broken, "report": report}
        record |= {"left_out": dict(result.source.left.counts), "outcome": outcome}
        click.echo(json.dumps({**record, "seconds_of_run": round(result.seconds, 2)}))
    elif not quiet:
        echo(_summary(settings.direction, result))
    for shard, error in result.broken.items():
        echo(f"Error: shard {shown(shard)}: {error}", err=True)
    if outcome != "done":
        click.get_current_context().exit(1)


def _summary(direction: str, result: Result) -> str:
    from gencomp.bulk.monitor import size_text, time_text

    total, run = result.tally, result.run
    verb = {"code": "coded", "decode": "decoded", "verify": "verified"}[direction]
    parts = [f"{total.done:,} images {verb}"]
    notes = ", ".join(f"{note}: {count:,}" for note, count in total.notes.most_common())
    parts += [f"{total.skipped:,} skipped ({notes})"] if total.skipped else []
    parts += [f"{total.failed:,} failed (--retry-failed repeats them)"] if total.failed else []
    parts += [f"{size_text(total.bytes_in)} -> {size_text(total.bytes_out)}"] if total.bytes_out else []
    if run.samples:
        parts.append(f"this run {time_text(result.seconds)}, {run.pixels / 1e6 / result.seconds:.2f} megapixels/s")
    left = result.source.left.lines()
    return ", ".join(parts) + (f"; left out: {'; '.join(left)}" if left else "")


def _report(dest: str, source: ShardedSource, broken: dict[str, str], quiet: bool) -> str:
    from gencomp.bulk.report import merge, write_report
    from gencomp.bulk.storage import Storage

    destination = Storage.of(dest)
    merged = merge(destination, source.shards)
    path = write_report(destination, merged, broken, source.left.lines())
    for error, count in merged.errors.most_common(3):
        echo(f"Failed: {error} ({count:,})", err=True)
    if not quiet:
        echo(f"{merged.finished:,} shards finished, {merged.unfinished:,} not; report: {path}", err=True)
    return path


def _dry_run(source: str, settings: Settings, given: dict[str, Any]) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"  # as the workers; before torch is imported
    from tqdm import tqdm

    from gencomp.bulk.monitor import size_text
    from gencomp.bulk.plan import find_shards
    from gencomp.bulk.run import SAMPLES, default_jobs, forecast
    from gencomp.bulk.transform import Transform

    found = find_shards(source, settings)
    with tqdm(total=SAMPLES, unit="image", disable=given["quiet"] or None) as bar:
        seen = forecast(found, Transform(settings), lambda: bar.update() and None)
    jobs, parts = given["jobs"] or default_jobs(), given["part"][1]
    hours, machines = seen.core_hours / jobs / parts, f" on each of {parts} machines" if parts > 1 else ""
    if given["as_json"]:
        click.echo(json.dumps({**seen._asdict(), "shards": len(found.shards), "jobs": jobs, "hours": hours}))
        return
    click.echo(
        f"{seen.images:,.0f} images in {len(found.shards):,} shards; {seen.sampled} were tried, {seen.failed} failed\n"
        f"bytes        {size_text(seen.bytes_in)} -> {size_text(seen.bytes_out)} (within {seen.margin:.0%})\n"
        f"one core     {seen.seconds:.3f} s per image, {seen.megapixels_per_second:.2f} megapixels/s\n"
        f"core-hours   {seen.core_hours:,.2f}\n"
        f"hours        {hours:,.2f} with {jobs} processes{machines}"
    )
    for line in found.left.lines():
        echo(f"left out     {line}")
