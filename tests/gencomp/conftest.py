"""A stand-in for the codec, without a network: quality decides how many bits of each pixel are kept."""

import sys
import types
import zlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import gencomp
from gencomp import bitstream, pillow
from gencomp.alpha import KIND, read_with_alpha, with_alpha
from gencomp.bitstream import BitstreamError, Header, Inspection, ModelError, inspect, pack
from gencomp.codec import Codec, Encoded, Verified
from gencomp.metadata import to_info
from gencomp.model import Model, load_model

MODEL_ID = b"fake"
TINY = Path(__file__).parent.parent / "golden" / "tiny.safetensors"


class FakeCodec:
    """Codec's interface; files hold zlib-packed pixels."""

    model_name, model_id, knows_realism = "fake", MODEL_ID, False
    runtime = types.SimpleNamespace(name="none")

    def encode(
        self,
        image: Any,
        *,
        quality: float | None = None,
        bpp: float | None = None,
        bytes: int | None = None,
        max_pixels: int | None = bitstream.MAX_PIXELS,
        keep: Collection[str] = (),
        background: str | None = None,
        extras: Mapping[int, bytes] | None = None,
        effort: int = 0,
        aim: str = "realism",
        progress: Any = None,
    ) -> Encoded:
        image, kept = read_with_alpha(image, keep, max_pixels, background)
        pixels, sections = np.asarray(image), {**kept, **(extras or {})}
        height, width = pixels.shape[:2]
        limit = bytes if bytes is not None else None if bpp is None else int(bpp * width * height / 8)
        tried = range(100, 0, -1) if limit is not None else [quality or bitstream.DEFAULT_QUALITY]
        for tried_quality in tried:
            rounded = (pixels & np.uint8(0xFF00 >> round(8 * tried_quality / 100) & 0xFF)).tobytes()
            step = bitstream.quality_to_step(tried_quality)
            header = Header(MODEL_ID, width, height, step, 0, 2 if sections else 1).sealed(zlib.crc32(rounded))
            data = pack(header, zlib.compress(rounded), sections)
            if limit is None or len(data) <= limit:
                return Encoded(data, 8.0 * len(data), bitstream.step_to_quality(step), width, height)
        raise ValueError(f"no quality gives at most {limit} bytes")

    def compress(self, image: Any, **asked: Any) -> bytes:
        return self.encode(image, **asked).data

    def decompress(
        self, data: bytes | Inspection, *, realism: float = 1.0, max_pixels: int | None = bitstream.MAX_PIXELS
    ) -> Image.Image:
        file = read(data)
        header = file.header
        if header.model_id != MODEL_ID:
            raise ModelError("the file needs another model")
        if max_pixels is not None and header.width * header.height > max_pixels:
            raise BitstreamError("the image is larger than the limit")
        image = Image.frombytes("RGB", (header.width, header.height), zlib.decompress(file.payload))
        image.info.update(to_info(file.extras))
        return with_alpha(image, file.extras.get(KIND))

    def verify(self, data: bytes | Inspection, *, max_pixels: int | None = bitstream.MAX_PIXELS) -> Verified:
        file = read(data)
        crc = zlib.crc32(zlib.decompress(file.payload))
        return Verified(file.header.stored_crc(crc) == file.header.latents_crc, 8.0 * len(file.payload))


def read(data: bytes | Inspection) -> Inspection:
    return (data if isinstance(data, Inspection) else inspect(data)).checked()


@pytest.fixture
def fake_codec(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCodec]:
    """`gencomp.codec` whose `load` gives one FakeCodec, also to the Pillow plugin."""
    codec = FakeCodec()

    def load(model: Any = None, *, device: str = "auto") -> FakeCodec:
        if model is not None:
            raise ModelError(f"{model}: no such model")
        return codec

    module = types.ModuleType("gencomp.codec")
    vars(module).update(load=load, Codec=FakeCodec, Encoded=Encoded, Verified=Verified)
    vars(module).update(model_path=lambda model: Path(str(model)))
    monkeypatch.setitem(sys.modules, "gencomp.codec", module)
    monkeypatch.setattr(gencomp, "codec", module, raising=False)
    pillow._loaded.cache_clear()
    yield codec
    pillow._loaded.cache_clear()


@pytest.fixture(scope="session")
def model() -> Model:
    return load_model(TINY)


@pytest.fixture(scope="session")
def codec(model: Model) -> Codec:
    """Of the golden files."""
    return Codec(model, "cpu")


@pytest.fixture
def photo() -> Image.Image:
    """A made-up image of 40x30 with edges and noise."""
    pixels = np.random.default_rng(1).integers(0, 40, (30, 40, 3), dtype=np.uint8)
    pixels[10:20, 5:30] += 150
    return Image.fromarray(pixels)
