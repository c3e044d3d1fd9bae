"""The command `gencomp weights`: what feature metrics need, where it comes from, and fetching it."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from .metrics.downloads import Weights


@click.command()
@click.option("--download", is_flag=True, help="Fetch what is missing: checked by SHA-256, resumed where it was cut.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Repeatable: only for these metrics (lpips_alex, lpips_vgg, dists, fid, kid).",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the files.  [default: TORCH_HOME/hub/checkpoints, where eval and train look]",
)
@click.option("--mirror", metavar="URL", help="Fetch URL/FILE in place of the published addresses.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def weights(download: bool, metrics: tuple[str, ...], folder: Path | None, mirror: str | None,
            as_json: bool) -> None:  # fmt: skip
    """List the weights that LPIPS, DISTS, FID and KID want, and whether they are here; fetch them on demand.

    \b
    gencomp weights                              # what, from where, which checksum, where it lies
    gencomp weights --download --metric fid      # one of them
    """
    from gencomp.perceptual.weights import folder_of_torch

    from .metrics.downloads import WEIGHTS, DownloadError

    chosen = [w for w in WEIGHTS if not metrics or set(metrics) & set(w.metrics.replace(",", " ").split())]
    if not chosen:
        raise click.UsageError(f"no weights are known for {', '.join(metrics)}")
    failed = []
    if download:
        for one in chosen:
            if not one.sha256 and not metrics:
                continue  # what cannot be checked is fetched by nobody who has not asked for it
            try:
                _fetch(one, folder or folder_of_torch(), mirror, as_json)
            except DownloadError as error:
                failed.append(str(error))
    found = [_described(one, folder) for one in chosen]
    click.echo(json.dumps(found) if as_json else _table(found))
    for line in failed:
        click.echo(f"Error: {line}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _fetch(one: "Weights", folder: Path, mirror: str | None, quiet: bool) -> None:
    from tqdm import tqdm

    from .metrics.downloads import fetch

    source = f"{mirror.rstrip('/')}/{one.file}" if mirror else None
    with tqdm(
        total=one.bytes or None, desc=one.file, unit="B", unit_scale=True, disable=True if quiet else None
    ) as bar:
        fetch(one, folder, source, bar.update)


def _described(one: "Weights", folder: Path | None) -> dict[str, Any]:
    """A file of weights, and where it lies: "" where it does not."""
    from gencomp.perceptual import WeightsError, find_weights

    try:
        place = str(find_weights(one.file, folder=folder))
    except WeightsError:
        place = ""
    return {**one._asdict(), "place": place}


def _table(found: list[dict[str, Any]]) -> str:
    lines = []
    for one in found:
        size = f"{one['bytes'] / 1e6:.0f} MB" if one["bytes"] else "size not published"
        lines += [f"{one['file']}  ({one['metrics']}; {size})", f"    from     {one['url']}"]
        lines += [f"    SHA-256  {one['sha256'] or 'none published: fetch by hand'}"]
        lines += [f"    here     {one['place'] or 'no'}"]
    return "\n".join(lines)
