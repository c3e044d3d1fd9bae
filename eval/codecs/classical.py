"""Classical codecs that Pillow brings along: JPEG, JPEG 2000, WebP and AVIF, AVIF also at its best.

Chroma format and bit depth are as the files say them themselves: a table shows what was coded, not what was asked.
"""

import io
import struct
from typing import Literal

import PIL
from PIL import Image, features

from gencomp.kinds import open_image, saved

from .baseline import Baseline, BaselineError, RateControl


def decode_with_pillow(data: bytes, realism: float = 1.0) -> Image.Image:
    """An image from the bytes of any format that Pillow reads, as RGB."""
    with open_image(io.BytesIO(data)) as image:
        return image.convert("RGB")


def _pillow(name: str, module: str) -> str:
    """The version line of a Pillow codec. Raises BaselineError where this Pillow was built without it."""
    if not features.check(module):
        raise BaselineError(f"this Pillow was built without {name}; its wheels on the package index have it")
    return f"Pillow {PIL.__version__}, {module} {features.version(module)}"


def jpeg() -> Baseline:
    """Baseline JPEG of libjpeg-turbo, optimised Huffman tables, 4:2:0."""
    return Baseline(
        "jpeg", ".jpg", RateControl("quality", 1, 100),
        lambda image, q: saved(image, "JPEG", quality=round(q), optimize=True, subsampling="4:2:0"),
        decode_with_pillow, _pillow("JPEG", "jpg") + ", optimised tables", sample_format=jpeg_format,
    )  # fmt: skip


def jpeg2000() -> Baseline:
    """OpenJPEG's 9/7 wavelet, one quality layer, a raw codestream; its rate control is the rate itself."""
    return Baseline(
        "jpeg2000", ".j2k", RateControl("bpp", 0.01, 8, positions=4000, geometric=True),
        lambda image, bpp: saved(
            image, "JPEG2000", quality_mode="rates", quality_layers=[24 / bpp], irreversible=True, no_jp2=True),
        decode_with_pillow, _pillow("JPEG 2000", "jpg_2000") + ", 9/7 wavelet, raw codestream",
        sample_format=lambda data: "4:4:4, 8 bits",
    )  # fmt: skip


def webp() -> Baseline:
    """libwebp at its slowest method; quality is continuous. The lossy format is always 4:2:0 (RFC 6386)."""
    return Baseline(
        "webp", ".webp", RateControl("quality", 0, 100, positions=1001),
        lambda image, q: saved(image, "WEBP", quality=q, method=6),
        decode_with_pillow, _pillow("WebP", "webp") + ", method 6", sample_format=lambda data: "4:2:0, 8 bits",
    )  # fmt: skip


AVIF_SPEED, AVIF_SLOW = 4, 1  # speed 0 takes three times as long as 1
AVIF_SKETCH = 8  # a fourteenth of the time of speed 4 for sizes 6 % smaller to 22 % larger, alike at like qualities


def avif(
    tune: Literal["default", "psnr", "ssim"] = "default", *, full_chroma: bool = False, speed: int = AVIF_SPEED
) -> Baseline:
    """libavif with the AV1 encoder that Pillow has; one thread, so that bytes do not depend on the machine.

    tune: what the encoder optimises, or its own choice (libaom's `iq` for still images since libavif 1.3). full_chroma:
    4:4:4 in place of 4:2:0.
    """
    options: dict[str, object] = {"speed": speed, "max_threads": 1}
    options["subsampling"] = "4:4:4" if full_chroma else "4:2:0"
    if tune != "default":
        options["advanced"] = [("tune", tune)]
    name = "avif" + ("-444" if full_chroma else "") + (f"-{tune}" if tune != "default" else "")
    name += "-slow" if speed == AVIF_SLOW else ""
    sketched = options | {"speed": AVIF_SKETCH}
    tuning = "" if tune == "default" else f", tune={tune}"
    return Baseline(
        name, ".avif", RateControl("quality", 0, 100),
        lambda image, q: saved(image, "AVIF", quality=round(q), **options),
        decode_with_pillow, _pillow("AVIF", "avif") + f", speed {speed}{tuning}, 1 thread",
        sample_format=avif_format, minimised=() if tune == "default" else (tune,),
        sketch=lambda image, q: len(saved(image, "AVIF", quality=round(q), **sketched)),
    )  # fmt: skip


_AV1_SUBSAMPLING = {(0, 0): "4:4:4", (1, 0): "4:2:2", (1, 1): "4:2:0"}
_JPEG_SUBSAMPLING = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0"}


def avif_format(data: bytes) -> str:
    """From the codec configuration box `av1C` (AV1 in ISOBMFF 2.3.3); "" where there is none."""
    start = data.find(b"av1C")
    if start < 0 or len(data) < start + 7:
        return ""
    flags = data[start + 6]
    depth = (12 if flags & 0x20 else 10) if flags & 0x40 else 8
    if flags & 0x10:
        return f"grey, {depth} bits"
    return f"{_AV1_SUBSAMPLING.get((flags >> 3 & 1, flags >> 2 & 1), 'unknown chroma')}, {depth} bits"


def jpeg_format(data: bytes) -> str:
    """From the frame header SOF (ITU-T T.81 B.2.2): sampling factors of luma against chroma; "" where there is none."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            depth, components = data[at + 4], data[at + 9]
            if components == 1:
                return f"grey, {depth} bits"
            factors = [(f >> 4, f & 15) for f in data[at + 11 : at + 10 + 3 * components : 3]]
            across, down = (factors[0][k] // max(1, factors[1][k]) for k in (0, 1))
            return f"{_JPEG_SUBSAMPLING.get((across, down), 'other chroma')}, {depth} bits"
        at += 2 + length
    return ""


def ffmpeg_format(name: str) -> str:
    """An ffmpeg pixel format such as yuv420p10le in words; "" for one that is none of luma and chroma."""
    for code, words in (("yuv420p", "4:2:0"), ("yuv422p", "4:2:2"), ("yuv444p", "4:4:4"), ("yuvj420p", "4:2:0")):
        if name.startswith(code):
            depth = name.removeprefix(code).removesuffix("le").removesuffix("be") or "8"
            return f"{words}, {depth} bits"
    return ""
