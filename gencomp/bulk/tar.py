"""A WebDataset tar file, or the images of a folder, as a new tar file: samples are replaced, the rest is copied.

What is no sample is copied byte for byte with its header and all extensions of it, whatever dialect they are of: sparse
files, long names, devices and what is not known here come out as they went in. So do marks of an end in the middle
(archives one behind another: all of them are read) and what follows the last. Python's tarfile reads such members and
cannot write them, so headers are framed here, and read and made by it. Nothing is unpacked to disk. A tar file that is
damaged, or ends without its mark, fails as a whole: it is half written.

A link to a sample follows it: `b.jpg`, a hard link to `a.jpg`, becomes `b.gnc`, one to `a.gnc`. A sample that is linked
under a name that is no sample's (`original.bin`) is left as it is, for both names hold one file.
"""

from __future__ import annotations

import bz2
import copy
import functools
import gzip
import io
import lzma
import posixpath
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, NamedTuple

from gencomp.bulk.settings import Settings
from gencomp.bulk.transform import MAX_FILE_BYTES, Read, SampleRecorder, is_label
from gencomp.kinds import START_BYTES, UNMISTAKABLE, kind_of
from gencomp.outputs import output_names

File = IO[bytes] | None
_BLOCK = tarfile.BLOCKSIZE
_EXTENSIONS = (b"x", b"X", b"L", b"K")
_MAX_EXTENSION = 1 << 24  # bytes of a pax header or a long name
_MAX_LINKS = 8  # from link to link
_LABEL = "a label or depth image, left as it is"
_UNNAMED = "an image by its content and not by its name, left as it is (--column names it)"
_NO_DATA = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
_OPENERS: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}


class TarError(ValueError):
    """No tar file, a damaged one, or one that is half written."""

    def __str__(self) -> str:
        return f"a damaged tar file: {super().__str__()}"


class Member(NamedTuple):
    """A member as it stands. info: its name, type and link are those of the extensions, and its pax_headers are them;
    size: bytes of data in the archive; head: its header with all extensions; plain: a regular file that is stored as it
    is.
    """

    info: tarfile.TarInfo
    size: int
    head: bytes
    plain: bool

    @property
    def name(self) -> str:
        return self.info.name

    def renamed(self, name: str, size: int, link: str = "") -> bytes:
        """A header that says the same of another name, size and target of a link."""
        info = copy.copy(self.info)
        info.name, info.size, info.linkname = name, size, link
        info.pax_headers = {k: v for k, v in info.pax_headers.items() if k not in {"path", "size", "linkpath"}}
        is_gnu = self.head[-_BLOCK:][257:265] == tarfile.GNU_MAGIC and not info.pax_headers
        return info.tobuf(tarfile.GNU_FORMAT if is_gnu else tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


class Tape:
    """A tar file read once from its beginning; compressed ones by their content. ValueError where it is damaged."""

    def __init__(self, file: IO[bytes]) -> None:
        file.seek(0)
        start = file.read(6)
        file.seek(0)
        opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
        self._file = file if opener is None else opener(file)
        self._seeks = opener is None and file.seekable()
        self._left = 0  # bytes of the member's data, padding included, that were not read
        self.at = 0

    def members(self) -> Iterator[Member | bytes]:
        """Each member, and blocks that belong to none; its data must be read before the next is asked for."""
        ended, begun = False, False
        while block := self._read(_BLOCK):
            begun = True
            if len(block) == _BLOCK and not any(block):
                ended = True
                yield block
                continue
            try:
                if block[156:157] == b"g":  # records for all members that follow
                    yield block + self._exactly(_padded(_extension(_parsed(block))))
                    continue
                member = self._member(block)
            except tarfile.HeaderError as error:
                if ended:  # GNU tar ignores what is behind the end; it is passed on
                    while block:
                        yield block
                        block = self._read(1 << 20)
                    return
                raise TarError(f"no header at byte {self.at - len(block)}: {error}") from error
            yield member
            self.skip()
            ended = False
        if not ended:
            raise TarError("it ends early, without an end mark" if begun else "an empty file")

    def data(self, size: int) -> bytes:
        """Up to `size` bytes of the member's data."""
        found = self._exactly(min(size, self._left))
        self._left -= len(found)
        return found

    def pieces(self) -> Iterator[bytes]:
        """All of the member's data that was not read, with its padding."""
        while self._left:
            yield self.data(1 << 20)

    def skip(self) -> None:
        if self._seeks and self._left > 1 << 16:
            self._file.seek(self._left - 1, io.SEEK_CUR)
            self.at, self._left = self.at + self._left - 1, 1
        for _ in self.pieces():
            pass

    def _member(self, block: bytes) -> Member:
        head, names, records = bytearray(), dict[bytes, str](), dict[str, str]()
        while True:
            info = _parsed(block)
            head += block
            if len(head) > 2 * _MAX_EXTENSION:
                raise TarError("a member of too many extended headers")
            if info.type not in _EXTENSIONS:
                break
            data = self._exactly(_padded(_extension(info)))
            head += data
            if info.type in (b"L", b"K"):
                names[info.type] = data[: info.size].split(b"\0")[0].decode("utf-8", "surrogateescape")
            else:
                records |= _records(data[: info.size])
            block = self._exactly(_BLOCK)
        if info.type == tarfile.GNUTYPE_SPARSE:
            more = block[482]
            while more:
                block = self._exactly(_BLOCK)
                head += block
                more = block[504]
                if len(head) > _MAX_EXTENSION:
                    raise TarError("a sparse file of too many pieces")
        is_sparse = any(name.startswith("GNU.sparse") for name in records)
        info.name = records.get("GNU.sparse.name") or records.get("path") or names.get(b"L") or info.name
        if block[156] == 0:  # of the first tar: a folder by the slash at the end of its name, of the whole name
            info.type = tarfile.DIRTYPE if info.name.endswith("/") else tarfile.AREGTYPE
        info.linkname = records.get("linkpath") or names.get(b"K") or info.linkname
        info.pax_headers = records
        size = int(records["size"]) if records.get("size", "").isdecimal() else info.size
        size = 0 if info.type in _NO_DATA else size
        if size < 0:
            raise TarError(f"a member of {size:,} bytes")
        self._left = _padded(size)
        return Member(info, size, bytes(head), info.type in tarfile.REGULAR_TYPES[:2] + (b"7",) and not is_sparse)

    def _read(self, size: int) -> bytes:
        try:
            found = bytes(self._file.read(size))
            while 0 < len(found) < size and (more := self._file.read(size - len(found))):
                found += more
        except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
            raise TarError(f"it cannot be decompressed: {error}") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise TarError(f"it cannot be decompressed: {error}") from error
        self.at += len(found)
        return found

    def _exactly(self, size: int) -> bytes:
        found = self._read(size)
        if len(found) != size:
            raise TarError(f"it ends early, at byte {self.at:,}")
        return found


class _Plan(NamedTuple):
    """What becomes of members. outputs: of samples and of links to them by name; aims: the same by names as `normpath`
    writes them; follows: of each such link the sample, by such a name; linked: samples that are left as they are, for a
    name that is no sample's is linked to them.
    """

    outputs: dict[str, str]
    aims: dict[str, str]
    follows: dict[str, str]
    linked: set[str]


def rewrite_tar(source: IO[bytes], target: File, recorder: SampleRecorder, before: File = None) -> None:
    """Write `source` to `target`, samples replaced by what `recorder` makes of them, left out where it makes nothing.

    target: None writes nothing (verify). before: the tar file that an earlier attempt wrote. Raises ValueError for a
    file that is no tar file, is damaged or ends early; it is read twice, so that this is found before any work.
    """
    settings = recorder.transform.settings
    plan = _plan(Tape(source), settings)
    tape, out, old, coded = Tape(source), _Output(target), _Index(before), dict[str, bool | None]()
    for member in tape.members():
        if isinstance(member, bytes):
            out.write(member)
            continue
        name = member.name
        if member.plain and settings.takes_member(name):
            coded[posixpath.normpath(name)] = _sample(member, tape, plan, recorder, out, old)
        elif name in plan.follows and coded.get(plan.follows[name], True):
            _link(member, plan, recorder, out)
        elif name in plan.follows and coded[plan.follows[name]] is None:
            recorder.fail(name, f"a link to {plan.follows[name]}, which failed")
        else:
            start = tape.data(min(member.size, START_BYTES)) if member.plain else b""
            if note := _left(member, settings, start):
                recorder.leave(name, note, member.size, name)
            out.write(member.head + start)
            out.copy_data(tape)
    out.close()


def pack_tar(
    names: Sequence[str], read: Callable[[str], bytes], target: File, recorder: SampleRecorder, before: File = None
) -> None:
    """Files as members of a new tar file, without dates or owners; the others are those of `rewrite_tar`."""
    out, old = _Output(target), _Index(before)
    for name, output in zip(names, output_names(names, recorder.transform.settings.suffix)):
        data = recorder.code(name, functools.partial(read, name), functools.partial(old.read, output), output)
        if data is not None:
            info = tarfile.TarInfo(output)
            info.size = len(data)
            out.add(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape"), data)
    out.close()


def images_of_tar(source: IO[bytes], settings: Settings) -> Iterator[tuple[str, bytes]]:
    """Name and file of each sample."""
    tape = Tape(source)
    for member in tape.members():
        if not isinstance(member, bytes) and member.plain and settings.takes_member(member.name):
            yield member.name, tape.data(min(member.size, MAX_FILE_BYTES + 1))


def _plan(tape: Tape, settings: Settings) -> _Plan:
    samples, links, others = dict[str, str](), dict[str, str](), set[str]()
    for member in tape.members():
        if isinstance(member, bytes):
            continue
        name, real = member.name, posixpath.normpath(member.name)
        if member.plain and settings.takes_member(name):
            samples[name] = real
        elif member.info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
            links[name] = _aim(member)
        else:
            others.add(name)
    reals, aims = {*samples.values()}, {posixpath.normpath(name): aim for name, aim in links.items()}
    follows, linked = dict[str, str](), set[str]()
    for name, aim in links.items():
        for _ in range(_MAX_LINKS):
            aim = aims.get(aim, aim) if aim not in reals else aim
        if aim not in reals:
            others.add(name)
        elif settings.takes_member(name):
            follows[name] = aim
        else:
            others.add(name)
            linked.add(aim)
    replaced = [*samples, *follows]
    outputs = dict(zip(replaced, output_names(replaced, settings.suffix, others)))
    renamed = {posixpath.normpath(name): output for name, output in outputs.items()}
    return _Plan(outputs, renamed, {name: aim for name, aim in follows.items() if aim not in linked}, linked)


def _aim(member: Member) -> str:
    """The name, as `normpath` writes it, that a link points to; "" for one that leads out of the archive."""
    link = member.info.linkname
    if member.info.type == tarfile.SYMTYPE:
        link = "" if link.startswith("/") else posixpath.join(posixpath.dirname(member.name), link)
    return posixpath.normpath(link) if link else ""


def _sample(
    member: Member, tape: Tape, plan: _Plan, recorder: SampleRecorder, out: _Output, old: _Index
) -> bool | None:
    """Write a sample; whether it was replaced, None where it failed."""
    name, settings, size = member.name, recorder.transform.settings, min(member.size, MAX_FILE_BYTES + 1)
    output = plan.outputs[name]
    read: Read = functools.partial(tape.data, size)
    note, data = "", b""
    if posixpath.normpath(name) in plan.linked:
        note = "left as it is: it is linked under a name that is no image's"
    elif settings.direction == "code" and settings.column is None:
        data = tape.data(size)
        read = lambda: data  # noqa: E731
        note = _LABEL if is_label(data) else ""
    if note:
        recorder.leave(name, note, member.size, name)
        out.write(member.head + data)
        out.copy_data(tape)
        return False
    coded = recorder.code(name, read, functools.partial(old.read, output), output)
    if coded is None:
        return None
    out.add(member.renamed(output, len(coded)), coded)
    return True


def _link(member: Member, plan: _Plan, recorder: SampleRecorder, out: _Output) -> None:
    """Write a link to a sample under its new name, to the sample's."""
    output = plan.outputs[member.name]
    new = plan.aims.get(_aim(member)) or plan.aims[plan.follows[member.name]]
    link = posixpath.join(posixpath.dirname(member.info.linkname), posixpath.basename(new))
    recorder.leave(member.name, "a link to another image", 0, output)
    out.add(member.renamed(output, 0, link), b"")


def _left(member: Member, settings: Settings, start: bytes) -> str:
    """Why a member that a reader may miss among the images is none. start: the first bytes of a plain file."""
    if member.info.type in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        return "a device or pipe, left as it is"
    if settings.direction == "code" and settings.column is None and not settings.takes(member.name):
        return _UNNAMED if kind_of(start.ljust(START_BYTES, b"\0")) in UNMISTAKABLE else ""
    if not settings.takes(member.name) or member.info.isdir() or settings.column is not None:
        return ""
    if member.info.type in (tarfile.LNKTYPE, tarfile.SYMTYPE):
        return "a link, left as it is"
    return _LABEL if member.plain else "a file with holes or of an unknown kind, left as it is"


class _Output:
    """A tar file on its way; nothing is written without a file."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file, self._size, self._ended = file, 0, False

    def write(self, data: bytes) -> None:
        if self._file is not None:
            self._file.write(data)
            self._size += len(data)
            self._ended = not any(data[-_BLOCK:])

    def copy_data(self, tape: Tape) -> None:
        if self._file is not None:
            for piece in tape.pieces():
                self.write(piece)

    def add(self, head: bytes, data: bytes) -> None:
        self.write(head)
        self.write(data + bytes(_padded(len(data)) - len(data)))

    def close(self) -> None:
        """The mark of the end where there is none, and whole records, as tar files have them."""
        if self._file is not None and self._size == 0:
            self.write(bytes(2 * _BLOCK))
        if self._size % _BLOCK == 0:
            self.write(bytes(-self._size % tarfile.RECORDSIZE))


class _Index:
    """The members of a tar file by name, of those that have one of their own; empty without a file."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._tar = tarfile.open(fileobj=file, mode="r:") if file is not None else None  # noqa: SIM115
        count = Counter(info.name for info in self._tar or ())
        self._infos = {info.name: info for info in self._tar or () if count[info.name] == 1}

    def read(self, name: str) -> bytes | None:
        if self._tar is None or name not in self._infos:
            return None
        content = self._tar.extractfile(self._infos[name])
        return content.read() if content is not None else None


def _records(data: bytes) -> dict[str, str]:
    found, at = dict[str, str](), 0
    while at < len(data) and data[at]:
        digits = data[at : at + 20].partition(b" ")[0]
        length = int(digits) if digits.isdigit() else 0
        record = data[at + len(digits) + 1 : at + length]
        if length < len(digits) + 3 or at + length > len(data) or b"=" not in record:
            raise TarError("a damaged pax header")
        name, _, value = (part.decode("utf-8", "surrogateescape") for part in record[:-1].partition(b"="))
        found[name] = value
        at += length
    return found


def _parsed(block: bytes) -> tarfile.TarInfo:
    return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")


def _extension(info: tarfile.TarInfo) -> int:
    if not 0 <= info.size <= _MAX_EXTENSION:
        raise TarError(f"an extended header of {info.size:,} bytes")
    return info.size


def _padded(size: int) -> int:
    return size + -size % _BLOCK
