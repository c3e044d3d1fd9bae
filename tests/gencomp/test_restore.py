"""Restoration by latent inference: what it leaves alone, and that it is better than the simplest remedy."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner
from PIL import Image

import gencomp
from gencomp.cli.restore import restore
from gencomp.codec import Codec
from gencomp.restore import denoise, inpaint

SIDE = 96


@pytest.fixture(scope="module")
def codec() -> Codec:
    return gencomp.load(device="cpu")


@pytest.fixture(scope="module")
def photo() -> npt.NDArray[np.uint8]:
    return np.array(pytest.importorskip("skimage.data").astronaut()[60 : 60 + SIDE, 160 : 160 + SIDE])


def scratches() -> npt.NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[20:24, 10:80] = mask[40:90, 50:55] = True
    return mask


def psnr(x: npt.NDArray[np.generic], y: npt.NDArray[np.generic]) -> float:
    return float(10 * np.log10(255**2 / np.square(x.astype(np.float64) - y.astype(np.float64)).mean()))


def test_inpainting_leaves_what_is_known_and_beats_the_mean(codec: Codec, photo: npt.NDArray[np.uint8]) -> None:
    mask = scratches()
    filled = inpaint(codec, np.where(mask[..., None], np.uint8(0), photo), mask, realism=0.0, effort=1)
    assert np.array_equal(filled[~mask], photo[~mask])
    mean = np.broadcast_to(photo[~mask].mean(0), photo.shape)
    assert psnr(filled[mask], photo[mask]) > psnr(mean[mask], photo[mask]) + 3


def test_what_lies_under_the_mask_does_not_matter(codec: Codec, photo: npt.NDArray[np.uint8]) -> None:
    mask = scratches()
    one, other = (np.where(mask[..., None], np.uint8(v), photo) for v in (0, 200))
    assert np.array_equal(inpaint(codec, one, mask, effort=1), inpaint(codec, other, mask, effort=1))


@pytest.mark.parametrize(("sigma", "gain"), [(15, 3.0), (25, 4.5)])
def test_denoising_takes_noise_away(codec: Codec, photo: npt.NDArray[np.uint8], sigma: int, gain: float) -> None:
    noise = np.random.default_rng(1).normal(0, sigma, photo.shape)
    noisy = np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)
    assert psnr(denoise(codec, noisy, sigma, effort=1), photo) > psnr(noisy, photo) + gain


def test_masks_that_do_not_fit_and_noise_that_is_none_are_refused(codec: Codec, photo: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="another size"):
        inpaint(codec, photo, np.zeros((3, 3), np.bool_))
    with pytest.raises(ValueError, match="no pixel is left"):
        inpaint(codec, photo, np.ones((SIDE, SIDE), np.bool_))
    with pytest.raises(ValueError, match="sigma"):
        denoise(codec, photo, 0.0)


def test_the_command_fills_white_and_writes_an_image(tmp_path: Path, photo: npt.NDArray[np.uint8]) -> None:
    Image.fromarray(photo).save(tmp_path / "a.png")
    Image.fromarray(scratches()).save(tmp_path / "mask.png")
    arguments = [str(tmp_path / "a.png"), "--mask", str(tmp_path / "mask.png"), "-o", str(tmp_path / "b.png")]
    result = CliRunner().invoke(restore, [*arguments, "--effort", "1", "--device", "cpu"], catch_exceptions=False)
    assert result.exit_code == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png"))[~scratches()], photo[~scratches()])


def test_the_command_asks_for_one_kind_of_damage(tmp_path: Path) -> None:
    assert CliRunner().invoke(restore, ["a.png", "-o", str(tmp_path / "b.png")]).exit_code == 2
