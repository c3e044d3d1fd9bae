"""What a mutant is given to, and what may come out: an image, or one of the documented errors, in one line.

A target returns a short word for the outcome. Everything it raises is a finding.
"""

import contextlib
import ctypes
import io
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import archives
import mutate_file
import mutate_graph
import mutate_model
import numpy as np
from PIL import Image, UnidentifiedImageError

import gencomp
from gencomp import bitstream
from gencomp.bitstream import BitstreamError, Header, ModelError
from gencomp.codec import Codec, checksum
from gencomp.model import load_model
from gencomp.networks import network_of
from gencomp.runtime import open_runtime

MAX_PIXELS = 1 << 14
MODEL = mutate_file.TESTS / "golden" / "tiny.safetensors"


class Target(NamedTuple):
    """mutant: the input of an index's draw; run: what is tried on it."""

    mutant: Callable[[random.Random], bytes]
    run: Callable[[bytes], str]


class Finding(AssertionError):
    """Something that must not happen."""


def file_target() -> Target:
    """bitstream and Codec.decompress, all the way to pixels: files of forged latents are sealed and tried again."""
    codec, files = gencomp.load(MODEL), mutate_file.corpus()

    def run(data: bytes) -> str:
        outcome, image = _decompressed(codec, data)
        if outcome == "the decoded latents are not those that were encoded":
            data = _forged(codec, data)
            outcome, image = _decompressed(codec, data)
            outcome = f"forged: {outcome}"
        if image is not None:
            header, _ = bitstream.unpack(data)
            if image.size != (header.width, header.height) or image.mode not in {"RGB", "RGBA"}:
                raise Finding(f"an image {image.mode} of {image.size} from {header}")
        return outcome

    return Target(lambda draw: mutate_file.mutate(draw, files, codec.model_id), run)


def header_target() -> Target:
    """The readers that decode nothing: read_header, inspect, peek and Pillow's open and verify agree."""
    codec, files = gencomp.load(MODEL), mutate_file.corpus()

    def run(data: bytes) -> str:
        try:
            header, end = bitstream.read_header(data[: bitstream.MAX_HEADER_BYTES])
            seen = bitstream.inspect(data)
        except BitstreamError as error:
            _pillow(data, None)
            return _one_line(error)
        if header != seen.header or end > seen.sections["header"] + 4 or sum(seen.sections.values()) != len(data):
            raise Finding(f"{header} and {seen} of {len(data)} bytes")
        if bitstream.peek(io.BytesIO(data)) != (header, seen.extras):
            raise Finding("peek and inspect differ")
        payload = data[len(data) - seen.sections["payload"] :]
        if seen.checksum_ok and bitstream.pack(header, payload, seen.extras) != data:
            raise Finding("a file that was read is not what is written: two files for one image")
        _pillow(data, header if seen.checksum_ok else None)
        return "read" if seen.checksum_ok else "read, with a wrong checksum"

    return Target(lambda draw: mutate_file.mutate(draw, files, codec.model_id), run)


def model_target() -> Target:
    """Loading, the networks, both run-times, and a round trip by each; the known answer is set right where it fails."""
    files = mutate_model.corpus()
    image = np.random.default_rng(1).integers(0, 256, (20, 36, 3), dtype=np.uint8)
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")

    def run(data: bytes) -> str:
        path = Path(folder.name) / "model.safetensors"
        path.write_bytes(data)
        try:
            model = load_model(path)
        except ModelError as error:
            if len(data) == len(files[0]) and data[:8] == files[0][:8] and data == files[0]:
                raise Finding("a sound model is refused") from error
            return "refused: " + _one_line(error).replace(str(path), "").split(":", 1)[-1].strip()
        if any(len(f) == len(data) and _one_bit_apart(f, data) for f in files[:1]):
            raise Finding("a flipped bit went unseen")
        outcomes = []
        try:
            network_of(model)
            outcomes.append("network built")
        except ModelError as error:
            outcomes.append(_one_line(error))
        for name in ("torch", "onnx"):
            try:
                open_runtime(model, "cpu", name=name)
                try:
                    codec = Codec(model, "cpu", runtime=name)
                except ModelError:  # the integers are others: an attacker would write their known answer, too
                    model = model._replace(answer=model.entropy.known_answer("int64"))
                    codec = Codec(model, "cpu", runtime=name)
                back = codec.decompress(codec.compress(image, quality=50))
                outcomes.append("round trip" if back.size == (36, 20) else "another size")
            except (ModelError, BitstreamError) as error:
                outcomes.append(_one_line(error))
        return "; ".join(dict.fromkeys(outcomes))

    return Target(lambda draw: mutate_model.mutate(draw, files), run)


def onnx_target() -> Target:
    """Graphs inside model files: refused, or run without a file of the working folder being opened, and harmless by
    the judgement of another reader."""
    sound = MODEL.read_bytes()
    image = np.random.default_rng(1).integers(0, 256, (20, 36, 3), dtype=np.uint8)
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    path, here = Path(folder.name) / "model.safetensors", Path(folder.name) / "here"
    here.mkdir()
    for name in (mutate_graph.SECRET, "weights"):
        (here / name).write_bytes(bytes(1 << 16))
    (here / "link").symlink_to(mutate_graph.SECRET)

    def run(data: bytes) -> str:
        assert folder.name  # which lives as long as this function
        path.write_bytes(data)
        with contextlib.chdir(here), _nothing_opened_in(here):
            try:
                model = load_model(path)
            except ModelError as error:
                if data == sound:
                    raise Finding("a sound model is refused") from error
                return "refused: " + _one_line(error).split("refused:")[-1].strip()
            for graph in model.graphs.values():
                if why := mutate_graph.may_do_more_than_compute(graph.tobytes()):
                    raise Finding(f"a graph was accepted that holds {why}")
            try:
                codec = Codec(model, "cpu", runtime="onnx")
                back = codec.decompress(codec.compress(image, quality=50))
            except (ModelError, BitstreamError) as error:
                if data == sound:
                    raise Finding("a sound model fails") from error
                return "run: " + _one_line(error)[:60]
        return "round trip" if back.size == (36, 20) else "another size"

    return Target(lambda draw: mutate_graph.mutate(draw, sound), run)


TARGETS: dict[str, Callable[[], Target]] = {
    "file": file_target,
    "header": header_target,
    "model": model_target,
    "onnx": onnx_target,
    "tar": lambda: Target(*archives.target(archives.tar_file, archives.run_tar)),
    "parquet": lambda: Target(*archives.target(archives.parquet_file, archives.run_parquet)),
}


@contextlib.contextmanager
def _nothing_opened_in(folder: Path) -> Iterator[None]:
    """Finding where a file of the folder was opened meanwhile, by Python or by a library; Linux alone can tell."""
    if sys.platform != "linux":
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    watching = libc.inotify_init1(os.O_NONBLOCK)
    try:
        if watching < 0 or libc.inotify_add_watch(watching, os.fsencode(folder), 0x21) < 0:  # IN_ACCESS, IN_OPEN
            raise OSError(ctypes.get_errno(), "inotify")
        yield
        with contextlib.suppress(BlockingIOError):
            for name in (b"secret", b"weights", b"link"):
                if name in os.read(watching, 1 << 16):
                    raise Finding(f"{name.decode()} of the working folder was read")
    finally:
        os.close(watching)


def _decompressed(codec: Codec, data: bytes) -> tuple[str, Image.Image | None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "decoded", codec.decompress(data, max_pixels=MAX_PIXELS)
    except BitstreamError as error:
        return _one_line(error), None


def _forged(codec: Codec, data: bytes) -> bytes:
    """The file with the checksums of what its payload happens to decode to."""
    seen, coded = codec._read(data, MAX_PIXELS)
    return bitstream.pack(seen.header.sealed(checksum(coded.y_int)), seen.payload, seen.extras)


def _pillow(data: bytes, header: Header | None) -> None:
    """Pillow opens what has a header, verifies what has a right checksum, and says OSError to all else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=["GNC"])
            image.verify()
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return
    except OSError as error:
        _one_line(error)
        if header is not None and header.width * header.height <= bitstream.MAX_PIXELS:
            raise Finding(f"Pillow refuses a sound file: {error}") from error
        return
    if header is not None and image.size != (header.width, header.height):
        raise Finding(f"Pillow's size {image.size} of {header}")


def _one_bit_apart(a: bytes, b: bytes) -> bool:
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y), None)
    return at is not None and (a[at] ^ b[at]).bit_count() == 1 and a[at + 1 :] == b[at + 1 :]


def _one_line(error: Exception) -> str:
    text = str(error)
    if not text or "\n" in text:
        raise Finding(f"an error of no or several lines: {text!r}") from error
    if "not enough memory" in text:
        raise Finding(text) from error
    return text.split(" (")[0] if "latents are not" in text else text
