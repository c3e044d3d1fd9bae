"""Entropy coding on integers alone, so that a file decodes to the same latents everywhere."""
