"""Tar and parquet files with everything that they may hold, and whether all but the images comes out as it went in.

The images' bytes are not images: a stand-in for the codec turns them round, so that what is tried is what passes by.
What comes out is read by others: GNU tar and Python's tarfile, pyarrow.
"""

import functools
import gzip
import io
import random
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from mutate_file import mutate_bytes

from gencomp.bulk.parquet import rewrite_parquet
from gencomp.bulk.settings import Settings
from gencomp.bulk.status import DONE, FAILED
from gencomp.bulk.tar import rewrite_tar
from gencomp.bulk.transform import Output, SampleRecorder

LONG = "long/" * 30
NAMES = ("a.jpg", "b.png", "./c.webp", "d.gnc", "note", "A.JPG", "a.png", "é.jpg", "dir/e.tiff", LONG + "f.jpg", "g")
SPARSE = [["--format=gnu"], *(["--format=posix", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0"))]
GNU_TAR = ["tar", "-xOvv", "-i", "--full-time", "--quoting-style=escape", "-f"]


class Finding(Exception):
    """Something that is not as documented."""


def _recorder(settings: Settings) -> SampleRecorder:
    def turn(data: bytes) -> Output:
        if not data or data.startswith(b"bad"):
            raise ValueError("a broken image")
        return Output(data[::-1], 1, 1, None)

    transform: Any = functools.partial(turn)
    transform.settings = settings
    return SampleRecorder(transform)


def _refused(error: ValueError, sound: bool) -> str:
    if sound or "\n" in str(error) or not str(error):
        raise Finding(f"a {'sound' if sound else 'damaged'} file is refused: {error!r}") from error
    return str(error).partition(" check failed")[0]


@functools.cache
def _sparse() -> list[bytes]:
    """What GNU tar makes of a file with holes, one of no hole and one of a long name, in each dialect; without ends."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        name = "holes-" + "x" * 120
        for path in (place / "holes", place / name):
            with path.open("wb") as file:
                for at in range(5):
                    file.seek(at * 300_000)
                    file.write(b"data" * (at + 1))
        (place / "none").write_bytes(b"whole")
        made = []
        for options in SPARSE:
            command = ["tar", "-C", folder, "-S", *options, "-cf", f"{folder}/s.tar", "holes", "none", name]
            subprocess.run(command, check=True)
            made.append((place / "s.tar").read_bytes().rstrip(b"\0"))
    return [data + bytes(-len(data) % 512) for data in made]


def tar_file(draw: random.Random) -> bytes:
    """A sound archive."""
    pieces = []
    for _ in range(draw.choice((1, 1, 2))):
        file = io.BytesIO()
        form = draw.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT))
        shared = {"comment": "shared"} if form == tarfile.PAX_FORMAT and draw.random() < 0.2 else None
        with tarfile.open(fileobj=file, mode="w", format=form, pax_headers=shared) as tar:
            seen = ["a.jpg"]
            for _ in range(draw.randrange(6)):
                info = _member(draw, form, seen)
                tar.addfile(info, io.BytesIO(draw.randbytes(info.size)) if info.isreg() else None)
                seen.append(info.name)
        whole = file.getvalue().rstrip(b"\0")
        whole += bytes(-len(whole) % 512)
        pieces += [draw.choice(_sparse()) if draw.random() < 0.3 else b"", whole]
        pieces.append(bytes(512 * draw.choice((2, 3, 18))) if draw.random() < 0.9 else b"")
    pieces.append(bytes(1024))
    if draw.random() < 0.1:
        pieces.append(draw.randbytes(draw.choice((5, 512, 700))))
    data = b"".join(pieces)
    return gzip.compress(data, 1) if draw.random() < 0.1 else data


def _member(draw: random.Random, form: int, seen: list[str]) -> tarfile.TarInfo:
    name = draw.choice(NAMES)
    if form == tarfile.USTAR_FORMAT and len(name) > 100:
        name = "short.jpg"
    info = tarfile.TarInfo(name)
    kinds = (tarfile.REGTYPE,) * 6 + (tarfile.LNKTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE)
    info.type = draw.choice((*kinds, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.AREGTYPE))
    info.mode, info.uid, info.mtime = draw.choice((0o600, 0o644, 0o4755)), draw.choice((0, 1000, 2**21)), 10**9
    if form == tarfile.PAX_FORMAT:
        info.mtime = draw.choice((10**9, 1234567890.123456, -5))
        info.pax_headers = draw.choice(({}, {}, {"SCHILY.xattr.user.a": "b"}, {"comment": "é" * 60}))
    if form != tarfile.USTAR_FORMAT and draw.random() < 0.2:
        info.uname, info.uid = "ü" * draw.choice((3, 40)), 2**22
    elif info.uid > 2**20:
        info.uid = 7
    if info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
        info.linkname = draw.choice((*seen, "./a.jpg", "nowhere.jpg", "g"))
    elif info.type in (tarfile.REGTYPE, tarfile.AREGTYPE):
        info.size = draw.choice((0, 1, 511, 512, 513, 3000))
    return info


def _read_by_gnu(data: bytes, folder: str) -> tuple[list[tuple[str, str]], bytes, int]:
    """What GNU tar says of each member (all but the name; the name), all contents, and its status."""
    path = Path(folder, "x.tar")
    path.write_bytes(data)
    done = subprocess.run([*GNU_TAR, str(path)], capture_output=True, check=False)
    said = done.stderr.decode(errors="backslashreplace")
    lines = re.findall(r"^([-dlhbcpCMV][-rwxsStT]{9} .*?\d\d:\d\d:[\d.]+) (.*)$", said, re.M)
    return lines, done.stdout, done.returncode


def run_tar(data: bytes, sound: bool) -> str:
    """Rewritten with the images turned round twice, an archive must be the same again to GNU tar but for names."""
    settings = Settings(column="jpg,png,webp,gnc,tiff") if len(data) % 3 == 0 else Settings()
    out, recorder = io.BytesIO(), _recorder(settings)
    try:
        rewrite_tar(io.BytesIO(data), out, recorder)
    except ValueError as error:
        return _refused(error, sound)
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    with tempfile.TemporaryDirectory() as folder:
        before, contents, status = _read_by_gnu(data, folder)
        after, made, again = _read_by_gnu(out.getvalue(), folder)
    if status != 0 and not sound:
        return "GNU tar refuses it, too"
    failed = sum(row.status == FAILED for row in recorder.rows)
    if again != status or len(before) != len(after) + failed:
        raise Finding(f"GNU tar: status {again}, {len(before)} members, {len(after)} after, {failed} failed")
    if failed:
        return "some failed"
    for (what, name), (what_now, name_now) in zip(before, after):
        size = int(what.split()[2]) if what[0] == "-" else 0
        one, two, contents, made = contents[:size], made[:size], contents[size:], made[size:]
        renamed = ".gnc" in name_now
        if what != what_now or (name != name_now and not renamed) or two not in (one, one[::-1] if renamed else one):
            raise Finding(f"{what} {name} became {what_now} {name_now}")
    if contents != made:
        raise Finding("more was written than is listed")
    coded = sum(row.status == DONE for row in recorder.rows)
    return f"{coded} coded, {len(before) - coded} passed"


KINDS: tuple[Callable[[random.Random, int], pa.Array], ...] = (
    lambda draw, n: pa.array([draw.choice((None, 1, -5)) for _ in range(n)], pa.int64()),
    lambda draw, n: pa.array([draw.choice((None, "a", "é" * 90)) for _ in range(n)], pa.string_view()),
    lambda draw, n: pa.array([draw.choice(("x", "y", None)) for _ in range(n)], pa.string()).dictionary_encode(),
    lambda draw, n: pa.array([draw.choice((None, [], [1, None])) for _ in range(n)], pa.list_(pa.int32())),
    lambda draw, n: pa.array([draw.choice((None, {"a": None}, {"a": {"b": 1.5}})) for _ in range(n)],
                             pa.struct({"a": pa.struct({"b": pa.float32()})})),
    lambda draw, n: pa.array([draw.choice((None, [("k", 1)])) for _ in range(n)], pa.map_(pa.string(), pa.int8())),
    lambda draw, n: pa.array([draw.randrange(10**12) * 10**6 for _ in range(n)], pa.timestamp("ns", tz="UTC")),
    lambda draw, n: pa.array([draw.choice((None, 12345)) for _ in range(n)], pa.decimal128(20, 3)),
    lambda draw, n: pa.array([draw.randbytes(4) for _ in range(n)], pa.binary(4)),
    lambda draw, n: pa.array([draw.choice((True, False, None)) for _ in range(n)]),
    lambda draw, n: pa.array([draw.random() for _ in range(n)], pa.float16()),
    lambda draw, n: pa.array([draw.randbytes(9) for _ in range(n)], pa.large_binary()),
)  # fmt: skip


def parquet_file(draw: random.Random) -> bytes:
    """A sound file with a column `image`."""
    rows = draw.choice((0, 1, 5, 40))
    images = [draw.choice((None, b"bad", b"", draw.randbytes(draw.choice((1, 50, 4000))))) for _ in range(rows)]
    nullable, form = draw.random() < 0.7, draw.randrange(5)
    if not nullable:
        images = [image or b"1" for image in images]
    column: Any = pa.array(images, draw.choice((pa.binary(), pa.large_binary(), pa.binary_view())))
    if form == 0:
        column = pa.array(images, pa.binary()).dictionary_encode()
    elif form < 3:
        fields = [("bytes", pa.binary()), ("path", pa.string()), ("caption", pa.string()), ("n", pa.list_(pa.int8()))]
        fields = draw.sample(fields[1:], draw.randrange(4)) + fields[:1]
        draw.shuffle(fields)
        paths = ("a.jpg", "b/c", None, "https://h/x?y.z=1")
        words = ("c", None)
        cells: list[Any] = [
            {"bytes": i, "path": draw.choice(paths), "caption": draw.choice(words), "n": [1]} for i in images
        ]
        cells = [None if nullable and draw.random() < 0.2 else cell for cell in cells]
        column = pa.array(cells, pa.struct(fields))
    columns = [draw.choice(KINDS)(draw, rows) for _ in range(draw.randrange(5))]
    names = [draw.choice((f"c{i}", f"c{i}", "same")) for i in range(len(columns))]
    place = draw.randint(0, len(columns))
    columns.insert(place, column)
    names.insert(place, "image")
    fields = [pa.field(n, c.type, nullable=nullable if n == "image" else True) for n, c in zip(names, columns)]
    schema = pa.schema(fields, metadata=draw.choice((None, {"huggingface": '{"info": 1}'})))
    codecs = ("none", "snappy", "gzip", "zstd", "brotli", "lz4")
    sortable = [i for i, c in enumerate(columns[:place]) if not pa.types.is_nested(c.type)]
    leaves_before = not any(pa.types.is_nested(c.type) for c in columns[:place])
    file = io.BytesIO()
    pq.write_table(
        pa.Table.from_arrays(columns, schema=schema),
        file,
        row_group_size=draw.choice((1, 7, 1000)),
        compression=draw.choice((draw.choice(codecs), {name: draw.choice(codecs) for name in names})),
        use_dictionary=draw.random() < 0.5,
        data_page_version=draw.choice(("1.0", "2.0")),
        version=draw.choice(("1.0", "2.6")),
        write_page_index=draw.random() < 0.5,
        write_page_checksum=draw.random() < 0.3,
        use_deprecated_int96_timestamps=draw.random() < 0.3,
        store_schema=draw.random() < 0.8,
        data_page_size=draw.choice((100, 1 << 20)),
        sorting_columns=[pq.SortingColumn(sortable[0])] if sortable and leaves_before else None,
    )
    return file.getvalue()


def run_parquet(data: bytes, sound: bool) -> str:
    """All columns but the images, fields beside them, row groups and metadata are the same; the images are turned."""
    out, recorder = io.BytesIO(), _recorder(Settings(column="image"))
    try:
        rewrite_parquet(io.BytesIO(data), out, recorder)
    except ValueError as error:
        return _refused(error, sound)
    try:
        before, old, field = _facts(data, sound)
    except Exception as error:  # whatever a reader makes of what was not read
        if sound:
            raise Finding(f"a sound file cannot be read: {error}") from error
        return "damaged where bulk does not read"
    after, new, _ = _facts(out.getvalue(), sound)
    for what, one, two in zip(("schema", "metadata", "columns", "row groups"), before, after, strict=True):
        if one != two:
            raise Finding(f"other {what}: {one} became {two}")
    for cell, made in zip(old, new, strict=True):
        if made != (wanted := _expected(cell, field)):
            raise Finding(f"{cell} became {made} and not {wanted}")
    return f"{sum(row.status == DONE for row in recorder.rows)} coded"


def _facts(data: bytes, sound: bool) -> tuple[list[str], list[Any], pa.Field]:
    """Schema, metadata, columns and row groups as far as they are not those of the images; the images, their field.

    The row groups' metadata of sound files alone: pyarrow ends the process where those of a damaged one contradict.
    """
    file = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
    table, meta = file.read(use_threads=False), file.metadata
    place = table.schema.names.index("image")
    columns = [column.to_pylist() for number, column in enumerate(table.columns) if number != place]
    groups: list[Any] = []
    for group in map(meta.row_group, range(meta.num_row_groups if sound else 0)):
        groups += [group.num_rows, group.sorting_columns]
        for c in map(group.column, range(group.num_columns)):
            groups.append((c.compression, c.physical_type, c.path_in_schema))
            if not c.path_in_schema.startswith("image"):
                groups.append((c.encodings, c.statistics and c.statistics.to_dict()))
    schema = str(file.schema).partition("\n")[2] + file.schema_arrow.to_string()
    facts = [schema, (meta.metadata, meta.created_by), columns, groups]
    return [repr(fact) for fact in facts], table.column(place).to_pylist(), table.schema.field(place)


def _expected(cell: Any, field: Any) -> Any:
    def turned(data: bytes) -> bytes | None:
        return None if not data or data.startswith(b"bad") else data[::-1]

    if cell is None:
        return None
    if not isinstance(cell, dict):
        made = turned(cell)
        return made if made is not None or field.nullable else b""
    if cell["bytes"] is None:
        return cell
    made = turned(cell["bytes"])
    if made is None and field.nullable and not set(cell) - {"bytes", "path"}:
        return None
    renamed = {"path": "a.gnc"} if made is not None and cell.get("path") == "a.jpg" else {}
    return {**cell, "bytes": made, **renamed}


def target(
    make: Callable[[random.Random], bytes], run: Callable[[bytes, bool], str]
) -> tuple[Callable[[random.Random], bytes], Callable[[bytes], str]]:
    """Four in ten inputs are sound; the others are damaged somewhere."""

    def mutant(draw: random.Random) -> bytes:
        data = make(draw)
        if draw.random() < 0.4:
            return b"S" + data
        return b"D" + _damaged(draw, data)

    return mutant, lambda data: run(data[1:], data[:1] == b"S")


def _damaged(draw: random.Random, data: bytes) -> bytes:
    """At the beginning or the end, where headers and footers are, or anywhere."""
    window = draw.choice((600, 4000, len(data)))
    start = draw.choice((0, max(0, len(data) - window), draw.randrange(max(1, len(data)))))
    return data[:start] + mutate_bytes(draw, data[start : start + window], [data]) + data[start + window :]
