"""Pictures to .gnc files and back: the only place where bytes, integers and floats meet.

picture --g_a, tiled--> y --h_a--> z --integer prior--> payload --bitstream--> file
file --bitstream--> payload --integer prior--> y_int --/64, g_s, tiled--> picture
"""

import functools
import importlib.resources
import math
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from . import bitstream
from .bitstream import DEFAULT_QUALITY, MAX_PIXELS, STEPS, BitstreamError, Header, ModelError
from .entropy.constants import MEAN_UNIT, TILE
from .entropy.contract import Arithmetic, Coded, Latents
from .image import Source, read_image
from .model import Model, check_known_answer, load_model
from .networks.transforms import STRIDE
from .runtime.tiling import analyse, latent_size, synthesise

EMBEDDED = "gencomp-base"  # the model in the package


class Encoded(NamedTuple):
    """data: the file's bytes; entropy_bits: their ideal length by the decoder's tables; quality as stored."""

    data: bytes
    entropy_bits: float
    quality: float
    width: int
    height: int


class Verified(NamedTuple):
    """latents_ok: the decoded integers have the file's checksum; entropy_bits as in `Encoded`."""

    latents_ok: bool
    entropy_bits: float


class RateError(ValueError):
    """No quality gives a file as small as asked for."""


class Codec:
    """One model on one device. Safe to use again and again; every call stands alone.

    device: where the transforms run, "cpu", "cuda" or "auto"; what decides bits always runs on the CPU. tile: side of
    the tiles in pixels, a multiple of 16; None chooses by the picture's size.
    """

    def __init__(self, model: Model, device: str = "auto", tile: int | None = None) -> None:
        if tile is not None and (tile < STRIDE or tile % STRIDE):
            raise ValueError(f"tiles are a multiple of {STRIDE} pixels, not {tile}")
        self.device = _device(device)
        self.model_name, self.model_id = model.name, model.id
        self.knows_realism = bool(model.facts.get("realism", False))
        self._model = model
        self._tile = None if tile is None else tile // STRIDE
        self._network = model.network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._arithmetic = _exact_arithmetic(model)

    def compress(
        self,
        picture: Source,
        *,
        quality: float | None = None,
        bpp: float | None = None,
        bytes: int | None = None,
        max_pixels: int | None = MAX_PIXELS,
    ) -> bytes:
        """The picture as a .gnc file; see `encode`."""
        return self.encode(picture, quality=quality, bpp=bpp, bytes=bytes, max_pixels=max_pixels).data

    def encode(
        self,
        picture: Source,
        *,
        quality: float | None = None,
        bpp: float | None = None,
        bytes: int | None = None,
        max_pixels: int | None = MAX_PIXELS,
    ) -> Encoded:
        """Compress a picture and say what came out.

        picture: a Pillow image, an array, a path or an open file; brought to sRGB (see image.py). One of quality,
        1..100 (default 45, about 0.12 bpp on Kodak); bpp, bits a pixel of the file; bytes, its length: for the last
        two the largest quality whose file is at most that. RateError where even quality 1 is larger; ImageError for
        the picture.
        """
        if sum(v is not None for v in (quality, bpp, bytes)) > 1:
            raise ValueError("give one of quality, bpp and bytes")
        pixels = np.asarray(read_image(picture, max_pixels))
        height, width = pixels.shape[:2]
        if bpp is not None:
            bytes = math.floor(bpp * width * height / 8)
        if bytes is None:
            step = bitstream.quality_to_step(DEFAULT_QUALITY if quality is None else quality)
            coded = self._code(pixels, step)
        else:
            step, coded = _largest_step(lambda s: self._code(pixels, s), bytes - self._overhead(width, height), bytes)
        self._cross_check(coded, height, width, step)
        header = Header(self.model_id, width, height, step, checksum(coded.y_int))
        return Encoded(
            bitstream.pack(header, coded.payload), coded.bits, bitstream.step_to_quality(step), width, height
        )

    def decompress(
        self, data: bytes, *, realism: float | None = None, max_pixels: int | None = MAX_PIXELS
    ) -> Image.Image:
        """The picture in a .gnc file, mode RGB.

        realism: 0 is the least distortion, 1 (the default) the most realistic; a model that does not know it
        (`knows_realism`) warns that it has no effect. max_pixels: refuse larger pictures before any work. Raises
        BitstreamError for every file that does not decode exactly.
        """
        if realism is not None and not 0 <= realism <= 1:
            raise ValueError(f"realism must lie in 0 to 1, not {realism:g}")
        if realism is not None and not self.knows_realism:
            warnings.warn(f"the model {self.model_name} does not know realism: it has no effect", stacklevel=2)
        header, latents = self._read(data, max_pixels)
        if header.stored_crc(checksum(latents.y_int)) != header.latents_crc:
            raise BitstreamError("the decoded latents are not those that were encoded (another coder or a forged file)")
        y_hat = torch.from_numpy(latents.y_int).float().div_(MEAN_UNIT)
        strength = (1.0 if realism is None else realism) if self.knows_realism else 0.0
        size = (header.height, header.width)
        return Image.fromarray(synthesise(self._network, y_hat, size, header.quality_step, strength, self._tile))

    def verify(self, data: bytes, *, max_pixels: int | None = MAX_PIXELS) -> Verified:
        """Decode the integers alone and compare them with the file's checksum; BitstreamError as for `decompress`."""
        header, latents = self._read(data, max_pixels)
        return Verified(header.stored_crc(checksum(latents.y_int)) == header.latents_crc, latents.bits)

    def latents(self, data: bytes, *, max_pixels: int | None = MAX_PIXELS) -> np.ndarray:
        """The integer latents of a .gnc file, int32 [M, h, w], in units of 1/64; equal on every machine."""
        return self._read(data, max_pixels)[1].y_int

    def _read(self, data: bytes, max_pixels: int | None) -> tuple[Header, Coded]:
        header, payload = bitstream.unpack(data)
        if header.model_id != self.model_id:
            raise BitstreamError(
                f"written by another model (id {header.model_id.hex()}); this one is {self.model_name} "
                f"({self.model_id.hex()}): name the right one with --model or gencomp.load(...)"
            )
        if max_pixels is not None and header.width * header.height > max_pixels:
            raise BitstreamError(
                f"the picture is said to have {header.width}x{header.height} pixels, over the limit of {max_pixels}: "
                "raise max_pixels (--max-pixels) if you trust it"
            )
        height, width = latent_size(header.height, header.width)
        tile = TILE if self._tile is None else self._tile
        latents = self._model.integers.decode(
            payload, height, width, header.quality_step, tile=tile, arithmetic=self._arithmetic
        )
        return header, latents

    def _code(self, pixels: np.ndarray, step: int) -> Coded:
        y = analyse(self._network, pixels, step, self._tile)
        with torch.no_grad():
            z = self._network.prior.hyper_analysis(y[None].to(self.device))[0]
        tile = TILE if self._tile is None else self._tile
        latents = Latents(y.numpy(), z.cpu().numpy())
        return self._model.integers.encode(latents, step, tile=tile, arithmetic=self._arithmetic)

    def _cross_check(self, coded: Coded, height: int, width: int, step: int) -> None:
        """Read the payload back before anything is written, in other tiles, so that sums run in another order."""
        size = latent_size(height, width)
        back = self._model.integers.decode(coded.payload, *size, step, tile=48, arithmetic=self._arithmetic)
        if not np.array_equal(back.y_int, coded.y_int):
            raise ModelError("this machine did not decode its own file to the same latents: nothing was written")

    def _overhead(self, width: int, height: int) -> int:
        return len(bitstream.pack(Header(self.model_id, width, height, 0, 0), b""))


def checksum(y_int: np.ndarray) -> int:
    """CRC-32 of y_int as little-endian int32 in CHW order."""
    return zlib.crc32(np.ascontiguousarray(y_int, "<i4").data)


def load(model: str | Path | None = None, *, device: str = "auto", tile: int | None = None) -> Codec:
    """A codec: the embedded model, one by name in the package, a model file, or a hub id "user/name".

    ModelError where there is no such model or it fails its own checks.
    """
    return Codec(load_model(model_path(model)), device, tile)


def model_path(model: str | Path | None) -> Path:
    """Where a model named as in `load` lies on this disk; fetched from the hub if it is a hub id."""
    folder = importlib.resources.files("gencomp") / "weights"
    inside = Path(str(folder)) / f"{model or EMBEDDED}.safetensors"
    if model is None or (isinstance(model, str) and "/" not in model and inside.is_file()):
        return inside
    path = Path(model)
    if path.is_file() or not isinstance(model, str) or model.count("/") != 1 or path.suffix:
        return path
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(model, "model.safetensors"))
    except Exception as error:  # the hub's library raises a wide family: absent, offline, no access
        raise ModelError(f"no model file {model}, and the hub gives none: {str(error).splitlines()[0]}") from error


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError("no CUDA device here: use --device cpu")
    return torch.device(name)


def _exact_arithmetic(model: Model) -> Arithmetic:
    """The quicker arithmetic that passes the known-answer test here; ModelError if none does."""
    arithmetics: tuple[Arithmetic, ...] = ("float64", "int64")
    for arithmetic in arithmetics:
        if check_known_answer(model, arithmetic):
            return arithmetic
    raise ModelError("the model fails its known-answer test: it is damaged, or this machine cannot decode exactly")


def _largest_step(code: Callable[[int], Coded], payload_limit: int, limit: int) -> tuple[int, Coded]:
    """The largest step whose payload has at most payload_limit bytes, by interpolated bisection on log(bytes).

    Sizes rise with the step but for a byte here and there; where they do not, either of two neighbours may be found.
    """
    tried = functools.cache(code)

    def size(step: int) -> int:
        return len(tried(step).payload)

    low, high = 0, STEPS
    if size(low) > payload_limit:
        smallest = limit - payload_limit + size(low)
        raise RateError(
            f"the smallest file of this picture has {smallest} bytes (quality 1), over the {limit} asked for"
        )
    if size(high) <= payload_limit:
        return high, tried(high)
    while high - low > 1:
        span = math.log(max(size(high), 1) + 1) - math.log(size(low) + 1)
        share = (math.log(payload_limit + 1) - math.log(size(low) + 1)) / span if span > 0 else 0.5
        guess = low + round((high - low) * min(0.95, max(0.05, share)))
        guess = min(max(guess, low + 1), high - 1)
        low, high = (guess, high) if size(guess) <= payload_limit else (low, guess)
    return low, tried(low)
