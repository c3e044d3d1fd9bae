"""Classical codecs that Pillow brings along: JPEG, JPEG 2000, WebP and AVIF, AVIF also at its best."""

import io
from collections.abc import Callable
from typing import Literal

import PIL
from PIL import Image, features

from gencomp.kinds import open_image

from . import sample_format
from .baseline import Baseline, BaselineError, RateControl


def through_pillow(format: str, **options: object) -> Callable[[Image.Image], bytes]:
    """An encoder that writes an image in a Pillow format with fixed options."""

    def encode(image: Image.Image) -> bytes:
        stream = io.BytesIO()
        image.save(stream, format, **options)
        return stream.getvalue()

    return encode


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
        lambda image, q: through_pillow("JPEG", quality=round(q), optimize=True, subsampling="4:2:0")(image),
        decode_with_pillow, _pillow("JPEG", "jpg") + ", optimised tables", sample_format=sample_format.jpeg,
    )  # fmt: skip


def jpeg2000() -> Baseline:
    """OpenJPEG's 9/7 wavelet, one quality layer, a raw codestream; its rate control is the rate itself."""
    return Baseline(
        "jpeg2000", ".j2k", RateControl("bpp", 0.01, 8, positions=4000, geometric=True),
        lambda image, bpp: through_pillow(
            "JPEG2000", quality_mode="rates", quality_layers=[24 / bpp], irreversible=True, no_jp2=True)(image),
        decode_with_pillow, _pillow("JPEG 2000", "jpg_2000") + ", 9/7 wavelet, raw codestream",
        sample_format=lambda data: "4:4:4, 8 bits",
    )  # fmt: skip


def webp() -> Baseline:
    """libwebp at its slowest method; quality is continuous. The lossy format is always 4:2:0 (RFC 6386)."""
    return Baseline(
        "webp", ".webp", RateControl("quality", 0, 100, positions=1001),
        lambda image, q: through_pillow("WEBP", quality=q, method=6)(image),
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
        lambda image, q: through_pillow("AVIF", quality=round(q), **options)(image),
        decode_with_pillow, _pillow("AVIF", "avif") + f", speed {speed}{tuning}, 1 thread",
        sample_format=sample_format.avif, minimised=() if tune == "default" else (tune,),
        sketch=lambda image, q: len(through_pillow("AVIF", quality=round(q), **sketched)(image)),
    )  # fmt: skip
