"""One shard in, one shard out: the core that every engine runs.

The output is written aside and renamed, then the status table is: a shard is finished when its table stands. A process
that is killed anywhere leaves either a finished shard or one that is done again, with the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from gencomp.bulk import status
from gencomp.bulk.naming import output_names
from gencomp.bulk.parquet import rewrite_parquet
from gencomp.bulk.plan import Shard, SourceError, fingerprint_of, join, samples
from gencomp.bulk.recorder import Recorder, UnreadableError, Watch
from gencomp.bulk.status import Footer, Row, Tally
from gencomp.bulk.storage import Place
from gencomp.bulk.tar import members_of_files, members_of_tar, rewrite_tar
from gencomp.bulk.transform import Transform


def transform_shard(
    source: Place,
    shard: Shard,
    destination: Place,
    transform: Transform,
    *,
    retry_failed: bool = False,
    poison: Mapping[str, str] | None = None,
    watch: Watch | None = None,
) -> Tally:
    """Bring one shard of `source` to `destination`, unless it is finished, and say what became of its samples.

    retry_failed: repeat the failed samples of a finished shard, and them alone. poison: samples that are not to be
    tried, with the error that is reported of each (they have killed their process). Raises DestinationError where
    outputs cannot be written, SourceError or OSError where the shard cannot be read; its status table is then not
    written, and of the shard's outputs none but whole files of a folder.
    """
    before = finished(destination, shard)
    if before is not None and not (retry_failed and before.tally.failed):
        return before.tally
    destination.clear_parts((shard.name,))
    rows: list[Row] = []
    if before is not None:
        with destination.open(shard.table) as file:
            rows = status.read_rows(file)
    recorder = Recorder(transform, rows, poison or {}, watch or Watch())
    try:
        _rewrite(source, shard, destination, recorder, before is not None)
    except (ValueError, EOFError) as error:
        raise SourceError(f"{source.path(shard.path)}: {error}") from error
    with destination.part(shard.table, shard.name) as file:
        return status.write_table(file, recorder.rows, shard.name, shard.fingerprint)


def finished(destination: Place, shard: Shard) -> Footer | None:
    """The footer of the shard's status table, if it stands and the source is still the same."""
    try:
        with destination.open(shard.table) as file:
            footer = status.read_footer(file)
    except (FileNotFoundError, ValueError):
        return None
    return footer if footer.fingerprint == shard.fingerprint else None


def _rewrite(source: Place, shard: Shard, destination: Place, recorder: Recorder, again: bool) -> None:
    settings = recorder.transform.settings
    writes = settings.direction != "verify"
    names: list[str] = []
    if shard.kind == "folder":
        listed = samples(source.list(shard.path)[1], settings)
        names = listed[shard.start : shard.stop]
        if fingerprint_of(names) != shard.fingerprint:
            raise SourceError("the folder has changed since the run began: start the command again")
        if not shard.target:
            outputs = output_names(listed, settings.suffix)[shard.start : shard.stop]
            _rewrite_folder(source, shard.path, destination, recorder, list(zip(names, outputs)), shard.name)
            return
    with ExitStack() as stack:
        before = target = None
        if writes:
            if again and destination.exists(shard.target):
                before = stack.enter_context(destination.open(shard.target))
            target = stack.enter_context(destination.part(shard.target, shard.name))
        if shard.kind == "folder":
            members = members_of_files(names, lambda name: _read(source, join(shard.path, name)))
            rewrite_tar(members, target, recorder.code, settings.suffix, before)
            return
        file = stack.enter_context(source.open(shard.path))
        if shard.kind == "tar":
            rewrite_tar(members_of_tar(file, settings.takes), target, recorder.code, settings.suffix, before)
        else:
            rewrite_parquet(file, target, recorder.code, settings.suffix, settings.column, before)


def _rewrite_folder(
    source: Place, folder: str, destination: Place, recorder: Recorder, names: Sequence[tuple[str, str]], shard: str
) -> None:
    for name, output in names:
        path, target = join(folder, name), join(folder, output)
        data = recorder.code(path, partial(_read, source, path), partial(_read_if_there, destination, target))
        if data is not None:
            destination.publish(data, target, shard)


def _read(place: Place, path: str) -> bytes:
    try:
        return place.read(path)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error


def _read_if_there(place: Place, path: str) -> bytes | None:
    try:
        return place.read(path)
    except FileNotFoundError:
        return None
