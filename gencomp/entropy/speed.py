"""How fast latents are coded on this machine, grouping and escapes included; for `gencomp bench`."""

import time
from typing import NamedTuple

import numpy as np

from gencomp.entropy.coder import Decoder, Encoder
from gencomp.entropy.latent import decode_pass, encode_pass
from gencomp.entropy.tables import Tables, sigma_of_level


class CodingSpeed(NamedTuple):
    """Latents a second of one core (CPU time, best of the rounds), and the rate of the made-up latents."""

    encoded_per_second: float
    decoded_per_second: float
    bits_per_latent: float


def coding_speed(tables: Tables, latents: int = 300_000, mean_level: float = 10.0, rounds: int = 5) -> CodingSpeed:
    """Code Gaussian latents of scale levels around `mean_level` (2, 10, 25: about 0.2, 0.8, 2.6 bits a latent).

    RuntimeError if they do not come back.
    """
    rng = np.random.default_rng(0)
    levels = np.clip(rng.normal(mean_level, 10, latents), 0, len(tables.y) - 1).astype(np.uint8)
    sigmas = np.array([sigma_of_level(level, len(tables.y)) for level in range(len(tables.y))])
    residuals = np.rint(rng.normal(size=latents) * sigmas[levels]).astype(np.int32)
    encode_seconds = decode_seconds = np.inf
    for _ in range(rounds):
        start = time.process_time()
        encoder = Encoder()
        encode_pass(encoder, residuals, levels, tables)
        data = encoder.finish()
        middle = time.process_time()
        decoded = decode_pass(Decoder(data), levels, tables)
        end = time.process_time()
        encode_seconds, decode_seconds = min(encode_seconds, middle - start), min(decode_seconds, end - middle)
    if not np.array_equal(decoded, residuals):
        raise RuntimeError("the latents did not come back as they were")
    return CodingSpeed(latents / encode_seconds, latents / decode_seconds, encoder.bits / latents)
