"""One picture through one codec and the disk: encode, write, read back, decode, with the seconds of each."""

import time
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from gencomp.files import write_atomically

from ..codecs.baseline import Peer


class Coded(NamedTuple):
    """What became of a picture. `size` is that of the file in bytes; seconds are wall clock, without the disk's."""

    picture: Image.Image
    size: int
    encode_s: float
    decode_s: float

    @property
    def bpp(self) -> float:
        """Bits a pixel, from the file."""
        return 8 * self.size / (self.picture.width * self.picture.height)


def encode_to(path: Path, peer: Peer, picture: Image.Image, setting: float) -> float:
    """Write the picture's file, whole or not at all; returns the seconds of encoding."""
    start = time.perf_counter()
    data = peer.encode(picture, setting)
    seconds = time.perf_counter() - start
    write_atomically(path, data)
    return seconds


def decode_from(path: Path, peer: Peer, realism: float = 1.0) -> tuple[Image.Image, float]:
    """The picture in a file and the seconds of decoding."""
    data = path.read_bytes()
    start = time.perf_counter()
    picture = peer.decode(data, realism)
    picture.load()
    return picture.convert("RGB"), time.perf_counter() - start


def code(path: Path, peer: Peer, picture: Image.Image, setting: float, realism: float = 1.0) -> Coded:
    """Both ways through the file at `path`. Raises ValueError when another size comes back than went in."""
    encode_s = encode_to(path, peer, picture, setting)
    decoded, decode_s = decode_from(path, peer, realism)
    if decoded.size != picture.size:
        raise ValueError(f"{peer.name} returned {decoded.width}x{decoded.height} for {picture.width}x{picture.height}")
    return Coded(decoded, path.stat().st_size, encode_s, decode_s)
