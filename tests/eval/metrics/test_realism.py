"""Metrics of texture: what they reward, what they punish, and their definitions once more."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageFilter
from skimage import data
from torch import Tensor

from gencomp.eval.metrics import realism
from gencomp.image import to_tensor


@pytest.fixture(scope="module")
def original() -> Image.Image:
    return Image.fromarray(data.chelsea()[50:210, 100:292])


def tensor(image: Image.Image) -> Tensor:
    return to_tensor(np.asarray(image))


def noisy(image: Image.Image, strength: float) -> Image.Image:
    pixels = np.asarray(image, np.float64)
    return Image.fromarray(
        (pixels + np.random.default_rng(0).normal(0, strength, pixels.shape)).clip(0, 255).astype(np.uint8)
    )


def bands_of(image: Image.Image) -> list[np.ndarray]:
    """The Laplacian pyramid in float64 NumPy: reflected borders, binomial filter, zeros between samples going up."""
    row = np.array([1, 4, 6, 4, 1]) / 16

    def smooth(x: np.ndarray) -> np.ndarray:
        for axis in (0, 1):
            margin = [(2, 2) if k == axis else (0, 0) for k in range(3)]
            x = np.apply_along_axis(np.convolve, axis, np.pad(x, margin, mode="reflect"), row, "valid")
        return x

    x, bands = np.asarray(image, np.float64), []
    for _ in range(3):
        low = smooth(x)[::2, ::2]
        wide = np.zeros_like(x)
        wide[::2, ::2] = low
        bands.append(x - 4 * smooth(wide))
        x = low
    return [*bands, x]


def test_texture_error_agrees_with_its_definition(original: Image.Image) -> None:
    blurred = original.filter(ImageFilter.GaussianBlur(1))
    errors = []
    for a, b in list(zip(bands_of(original), bands_of(blurred)))[:2]:
        energies = []
        for band in (a, b):
            energy = (band**2).mean(2)
            rows, columns = (n // 16 * 16 for n in energy.shape)
            energies.append(energy[:rows, :columns].reshape(rows // 16, 16, columns // 16, 16).mean((1, 3)))
        errors.append(np.abs(10 * np.log10((energies[1] + 1) / (energies[0] + 1))).mean())
    assert realism.texture_error()(tensor(original), tensor(blurred)) == pytest.approx(np.mean(errors), abs=1e-4)


def test_band_energy_agrees_with_its_definition(original: Image.Image) -> None:
    blurred = original.filter(ImageFilter.GaussianBlur(1))
    expected = [(b**2).mean() / (a**2).mean() for a, b in zip(bands_of(original), bands_of(blurred))][:3]
    found = [realism.band_energy(band)(tensor(original), tensor(blurred)) for band in range(3)]
    assert found == pytest.approx(expected, rel=1e-4)
    assert realism.band_energy(0)(tensor(original), tensor(original)) == pytest.approx(1)


def test_grid_artefacts_is_in_grey_levels_where_the_original_is_even() -> None:
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(256), indexing="ij")
    pattern = torch.where((rows + columns) % 2 == 0, 3 / 255, -3 / 255).expand(1, 3, -1, -1)
    even = torch.full((1, 3, 128, 256), 0.5)
    assert realism.grid_artefacts()(even, even + pattern) == pytest.approx(3, rel=1e-3)
    assert realism.grid_artefacts()(even, even) == 0
    half = even.clone()
    half[..., :128] += 0.1 * torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    rough, smooth = (columns < 128).float() * pattern, (columns >= 128).float() * pattern
    assert realism.grid_artefacts()(half, half + rough) < realism.grid_artefacts()(half, half + smooth) / 2


def test_sliced_distance_agrees_with_its_definition(original: Image.Image) -> None:
    """The one-dimensional Wasserstein distance of SciPy along the same directions, of patches cut once more."""
    from scipy.stats import wasserstein_distance

    images = [tensor(original), tensor(noisy(original, 6))]
    levels = [realism.descriptors([p], seed) for p, seed in zip(images, (1, 2))]
    result = realism.sliced_wasserstein(*levels)
    a, b = (level[0].double().numpy() for level in levels)
    mean, deviation = a.mean((0, 2, 3), keepdims=True), a.std((0, 2, 3), keepdims=True, ddof=1)
    a, b = (((p - mean) / deviation).reshape(len(p), -1) for p in (a, b))
    directions = torch.randn(147, 512, generator=torch.Generator().manual_seed(3))
    directions = F.normalize(directions, dim=0).double()
    some = [1000 * wasserstein_distance(a @ d, b @ d) for d in directions.numpy().T]
    assert result[0] == pytest.approx(np.mean(some), rel=1e-4)
    assert realism.swd()([images[0]], [images[1]]) == pytest.approx(np.mean(result))
    blurred = tensor(original.filter(ImageFilter.GaussianBlur(1.5)))
    assert realism.swd()(images[:1], [blurred]) > 1.5 * realism.swd()(images[:1], images[:1])


def test_descriptors_are_patches_of_the_pyramid(original: Image.Image) -> None:
    generator = torch.Generator().manual_seed(5)
    band = bands_of(original)[0]
    tops = torch.randint(0, band.shape[0] - 6, (512,), generator=generator)
    lefts = torch.randint(0, band.shape[1] - 6, (512,), generator=generator)
    patches = realism.descriptors([tensor(original)], 5)[0].numpy()
    for k in (0, 1, 511):
        expected = band[tops[k] : tops[k] + 7, lefts[k] : lefts[k] + 7].transpose(2, 0, 1) / 127.5
        assert np.abs(patches[k] - expected).max() < 1e-5


def test_large_images_are_measured_in_tiles(original: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = tensor(original), tensor(noisy(original, 8))
    whole = realism.wasserstein()(*pair)
    monkeypatch.setattr(realism, "TILE", 100)
    assert realism.wasserstein()(*pair) == pytest.approx(whole, rel=0.05)
    assert realism.wasserstein()(pair[0], pair[0]) == 0


def test_small_images_are_refused_with_the_size_wanted() -> None:
    small = torch.rand(1, 3, 30, 64)
    with pytest.raises(ValueError, match="31 pixels"):
        realism.texture_error()(small, small)
    with pytest.raises(ValueError, match="49 pixels"):
        realism.descriptors([small], 1)
    with pytest.raises(ValueError, match="71 pixels"):
        realism.grid_artefacts()(small, small)
    enough = torch.rand(1, 3, 49, 64)
    realism.descriptors([enough], 1)
    assert realism.texture_error()(enough, enough) == 0
