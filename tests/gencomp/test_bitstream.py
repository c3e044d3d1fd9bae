"""The container: what pack writes unpack reads, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencomp import bitstream
from gencomp.bitstream import MAX_SIDE, STEPS, BitstreamError, Header, inspect, pack, quality_to_step, unpack

GOLDEN = Header(model_id=b"\xde\xad\xbe\xef", width=768, height=512, quality_step=507, latents_crc=0x12345678)
GOLDEN_FILE = bytes.fromhex("474e4301 deadbeef 8006 8004 fb01 78563412 0448251b 7061796c6f6164")

headers = st.builds(
    Header,
    model_id=st.binary(min_size=4, max_size=4),
    width=st.integers(1, MAX_SIDE),
    height=st.integers(1, MAX_SIDE),
    quality_step=st.integers(0, STEPS),
    latents_crc=st.integers(0, 2**32 - 1),
)


def test_golden_file_is_written_and_read_to_the_byte() -> None:
    assert pack(GOLDEN, b"payload") == GOLDEN_FILE
    assert unpack(GOLDEN_FILE) == (GOLDEN, b"payload")


@given(headers, st.binary(max_size=64))
def test_round_trip(header: Header, payload: bytes) -> None:
    assert unpack(pack(header, payload)) == (header, payload)


@given(headers, st.binary(max_size=64))
def test_at_most_24_bytes_are_not_payload_and_sections_add_up(header: Header, payload: bytes) -> None:
    data = pack(header, payload)
    sections = inspect(data).sections
    assert sections["payload"] == len(payload)
    assert sections["checksums"] == 8
    assert sum(sections.values()) == len(data) <= len(payload) + 24


@pytest.mark.parametrize("length", range(len(GOLDEN_FILE)))
def test_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(BitstreamError):
        unpack(GOLDEN_FILE[:length])


@pytest.mark.parametrize("bit", range(8 * len(GOLDEN_FILE)))
def test_any_flipped_bit_is_refused(bit: int) -> None:
    altered = bytearray(GOLDEN_FILE)
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BitstreamError):
        unpack(bytes(altered))


@given(st.binary(min_size=1, max_size=16))
def test_extended_file_is_refused(tail: bytes) -> None:
    with pytest.raises(BitstreamError, match="checksum"):
        unpack(GOLDEN_FILE + tail)


@given(st.binary(max_size=80), st.booleans())
def test_arbitrary_bytes_are_refused_with_one_line(data: bytes, with_magic: bool) -> None:
    with pytest.raises(BitstreamError) as caught:
        unpack(b"GNC\x01" + data if with_magic else data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty file"),
        (b"\x89PNG\r\n\x1a\n", "not a gencomp file"),
        (b"GNC\x02" + GOLDEN_FILE[4:], "newer version.*format version 2"),
        (b"GNC\x11" + GOLDEN_FILE[4:], "newer version.*flags 0x1"),
        (GOLDEN_FILE[:12], "ends inside the header"),
        (GOLDEN_FILE[:-1], "checksum"),
        (b"GNC\x01\0\0\0\0\x00\x01" + bytes(10), "width must lie in 1"),
        (b"GNC\x01\0\0\0\0\x81\x00\x01" + bytes(10), "invalid picture size"),
        (b"GNC\x01\0\0\0\0\xff\xff\xff\xff\x01\x01" + bytes(10), "invalid picture size"),
        (b"GNC\x01\0\0\0\0\x01\x01\x01\x04" + bytes(8), "quality_step must lie in 0 to 1024"),
    ],
)
def test_errors_name_what_is_wrong(data: bytes, text: str) -> None:
    with pytest.raises(BitstreamError, match=text):
        unpack(data)


def test_inspect_reports_a_wrong_checksum_without_raising() -> None:
    assert inspect(GOLDEN_FILE).checksum_ok
    inspection = inspect(GOLDEN_FILE[:-1] + b"?")
    assert not inspection.checksum_ok
    assert inspection.header == GOLDEN


@pytest.mark.parametrize(
    "change",
    [{"width": 0}, {"height": MAX_SIDE + 1}, {"quality_step": STEPS + 1}, {"latents_crc": -1}, {"model_id": b"abc"}],
)
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


def test_module_needs_only_the_standard_library() -> None:
    code = f"import sys, runpy; runpy.run_path({bitstream.__file__!r}); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "torch", "PIL", "click"} & set(run.stdout.split())
