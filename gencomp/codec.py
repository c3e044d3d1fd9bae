"""Images to .gnc files and back: the only place where bytes, integers and floats meet.

image --runtime.analyze--> y, z --entropy.encode--> payload --bitstream.pack--> file
file --bitstream.inspect--> payload --entropy.decode--> y_int --/64, runtime.synthesize--> image
"""

import contextlib
import functools
import importlib.resources
import math
import warnings
import zlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
from PIL import Image

from gencomp import alpha, bitstream
from gencomp.bitstream import (
    DEFAULT_QUALITY,
    FORMAT_VERSION,
    MAX_PIXELS,
    SECTIONS_VERSION,
    BitstreamError,
    Header,
    Inspection,
    ModelError,
)
from gencomp.eager import eager
from gencomp.effort import AIMS, checked_aim, steps_of
from gencomp.entropy.constants import MEAN_UNIT, TILE
from gencomp.entropy.contract import Arithmetic, Coded, Evaluation, Latents, Quantizer
from gencomp.image import ImageError, Source, read_image, warn_if_large
from gencomp.machine import memory_for
from gencomp.metadata import to_info
from gencomp.model import Model, load_model
from gencomp.once import making
from gencomp.rate_search import LARGE, largest_step, largest_step_by_sketch, sketch_of
from gencomp.regions import region
from gencomp.runtime import open_runtime
from gencomp.runtime.tiling import latent_size

if TYPE_CHECKING:
    from gencomp.refine.encode import Gain, Refined
    from gencomp.refine.refine import Progress
    from gencomp.runtime.torch import TorchRuntime

EMBEDDED = "gencomp-base"  # the model in the package
_LOADED: WeakValueDictionary[tuple[object, ...], "Codec"] = WeakValueDictionary()
TILE_UNIT = 16  # pixels that a tile's side must be a multiple of: the smallest stride of a model


class Encoded(NamedTuple):
    """data: the file's bytes; entropy_bits: their ideal length by the decoder's tables; quality as stored; gain: what
    an effort above 0 won."""

    data: bytes
    entropy_bits: float
    quality: float
    width: int
    height: int
    gain: "Gain | None" = None


class Verified(NamedTuple):
    """latents_ok: the decoded integers have the file's checksum; entropy_bits as in `Encoded`."""

    latents_ok: bool
    entropy_bits: float


class RateError(ValueError):
    """No quality gives a file as small as asked for."""


class Codec:
    """One model in one run-time. Safe to use again and again; every call stands alone.

    device: where the transforms run, "cpu", "cuda" or "auto"; what decides bits always runs on the CPU. tile: side of
    the tiles in pixels, a multiple of 16; None chooses by the image's size. runtime: "onnx", "torch", or "auto", which
    is ONNX Runtime on a CPU where the model has its graphs.
    """

    @eager
    def __init__(self, model: Model, device: str = "auto", tile: int | None = None, *, runtime: str = "auto") -> None:
        if tile is not None and (tile < TILE_UNIT or tile % TILE_UNIT):
            raise ValueError(f"tiles are a multiple of {TILE_UNIT} pixels, not {tile}")
        side = None if tile is None else max(1, tile // model.stride)
        self.model = model
        self.runtime = open_runtime(model, device, side, runtime)
        self.model_name, self.model_id = model.name, model.id
        self.knows_realism = bool(model.facts.get("realism", False))
        self._how = Evaluation(TILE if side is None else side, _exact_arithmetic(model))
        self._differentiable: TorchRuntime | None = None

    @property
    def device(self) -> str:
        """Where the transforms run, "cpu" or "cuda"."""
        return self.runtime.device

    def compress(self, image: Source, **options: Any) -> bytes:
        """The image as a .gnc file. options: those of `encode`, as in compress(image, quality=30)."""
        return self.encode(image, **options).data

    @eager
    def encode(
        self,
        image: Source,
        *,
        quality: float | None = None,
        bpp: float | None = None,
        bytes: int | None = None,
        max_pixels: int | None = MAX_PIXELS,
        keep: Collection[str] = (),
        background: str | None = None,
        extras: Mapping[int, bytes] | None = None,
        effort: int = 0,
        aim: str = AIMS[0],
        progress: "Progress | None" = None,
    ) -> Encoded:
        """Compress an image and say what came out.

        image: a Pillow image, an array, a path or an open file; brought to sRGB (see image.py). One of quality,
        1..100 (default 45, about 0.16 bpp on Kodak); bpp, bits per pixel of the file; bytes, its length: for the last
        two the largest quality whose file is at most that (above 1.5 megapixels nearly the largest: a sketch says where
        to look). keep: names of metadata to keep (metadata.py); extras: further sections by kind. Alpha is kept without
        loss (alpha.py), unless background, a colour as Pillow names it, is given to composite the image on.
        effort, 0..9: above 0 the latents are refined for this image, for a better image in fewer bits (refine/); needs
        torch, and decoders are as before. aim: what it is better by, "realism" (the image at realism 1, by what people
        see; more so where `gencomp weights --download` has put feature networks) or "pixels" (the image at realism 0,
        by PSNR and MS-SSIM). progress(done, total) is told of each step of that. RateError where even quality 1 is
        larger; ImageError for the image; WeightsError for a feature network that is broken.
        """
        if sum(v is not None for v in (quality, bpp, bytes)) > 1:
            raise ValueError("give one of quality, bpp and bytes")
        if bpp is not None and not 0 < bpp < math.inf:
            raise ValueError(f"bpp must be a positive number, not {bpp:g}")
        steps_of(effort), checked_aim(aim)  # ValueError for what is neither
        seen, kept = alpha.read_with_alpha(image, keep, max_pixels, background)
        pixels, sections = np.asarray(seen), {**kept, **(extras or {})}
        height, width = pixels.shape[:2]
        header = Header(self.model_id, width, height, 0, 0, SECTIONS_VERSION if sections else FORMAT_VERSION)
        if bpp is not None:
            bytes = math.floor(bpp * width * height / 8)
        room = None if bytes is None else bitstream.payload_room(bytes, header, sections)
        gain = None
        with memory_for(width, height, ImageError):
            if room is None or bytes is None:
                quality_step = bitstream.quality_to_step(DEFAULT_QUALITY if quality is None else quality)
                coded = self._code(pixels, quality_step, check=True)
            else:
                quality_step, coded = self._search(pixels, room, bytes)
            if effort:
                quality_step, coded, gain = self._refine(pixels, quality_step, coded, room, effort, aim, progress)
        header = replace(header, quality_step=quality_step).sealed(checksum(coded.y_int))
        data = bitstream.pack(header, coded.payload, sections)
        return Encoded(data, coded.bits, bitstream.step_to_quality(quality_step), width, height, gain)

    @eager
    def size(self, image: Source, quality: float, *, max_pixels: int | None = MAX_PIXELS) -> int:
        """Bytes of the file at a quality, for a search of one's own: what is not kept is not checked."""
        seen, sections = alpha.read_with_alpha(image, (), max_pixels)
        version = SECTIONS_VERSION if sections else FORMAT_VERSION
        header = Header(self.model_id, seen.width, seen.height, 0, 0, version)
        coded = self._code(np.asarray(seen), bitstream.quality_to_step(quality))
        return len(bitstream.pack(header, coded.payload, sections))

    @eager
    def decompress(
        self, data: bytes | Inspection, *, realism: float | None = None, max_pixels: int | None = MAX_PIXELS
    ) -> Image.Image:
        """The image in a .gnc file, mode RGB, or RGBA where it keeps alpha; `info` holds the metadata that it keeps.

        data: the file's bytes, or what bitstream.py has read of them, the payload too. realism: 0 is the least
        distortion, 1 (the default) the most realistic; a model that does not know it (`knows_realism`) warns that it
        has no effect. max_pixels: refuse larger images before any work. Raises BitstreamError for every file that does
        not decode exactly.
        """
        if realism is not None and not 0 <= realism <= 1:
            raise ValueError(f"realism must lie in 0 to 1, not {realism:g}")
        if realism is not None and not self.knows_realism:
            warnings.warn(f"the model {self.model_name} does not know realism: it has no effect", stacklevel=3)
        file, y_int = self._exact(data, max_pixels)
        header = file.header
        with memory_for(header.width, header.height, BitstreamError), region("synthesis"):
            image = self._shown(y_int, (header.height, header.width), header.quality_step, realism)
        image.info.update(to_info(file.extras))
        return alpha.with_alpha(image, file.extras.get(alpha.KIND))

    @eager
    def round_trip(
        self, image: Source, *, quality: float = DEFAULT_QUALITY, realism: float | None = None
    ) -> Image.Image:
        """What `compress` and then `decompress` show, without the file: nothing is range coded, and nothing checked.

        quality, realism: as there. For uses that want the codec's look and no bytes, such as augmentation.
        """
        pixels, quality_step = np.asarray(read_image(image)), bitstream.quality_to_step(quality)
        latents = self.runtime.analyze(pixels, quality_step)
        entropy = self.model.entropy
        if isinstance(entropy, Quantizer):
            y_int = entropy.quantize(latents, quality_step, self._how)
        else:
            y_int = entropy.encode(latents, quality_step, self._how).y_int
        return self._shown(y_int, pixels.shape[:2], quality_step, realism)

    @eager
    def sample(
        self, width: int, height: int, *, quality: float = DEFAULT_QUALITY, realism: float | None = None, seed: int = 0
    ) -> Image.Image:
        """An image drawn from what the model expects of images: latents from its own prior, decoded.

        A network with a prior of its own to draw from (a variational autoencoder) gives latents by that; else they are
        what random bits decode to. quality, realism: as in `compress` and `decompress`. seed: equal ones give equal
        images on one machine. ModelError for a model that cannot be drawn from.
        """
        from gencomp.sampling import draw_latents

        if width < 1 or height < 1 or width * height > MAX_PIXELS:
            raise ValueError(f"an image of {width}x{height} pixels cannot be drawn: 1 to {MAX_PIXELS} pixels")
        quality_step = bitstream.quality_to_step(quality)
        with memory_for(width, height, ImageError):
            size = latent_size(height, width, self.model.stride)
            y_hat = draw_latents(self.model, *size, quality_step, seed, self._how)
            shown = self.runtime.synthesize(y_hat, (height, width), quality_step, self.strength(realism))
            return Image.fromarray(shown)

    @eager
    def verify(self, data: bytes | Inspection, *, max_pixels: int | None = MAX_PIXELS) -> Verified:
        """Decode the integers alone and compare them with the file's checksum; BitstreamError as for `decompress`."""
        file, coded = self._read(data, max_pixels)
        return Verified(file.header.stored_crc(checksum(coded.y_int)) == file.header.latents_crc, coded.bits)

    @eager
    def latents(self, data: bytes | Inspection, *, max_pixels: int | None = MAX_PIXELS) -> npt.NDArray[np.int32]:
        """The integer latents of a .gnc file, int32 [M, h, w], in units of 1/64; equal on every machine."""
        return self._exact(data, max_pixels)[1]

    def _exact(self, data: bytes | Inspection, max_pixels: int | None) -> tuple[Inspection, npt.NDArray[np.int32]]:
        file, coded = self._read(data, max_pixels)
        if file.header.stored_crc(checksum(coded.y_int)) != file.header.latents_crc:
            raise BitstreamError("the decoded latents are not those that were encoded (another coder or a forged file)")
        return file, coded.y_int

    def strength(self, realism: float | None) -> float:
        """The realism that the synthesis is given."""
        return (1.0 if realism is None else realism) if self.knows_realism else 0.0

    def _shown(
        self, y_int: npt.NDArray[np.int32], size: tuple[int, int], quality_step: int, realism: float | None
    ) -> Image.Image:
        """The image of decoded latents; size: height, width."""
        y_hat = y_int.astype(np.float32) / np.float32(MEAN_UNIT)
        return Image.fromarray(self.runtime.synthesize(y_hat, size, quality_step, self.strength(realism)))

    def _read(self, data: bytes | Inspection, max_pixels: int | None) -> tuple[Inspection, Coded]:
        file = (data if isinstance(data, Inspection) else bitstream.inspect(data)).checked()
        header = file.header
        if header.model_id != self.model_id:
            raise BitstreamError(
                f"written by another model (id {header.model_id.hex()}); this one is {self.model_name} "
                f"({self.model_id.hex()}): name the right one with --model or gencomp.load(...)"
            )
        if max_pixels is not None and header.width * header.height > max_pixels:
            raise BitstreamError(
                f"the file claims {header.width}x{header.height} pixels, over the limit of {max_pixels}: "
                "raise max_pixels (--max-pixels) if you trust it"
            )
        warn_if_large(header.width, header.height, max_pixels)
        latents = latent_size(header.height, header.width, self.model.stride)
        with memory_for(header.width, header.height, BitstreamError):
            return file, self.model.entropy.decode(file.payload, *latents, header.quality_step, self._how)

    def _code(self, pixels: npt.NDArray[np.uint8], quality_step: int, check: bool = False) -> Coded:
        """check: for what is going to be kept; see `EntropyModel.encode`."""
        latents = self.runtime.analyze(pixels, quality_step)
        try:
            return self.model.entropy.encode(latents, quality_step, self._how._replace(check=check))
        except ModelError:
            raise
        except ValueError as error:  # its own transforms gave what it cannot code
            raise ModelError(f"the parts of the model do not fit together: {error}") from error

    def _search(self, pixels: npt.NDArray[np.uint8], room: int, limit: int) -> tuple[int, Coded]:
        """The largest step whose payload has at most `room` bytes, and what is kept; limit: of the file, as asked."""
        large = pixels.shape[0] * pixels.shape[1] > LARGE
        coded = functools.cache(functools.partial(self._code, pixels, check=large))

        def size(step: int) -> int:
            return len(coded(step).payload)

        if large:
            sketch = sketch_of(pixels)
            share = sketch.size / pixels.size
            step = largest_step_by_sketch(size, lambda step: len(self._code(sketch, step).payload), share, room)
        else:
            step = largest_step(size, room)
        if step is None:
            smallest = f"the smallest file of this image has {limit - room + size(0)} bytes"
            raise RateError(f"{smallest} (quality 1), over the {limit} asked for")
        kept = coded(step) if large else self._code(pixels, step, check=True)
        if kept.payload != coded(step).payload:
            raise ModelError("coding the image twice gave different files on this machine: nothing was written")
        return step, kept

    def _refine(self, pixels: npt.NDArray[np.uint8], quality_step: int, plain: Coded, *wanted: Any) -> "Refined":
        """What the latents give when they are refined, starting from a plain coding; wanted: as `encode_refined`."""
        from gencomp.refine.encode import encode_refined

        def code(latents: Latents, step: int) -> Coded:
            return self.model.entropy.encode(latents, step, self._how._replace(check=True))

        with region("refinement"):
            return encode_refined(self.model, self._torch, code, pixels, quality_step, plain, *wanted)

    @property
    def _torch(self) -> "TorchRuntime":
        """The transforms where they can be differentiated."""
        from gencomp.runtime.torch import torch_runtime

        with making:
            if self._differentiable is None:
                self._differentiable = torch_runtime(self.runtime, self.model)
            return self._differentiable

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_differentiable": None}


@eager
def load(
    model: str | Path | None = None, *, device: str = "auto", tile: int | None = None, runtime: str = "auto"
) -> Codec:
    """A codec: the embedded model, one by name in the package, a model file, or a hub id "user/name".

    Calls with the same arguments give the same codec as long as somebody holds it, in any number of threads. ModelError
    where there is no such model or it fails its own checks.
    """
    path = model_path(model)
    with making, contextlib.suppress(FileNotFoundError):  # which load_model says better
        file = path.stat()
        key = str(path), file.st_ino, file.st_size, file.st_mtime_ns, device, tile, runtime
        codec = _LOADED.get(key)
        if codec is None:
            codec = _LOADED[key] = Codec(load_model(path), device, tile, runtime=runtime)
        return codec
    return Codec(load_model(path), device, tile, runtime=runtime)


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


def checksum(y_int: npt.NDArray[np.int32]) -> int:
    """CRC-32 of y_int as little-endian int32 in CHW order."""
    return zlib.crc32(np.ascontiguousarray(y_int, "<i4").data)


def _exact_arithmetic(model: Model) -> Arithmetic:
    """The quicker arithmetic that passes the known-answer test here; ModelError if none does."""
    arithmetic: Arithmetic
    for arithmetic in ("float64", "int64"):
        if model.entropy.known_answer(arithmetic) == model.answer:
            return arithmetic
    raise ModelError("the model fails its known-answer test: it is damaged, or this machine cannot decode exactly")
