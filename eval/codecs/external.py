"""Peers from the extra `peers`: JPEG XL through imagecodecs, HEVC and VVC intra through the ffmpeg of imageio-ffmpeg.

HEVC and VVC files are elementary streams without a container. The program is started anew for each file; the time of
its start is part of the seconds.
"""

import re
import subprocess

import numpy as np
from PIL import Image

from .baseline import Knob, Peer, PeerError

REMEDY = "install it with: pip install 'gencomp[peers]'"


def jpegxl() -> Peer:
    """libjxl, lossy, effort 7; its knob is the distance in just noticeable differences, 25 at most."""
    try:
        import imagecodecs
    except ImportError as error:
        raise PeerError(f"imagecodecs is not installed; {REMEDY}") from error
    return Peer(
        "jpegxl", ".jxl", Knob("distance", 25, 0.1, positions=2000, geometric=True),
        lambda picture, distance: bytes(imagecodecs.jpegxl_encode(np.asarray(picture), distance=distance, effort=7)),
        lambda data, realism: Image.fromarray(imagecodecs.jpegxl_decode(data)),
        f"imagecodecs {imagecodecs.__version__}, {imagecodecs.jpegxl_version()}, effort 7",
    )  # fmt: skip


def hevc() -> Peer:
    """HEVC intra by x265: preset slow, tuned for PSNR, 10 bits, 4:2:0, full-range BT.709."""
    options = ["-c:v", "libx265", "-preset", "slow", "-tune", "psnr"]
    options += ["-x265-params", "log-level=none:info=0:pools=1:frame-threads=1"]
    return _ffmpeg_peer("hevc", Knob("crf", 51, 1, positions=201), options, "-crf", "x265 slow, tune psnr")


def vvc() -> Peer:
    """VVC intra by vvenc: preset medium, without perceptual adaptation, 10 bits, 4:2:0, full-range BT.709."""
    options = ["-c:v", "libvvenc", "-preset", "medium", "-qpa", "0", "-threads", "1"]
    return _ffmpeg_peer("vvc", Knob("qp", 63, 1), options, "-qp", "vvenc medium, qpa 0")


def _ffmpeg_peer(name: str, knob: Knob, options: list[str], rate_option: str, note: str) -> Peer:
    """A still-picture peer made of an ffmpeg encoder. Odd sides are coded in 4:4:4, which has no half samples."""
    program = _program(options[1])
    scale = "flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp+bitexact"

    def encode(picture: Image.Image, setting: float) -> bytes:
        odd = picture.width % 2 or picture.height % 2
        if odd and name == "vvc":
            raise RuntimeError("vvenc codes pictures of even width and height only")
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{picture.width}x{picture.height}", "-i", "-"]
        colour = ["-vf", f"scale=out_color_matrix=bt709:out_range=full:{scale}"]
        colour += ["-pix_fmt", "yuv444p10le" if odd else "yuv420p10le"]
        knob_value = [rate_option, f"{setting:g}"]
        stream = ["-frames:v", "1", *options, *knob_value, "-f", name, "-"]
        return _run([program, *source, *colour, *stream], picture.tobytes())

    def decode(data: bytes, realism: float) -> Image.Image:
        # PPM carries the size that the stream alone knows.
        colour = ["-vf", f"scale=in_color_matrix=bt709:in_range=full:{scale}", "-pix_fmt", "rgb24"]
        ppm = _run([program, "-f", name, "-i", "-", *colour, "-frames:v", "1", "-f", "image2pipe", "-c:v", "ppm", "-"],
                   data)  # fmt: skip
        header = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", ppm)
        if header is None:
            raise RuntimeError("ffmpeg returned no picture")
        return Image.frombytes("RGB", (int(header[1]), int(header[2])), ppm[header.end() :])

    version = _run([program, "-version"], b"").decode(errors="replace").split()[2]
    note = f"ffmpeg {version}, {note}, intra, 10 bits, 4:2:0, 1 thread, no container"
    return Peer(name, f".{name}", knob, encode, decode, note)


def _program(encoder: str) -> str:
    """The path of imageio-ffmpeg's ffmpeg, when it has this encoder."""
    try:
        import imageio_ffmpeg

        program = str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise PeerError(f"imageio-ffmpeg is not installed; {REMEDY}") from error
    if encoder not in _run([program, "-encoders"], b"").decode(errors="replace"):
        raise PeerError(f"the ffmpeg of imageio-ffmpeg was built without {encoder}; a newer release of it has it")
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
