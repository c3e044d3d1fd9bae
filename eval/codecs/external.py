"""Codecs of the extra `baselines`: jpegli, JPEG XL through imagecodecs, HEVC and VVC intra through imageio's ffmpeg.

HEVC and VVC files are elementary streams without a container. Their 4:2:0 knows even sides alone: an odd side is padded
by its last row or column, and one byte before the stream (1: width, 2: height, 3: both; no stream begins so) tells the
decoder to cut it. The program is started anew for each file; the time of its start is part of the seconds.
"""

import re
import subprocess
from dataclasses import replace

import numpy as np
from PIL import Image

from .baseline import Baseline, BaselineError, RateControl
from .classical import decode_with_pillow, ffmpeg_format, jpeg_format

REMEDY = "install it with: pip install 'gencomp[baselines]'"
SCALE = "flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"


def jpegli() -> Baseline:
    """JPEG files by libjxl's encoder jpegli, at its own defaults; any JPEG decoder reads them."""
    try:
        import pyjpegli
    except ImportError as error:
        raise BaselineError(f"pyjpegli is not installed; {REMEDY}") from error
    return Baseline(
        "jpegli", ".jpg", RateControl("quality", 1, 100),
        lambda image, q: bytes(pyjpegli.encode(image.tobytes(), image.width, image.height, quality=round(q))),
        decode_with_pillow, f"pyjpegli {pyjpegli.__version__}", sample_format=jpeg_format,
    )  # fmt: skip


def jpegxl() -> Baseline:
    """libjxl, lossy, effort 7; its rate control is the distance in just noticeable differences, 25 at most."""
    try:
        import imagecodecs
    except ImportError as error:
        raise BaselineError(f"imagecodecs is not installed; {REMEDY}") from error
    return Baseline(
        "jpegxl", ".jxl", RateControl("distance", 25, 0.1, positions=2000, geometric=True),
        lambda image, distance: bytes(imagecodecs.jpegxl_encode(np.asarray(image), distance=distance, effort=7)),
        lambda data, realism: Image.fromarray(imagecodecs.jpegxl_decode(data)),
        f"imagecodecs {imagecodecs.__version__}, {imagecodecs.jpegxl_version()}, effort 7",
        sample_format=lambda data: "XYB 4:4:4, float",
    )  # fmt: skip


def hevc(full_chroma: bool = False) -> Baseline:
    """HEVC intra by x265: preset slow, tuned for PSNR, 10 bits, full-range BT.709; 4:2:0, or 4:4:4."""
    options = ["-c:v", "libx265", "-preset", "slow", "-tune", "psnr"]
    options += ["-x265-params", "log-level=none:info=0:pools=1:frame-threads=1"]
    control = RateControl("crf", 51, 1, positions=201)
    name, pixels = ("hevc-444", "yuv444p10le") if full_chroma else ("hevc", "yuv420p10le")
    return _ffmpeg(name, "hevc", control, [*options, "-pix_fmt", pixels], "-crf", "x265 slow, tune psnr")


def vvc() -> Baseline:
    """VVC intra by vvenc: preset medium, without perceptual adaptation, 10 bits, full-range BT.709, 4:2:0. vvenc has no
    4:4:4."""
    control, common = RateControl("qp", 63, 1), ["-qpa", "0", "-threads", "1", "-pix_fmt", "yuv420p10le"]
    made = []
    for preset in ("medium", "faster"):  # a fifteenth of the time, and sizes 5 % larger
        options = ["-c:v", "libvvenc", "-preset", preset, *common]
        made.append(_ffmpeg("vvc", "vvc", control, options, "-qp", f"vvenc {preset}, qpa 0"))
    return replace(made[0], sketch=lambda image, setting: len(made[1].encode(image, setting)))


def _ffmpeg(
    name: str, format: str, rate_control: RateControl, options: list[str], rate_option: str, note: str
) -> Baseline:
    """A still-image codec made of an ffmpeg encoder and the elementary stream `format`."""
    program = _program(options[1])

    def encode(image: Image.Image, setting: float) -> bytes:
        across, down = image.width % 2, image.height % 2
        pixels = np.pad(np.asarray(image), ((0, down), (0, across), (0, 0)), mode="edge")
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{pixels.shape[1]}x{pixels.shape[0]}", "-i", "-"]
        colour = ["-vf", f"scale=out_color_matrix=bt709:out_range=full:{SCALE}"]
        stream = ["-frames:v", "1", *options, rate_option, f"{setting:g}", "-f", format, "-"]
        odd = bytes([across | down << 1]) if across or down else b""
        return odd + _run([program, *source, *colour, *stream], pixels.tobytes())

    def decode(data: bytes, realism: float) -> Image.Image:
        # PPM carries the size that the stream alone knows.
        colour = ["-vf", f"scale=in_color_matrix=bt709:in_range=full:{SCALE}", "-pix_fmt", "rgb24"]
        out = ["-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "-"]
        odd, stream = _parted(data)
        ppm = _run([program, "-f", format, "-i", "-", *colour, *out], stream)
        header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", ppm)
        if header is None:
            raise RuntimeError("ffmpeg returned no image")
        width, height = int(header[1]), int(header[2])
        image = Image.frombytes("RGB", (width, height), ppm[header.end() :])
        return image.crop((0, 0, width - (odd & 1), height - (odd >> 1))) if odd else image

    def chroma(data: bytes) -> str:
        command = [program, "-hide_banner", "-f", format, "-i", "-"]  # it says what it reads, and fails without output
        done = subprocess.run(command, input=_parted(data)[1], capture_output=True, check=False, timeout=60)
        found = re.search(rb"Video: [^\n]*?\b(yuvj?4\d\dp\w*)", done.stderr)
        return ffmpeg_format(found[1].decode() if found else "")

    version = _run([program, "-version"], b"").decode(errors="replace").split()[2]
    note = f"ffmpeg {version}, {note}, intra, 1 thread, no container"
    return Baseline(name, f".{format}", rate_control, encode, decode, note, sample_format=chroma, minimised=("psnr",))


def _parted(data: bytes) -> tuple[int, bytes]:
    """The byte of odd sides (0 where there is none: a stream begins with a zero) and the stream."""
    return (data[0], data[1:]) if data[:1] in (b"\1", b"\2", b"\3") else (0, data)


def _program(encoder: str) -> str:
    try:
        import imageio_ffmpeg

        program = str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise BaselineError(f"imageio-ffmpeg is not installed; {REMEDY}") from error
    if encoder not in _run([program, "-encoders"], b"").decode(errors="replace"):
        raise BaselineError(f"the ffmpeg of imageio-ffmpeg was built without {encoder}; a newer release of it has it")
    return program


def _run(command: list[str], data: bytes) -> bytes:
    """Standard output of a program that reads `data`. Raises RuntimeError with its first complaint when it fails."""
    command = [command[0], "-hide_banner", "-loglevel", "error", *command[1:]]
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=600)
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        what = re.sub(r"^(\[.*?\] *)+", "", lines[0]) if lines else f"status {done.returncode}"
        raise RuntimeError(f"ffmpeg: {what}")
    return done.stdout
