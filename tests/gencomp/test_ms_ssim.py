"""MS-SSIM by closed form, and against a second implementation."""

import pytest
import torch
from torch import Tensor

from gencomp.perceptual.ms_ssim import ms_ssim


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_ms_ssim_is_that_of_another_implementation() -> None:
    other = pytest.importorskip("pytorch_msssim")
    x = noise(2, 3, 192, 192)
    y = (x + 0.2 * noise(2, 3, 192, 192, seed=1)).clamp(0, 1)
    expected = other.ms_ssim(x, y, data_range=1.0, size_average=False)
    torch.testing.assert_close(ms_ssim(x, y), expected, atol=1e-4, rtol=0)


def test_ms_ssim_of_flat_images_is_the_luminance_term() -> None:
    """Structure is equal, so only the coarsest scale's luminance counts, to the power of its weight."""
    x, y = torch.full((1, 3, 176, 176), 0.4), torch.full((1, 3, 176, 176), 0.6)
    luminance = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    torch.testing.assert_close(ms_ssim(x, y), torch.tensor([luminance**0.1333]), atol=1e-3, rtol=0)


def test_ms_ssim_refuses_what_its_window_does_not_fit() -> None:
    with pytest.raises(ValueError, match="11 pixels"):
        ms_ssim(noise(1, 3, 8, 8), noise(1, 3, 8, 8))
