"""The container: what pack writes unpack reads, and nothing else."""

import io
import re
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencomp import bitstream
from gencomp.bitstream import (
    MAX_SIDE,
    STEPS,
    BitstreamError,
    Header,
    inspect,
    inspect_file,
    pack,
    payload_room,
    quality_to_step,
    unpack,
)

GOLDEN = Header(model_id=b"\xde\xad\xbe\xef", width=768, height=512, quality_step=507, latents_crc=0x12345678)
GOLDEN_FILE = bytes.fromhex("474e4301 deadbeef 8006 8004 fb01 78563412 0448251b 7061796c6f6164")
SECTIONED = replace(GOLDEN, version=2).sealed(0x12345678)
SECTIONED_FILE = pack(SECTIONED, b"payload", {4: b"hi", 100: b"of the future"})
DOT = Path(__file__).parent.parent / "golden" / "dot.gnc"
ids, sides, crcs = st.binary(min_size=4, max_size=4), st.integers(1, MAX_SIDE), st.integers(0, 2**32 - 1)
headers = st.builds(Header, ids, sides, sides, st.integers(0, STEPS), crcs, st.integers(1, 2))
extras = st.dictionaries(st.integers(1, 127), st.binary(max_size=200), max_size=3)
BROKEN: list[Any] = [([b"\x04\x02hi", b"\x02\x00", b"\x00\x01p"], "out of order")]
BROKEN += [([b"\x04\x02hi", b"\x04\x02hi", b"\x00\x01p"], "out of order")]
BROKEN += [([b"\x80\x01x", b"\x00\x01p"], "section 128 must be known")]
BROKEN += [([b"\x05\xff\xff\xff\xff\x0f"], "optional sections"), ([b"\x05\xff\xff\xff\xff\x10"], "invalid length")]
BROKEN += [([b"\x05\x80\x00"], "invalid image size or length"), ([b"\x05\x05abc"], "ends inside a section")]
BROKEN += [([b"\x00\x05abc"], "ends inside the payload"), ([b"\x00\x01pq"], "goes on after its payload")]
BROKEN += [([], "ends inside a section")]
ERRORS: list[Any] = [(b"", "empty file"), (b"\x89PNG\r\n\x1a\n", "not a gencomp file")]
ERRORS += [(b"GNC\x03" + GOLDEN_FILE[4:], "newer version.*format version 3")]
ERRORS += [(b"GNC\x11" + GOLDEN_FILE[4:], "newer version.*flags 0x1"), (GOLDEN_FILE[:12], "ends inside the header")]
ERRORS += [(GOLDEN_FILE[:-1], "checksum"), (b"GNC\x01\0\0\0\0\x00\x01" + bytes(10), "width must lie in 1")]
ERRORS += [(b"GNC\x01\0\0\0\0\x81\x00\x01" + bytes(10), "invalid image size")]
ERRORS += [(b"GNC\x01\0\0\0\0\xff\xff\xff\xff\x01\x01" + bytes(10), "invalid image size")]
ERRORS += [(b"GNC\x01\0\0\0\0\x01\x01\x01\x04" + bytes(8), "quality_step must lie in 0 to 1024")]
BEYOND: list[Any] = [{"width": 0}, {"height": MAX_SIDE + 1}, {"quality_step": STEPS + 1}, {"latents_crc": -1}]
BEYOND += [{"model_id": b"abc"}, {"version": 3}]


def test_golden_file_is_written_and_read_to_the_byte() -> None:
    assert pack(GOLDEN, b"payload") == GOLDEN_FILE
    assert unpack(GOLDEN_FILE) == (GOLDEN, b"payload")


@given(headers, st.binary(max_size=64))
def test_round_trip(header: Header, payload: bytes) -> None:
    assert unpack(pack(header, payload)) == (header, payload)


@given(headers, st.binary(max_size=64), extras)
def test_sections_come_back_and_add_up_to_the_file(header: Header, payload: bytes, extras: dict[int, bytes]) -> None:
    data = pack(replace(header, version=2), payload, extras)
    inspection = inspect(data)
    assert inspection.extras == extras
    assert (inspection.checksum_ok, sum(inspection.sections.values())) == (True, len(data))
    assert unpack(data)[1] == payload


@given(headers, extras, st.integers(0, 400))
def test_payload_room_is_the_largest_payload_that_fits(header: Header, extras: dict[int, bytes], size: int) -> None:
    held = extras if header.version == 2 else {}
    room = payload_room(size, header, held)
    if room < 0:
        assert len(pack(header, b"", held)) > size
    else:
        assert len(pack(header, bytes(room), held)) <= size < len(pack(header, bytes(room + 2), held))


@pytest.mark.parametrize("example", [0, 1])
def test_examples_of_the_specification_are_real_files(example: int) -> None:
    """The bytes that FORMAT.md explains line by line, rebuilt from the golden file."""
    specification = (Path(__file__).parents[2] / "FORMAT.md").read_text().partition("## The payload")[0]
    text = specification.partition("Example:")[2].split("The same as version 2")[example]
    stated = bytes.fromhex("".join(re.findall(r"^    ((?:[0-9A-F]{2} )+)", text, re.M)))
    golden = DOT.read_bytes()
    header, payload = unpack(golden)
    sectioned = pack(replace(header, version=2).sealed(header.latents_crc), payload, {4: b"hi"})
    file = (golden, sectioned)[example]
    assert stated + payload[3:] == file
    assert f"{len(file)} bytes" in specification


def test_version_2_ties_size_and_quality_to_the_latents() -> None:
    for change in ({"width": 767}, {"height": 511}, {"quality_step": 506}):
        assert replace(SECTIONED, **change).stored_crc(0x12345678) != SECTIONED.latents_crc  # type: ignore[arg-type]
        assert replace(GOLDEN, **change).stored_crc(0x12345678) == GOLDEN.latents_crc  # type: ignore[arg-type]


def _sections(*parts: bytes) -> bytes:
    """A file of version 2 with sections as given and a right file CRC."""
    head, body = SECTIONED_FILE[:18], b"".join(parts)
    return head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body


@pytest.mark.parametrize(("parts", "text"), BROKEN)
def test_broken_sections_are_named(parts: list[bytes], text: str) -> None:
    with pytest.raises(BitstreamError, match=text):
        unpack(_sections(*parts))


def test_unwritable_sections_are_refused() -> None:
    with pytest.raises(ValueError, match="version 1 holds no sections"):
        pack(GOLDEN, b"", {1: b""})
    with pytest.raises(ValueError, match="bytes together"):
        pack(SECTIONED, b"", {1: bytes(2**20), 2: b"x"})
    with pytest.raises(ValueError, match="1 to 255"):
        pack(SECTIONED, b"", {0: b""})


def test_inspecting_a_padded_file_takes_no_memory_and_no_end() -> None:
    class Endless(io.RawIOBase):
        """A file whose header claims four million pixels, and zeros without end."""

        def __init__(self) -> None:
            self.ahead, self.most, self.total = pack(replace(GOLDEN, width=2000, height=2000), b""), 0, 0

        def read(self, size: int = -1) -> bytes:
            data, self.ahead = self.ahead[:size].ljust(size, b"\0"), self.ahead[size:]
            self.most, self.total = max(self.most, size), self.total + size
            return data

    file = Endless()
    with pytest.raises(BitstreamError, match="longer than an image"):
        inspect_file(file)  # type: ignore[arg-type]
    assert file.most <= 1 << 16
    assert file.total < 3 * 2000 * 2000 + (1 << 18)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_bytes_are_read(kind: type) -> None:
    assert unpack(kind(GOLDEN_FILE)) == (GOLDEN, b"payload")


@pytest.mark.parametrize("data", [None, "GNC", Path("a.gnc"), io.BytesIO(GOLDEN_FILE)])
def test_what_is_not_bytes_is_a_type_error_that_names_it(data: object) -> None:
    with pytest.raises(TypeError, match=type(data).__name__):
        unpack(data)  # type: ignore[arg-type]


@given(headers, st.binary(max_size=64))
def test_at_most_24_bytes_are_not_payload(header: Header, payload: bytes) -> None:
    data = pack(replace(header, version=1), payload)
    sections = inspect(data).sections
    assert (sections["payload"], sections["checksums"]) == (len(payload), 8)
    assert sum(sections.values()) == len(data) <= len(payload) + 24


@pytest.mark.parametrize("file", [GOLDEN_FILE, SECTIONED_FILE])
def test_a_truncated_file_and_any_flipped_bit_are_refused(file: bytes) -> None:
    for length in range(len(file)):
        with pytest.raises(BitstreamError):
            unpack(file[:length])
    for bit in range(8 * len(file)):
        altered = bytearray(file)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BitstreamError):
            unpack(bytes(altered))


@given(st.binary(min_size=1, max_size=16))
def test_extended_file_is_refused(tail: bytes) -> None:
    with pytest.raises(BitstreamError, match="checksum"):
        unpack(GOLDEN_FILE + tail)
    with pytest.raises(BitstreamError, match="goes on after"):
        unpack(SECTIONED_FILE + tail)


@given(st.binary(max_size=80), st.sampled_from([b"", b"GNC\x01", b"GNC\x02"]))
def test_arbitrary_bytes_are_refused_with_one_line(data: bytes, magic: bytes) -> None:
    with pytest.raises(BitstreamError) as caught:
        unpack(magic + data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("data", "text"), ERRORS)
def test_errors_name_what_is_wrong(data: bytes, text: str) -> None:
    with pytest.raises(BitstreamError, match=text):
        unpack(data)


@pytest.mark.parametrize("change", BEYOND)
def test_header_out_of_range_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must lie in|4 bytes"):
        Header(**{**vars(GOLDEN), **change})


def test_every_step_survives_its_quality() -> None:
    assert all(quality_to_step(bitstream.step_to_quality(step)) == step for step in range(STEPS + 1))
    assert (quality_to_step(1), quality_to_step(100)) == (0, STEPS)


@pytest.mark.parametrize("quality", [0.99, 100.01, float("nan"), float("inf")])
def test_quality_out_of_range_is_refused(quality: float) -> None:
    with pytest.raises(ValueError, match="quality must lie in 1 to 100"):
        quality_to_step(quality)
