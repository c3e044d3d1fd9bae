"""One shard in, one shard out: the core that every engine runs.

The output is written aside and renamed, then the status table is. A shard is finished when its table stands, its inputs
are those of then, and its outputs are there, whole. A process that is killed anywhere leaves either a finished shard or
one that is done again, with the same bytes.

What stands at an output's name and was not written by a run of this destination is kept. What was is known by the
tables, and for the time until they are written by a note (`.bulk/begun/SHARD`) of what stood there before.
"""

import functools
import json
import operator
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from gencomp.bulk import status
from gencomp.bulk.parquet import rewrite_parquet
from gencomp.bulk.plan import Shard, fingerprint_of, inputs_of, join, samples
from gencomp.bulk.settings import BulkSourceError
from gencomp.bulk.status import Footer, SampleRow, SampleTally
from gencomp.bulk.storage import BULK, StandsError, Storage
from gencomp.bulk.tar import pack_tar, rewrite_tar
from gencomp.bulk.transform import Hear, SampleRecorder, Transform, UnreadableError
from gencomp.outputs import Outputs, file_ids, name_key, output_names


def transform_shard(
    source: Storage,
    shard: Shard,
    destination: Storage,
    transform: Transform,
    *,
    retry_failed: bool = False,
    overwrite: bool = False,
    fatal: Mapping[str, str] | None = None,
    hear: Hear | None = None,
) -> SampleTally:
    """Bring one shard of `source` to `destination`, unless it is finished, and say what became of its samples.

    retry_failed: repeat the failed samples of a finished shard, and them alone; overwrite: replace files of others, but
    never an input. fatal: samples that are not to be tried, with the error that is reported of each (they have killed
    their process). Raises DestinationError where outputs cannot be written, BulkSourceError or OSError where the shard
    cannot be read or has no place; its status table is then not written, and of the shard's outputs none but whole
    files of a folder.
    """
    before, intact = table_of(destination, shard)
    if before is not None and intact and not (retry_failed and before.tally.failed):
        return before.tally
    destination.clear_parts((shard.name,))
    rows: list[SampleRow] = []
    if before is not None and before.fingerprint == shard.fingerprint and (intact or not shard.target):
        with destination.open(shard.table) as file:
            rows = status.read_rows(file)
    recorder = SampleRecorder(transform, rows, fatal, hear, shard.shown)
    try:
        made = _Shard(source, shard, destination, recorder, overwrite).bring()
    except (ValueError, EOFError) as error:
        raise BulkSourceError(f"{source.path(shard.path)}: {error}") from error
    except StandsError as error:
        raise BulkSourceError(f"{destination.path(shard.target)} {error}") from error
    written = {row.output for row in recorder.rows}
    owned = tuple(sorted(_owned(destination, shard.table) - written)) if not shard.target else ()
    footer = Footer(shard.name, shard.fingerprint, SampleTally(), made, owned)
    with destination.part(shard.table, shard.name) as file:
        tally = status.write_table(file, recorder.rows, footer)
    destination.remove(_note_of(shard))
    return tally


def table_of(destination: Storage, shard: Shard) -> tuple[Footer | None, bool]:
    """The footer of the shard's status table, if it stands; whether inputs and outputs are as it says."""
    try:
        with destination.open(shard.table) as file:
            footer = status.read_footer(file)
            if footer.fingerprint != shard.fingerprint:
                return footer, False
            if shard.target:
                seen = destination.stat_of(shard.target) if footer.size is not None else None
                return footer, footer.size == (None if seen is None else seen.size)
            outputs = status.read_outputs(file)
    except (FileNotFoundError, ValueError):
        return None, False
    sizes = destination.stat(shard.path, [name.rpartition("/")[2] for name in outputs])
    return footer, outputs == {join(shard.path, name): stat.size for name, stat in sizes.items()}


def forget(destination: Storage, names: Sequence[str]) -> None:
    """Take the rows of shards that are gone out of their tables. Which outputs were theirs stays known."""
    for name in names:
        table = f"{BULK}/status/{name}.parquet"
        try:
            with destination.open(table) as file:
                footer = status.read_footer(file)
        except ValueError:
            continue
        if footer.fingerprint:
            owned = tuple(sorted(_owned(destination, table)))
            with destination.part(table, name) as file:
                status.write_table(file, [], footer._replace(fingerprint="", owned=owned))


class _Shard(NamedTuple):
    """A shard on its way."""

    source: Storage
    shard: Shard
    destination: Storage
    recorder: SampleRecorder
    overwrite: bool

    def bring(self) -> int | None:
        """Write the outputs, or keep those of an earlier attempt; the size of the one file, if it is one."""
        source, shard, destination, recorder = self.source, self.shard, self.destination, self.recorder
        settings, names = recorder.transform.settings, list[str]()
        writes = settings.direction != "verify"
        if shard.kind == "folder":
            listed = samples(source, shard.path, source.list(shard.path).files, settings)
            names = listed[shard.start : shard.stop]
            self._check_unchanged(names, "since the run began")
            if not shard.target:
                outputs = output_names(listed, settings.suffix)
                first = {name_key(output): output for output in reversed(outputs)}
                pairs = list(zip(names, outputs[shard.start : shard.stop]))
                self._bring_files(pairs, first if writes else {})
                self._check_unchanged(names, "while it was read")
                return None
        with ExitStack() as stack:
            before = target = None
            if writes:
                if refused := self._refusals([shard.target]).get(shard.target):
                    raise StandsError(refused)
                stands = destination.exists(shard.target)
                if recorder.before and stands:
                    before = stack.enter_context(destination.open(shard.target))
                mode = self._mode(names)
                target = stack.enter_context(destination.part(shard.target, shard.name, mode, new=not stands))
            if shard.kind == "folder":
                pack_tar(names, lambda name: _read(source, join(shard.path, name)), target, recorder, before)
            else:
                file = stack.enter_context(source.open(shard.path))
                rewrite = rewrite_tar if shard.kind == "tar" else rewrite_parquet
                rewrite(file, target, recorder, before)
            self._check_unchanged(names, "while it was read")
            return None if target is None else target.tell()

    def _bring_files(self, pairs: Sequence[tuple[str, str]], first: Mapping[str, str]) -> None:
        folder, destination, recorder = self.shard.path, self.destination, self.recorder
        targets = [join(folder, output) for _, output in pairs] if first else []
        refused = self._refusals(targets)
        modes, sizes = self.source.stat(folder, [name for name, _ in pairs]), dict[str, int]()
        if recorder.before:
            there = destination.stat(folder, [output for _, output in pairs])
            sizes = {join(folder, name): stat.size for name, stat in there.items()}
        for name, output in pairs:
            path, target = join(folder, name), join(folder, output)
            old = recorder.old(path)
            if old is not None and (not first or (old.output is not None and sizes.get(target) == old.bytes_out)):
                recorder.rows.append(old)
            elif first and first[name_key(output)] != output:
                recorder.fail(path, f"its output would share a name with {first[name_key(output)]} on some disks")
            elif target in refused:
                recorder.fail(path, f"its output {refused[target]}")
            else:
                data = recorder.code(path, functools.partial(_read, self.source, path), lambda: None, target)
                if data is None:
                    continue
                mode, new = modes[name].mode if name in modes else None, not destination.stands(target)
                try:
                    destination.publish(data, target, self.shard.name, mode, new)
                except StandsError as error:
                    recorder.fail(recorder.rows.pop().sample, str(error))

    def _check_unchanged(self, names: Sequence[str], when: str) -> None:
        if fingerprint_of(self.source, self.shard, names) != self.shard.fingerprint:
            what = "the folder" if self.shard.kind == "folder" else "the file"
            raise BulkSourceError(f"{what} has changed {when}: start the command again")

    def _mode(self, names: Sequence[str]) -> int | None:
        """What the output may be read by: those who may read all of the inputs."""
        stats = self.source.stat(*inputs_of(self.shard, names)).values()
        modes = [stat.mode for stat in stats if stat.mode is not None]
        return functools.reduce(operator.and_, modes, 0o666) if modes else None

    def _refusals(self, targets: Sequence[str]) -> dict[str, str]:
        destination, refused = self.destination, dict[str, str]()
        standing = {target for target in targets if destination.stands(target)}
        foreign = self._foreign(standing) if targets else set()
        inputs = frozenset[tuple[int, int]]()
        if destination.local and self.source.local and standing:
            root = Path(self.source.root)
            if self.shard.kind != "folder":
                inputs = file_ids([root / self.shard.path])
            elif root not in Path(destination.root).parents:
                inputs = file_ids([root])
        for target in targets:
            if target in foreign and not self.overwrite:
                refused[target] = "exists and is kept: --overwrite replaces it"
            elif destination.local:
                try:
                    Outputs(inputs, overwrite=True).check(Path(destination.path(target)), Path(destination.root))
                except OSError as error:
                    refused[target] = f"cannot be written: {str(error).removesuffix(' with -o')}"
        return refused

    def _foreign(self, standing: set[str]) -> set[str]:
        """Those of the files that no run of this destination has written; noted down before the first is."""
        note, destination, shard = _note_of(self.shard), self.destination, self.shard
        if destination.exists(note):
            return set(json.loads(destination.read(note))) & standing
        if standing and shard.target:
            before, _ = table_of(destination, shard)
            standing = set() if before is not None and before.size is not None else standing
        elif standing:
            folder = f"{BULK}/status/{shard.path}".rstrip("/")
            for table in destination.list(folder).files if destination.exists(folder) else []:
                standing = standing - _owned(destination, join(folder, table))
        destination.publish(json.dumps(sorted(standing)).encode(), note, shard.name)
        return standing


def _owned(destination: Storage, table: str) -> set[str]:
    try:
        with destination.open(table) as file:
            footer = status.read_footer(file)
            return {*status.read_outputs(file), *footer.owned}
    except (FileNotFoundError, ValueError):
        return set()


def _note_of(shard: Shard) -> str:
    return f"{BULK}/begun/{shard.name}"


def _read(place: Storage, path: str) -> bytes:
    try:
        return place.read(path)
    except OSError as error:
        raise UnreadableError(error.strerror or str(error)) from error
