"""Discriminators: which latent meets which image, shapes, spectral norms."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from gencomp.train.discriminators import advance_spectral_norms
from gencomp.train.discriminators.patch import Patch

PATCH = Patch(width=8)


@pytest.fixture
def discriminator() -> nn.Module:
    torch.manual_seed(0)
    return PATCH.build(20).eval()


def inputs(count: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, 64, 64, generator=draw), torch.randn(count, 20, 4, 4, generator=draw)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_latent_i_meets_image_i(discriminator: nn.Module, count: int) -> None:
    """Real and fake in one pass over 2 N images give what each pair gives alone."""
    images, latents = inputs(count)
    together = discriminator(torch.cat([images, 1 - images]), torch.cat([latents] * 2))
    assert together.logits[0].shape == (2 * count, 1, 8, 8)
    for i in range(count):
        for row, image in ((i, images[i]), (count + i, 1 - images[i])):
            alone = discriminator(image[None], latents[i][None])
            torch.testing.assert_close(together.logits[0][row], alone.logits[0][0], atol=1e-4, rtol=1e-4)


def test_output_depends_on_the_latents(discriminator: nn.Module) -> None:
    images, latents = inputs(2)
    assert not torch.allclose(*(discriminator(images, y).logits[0] for y in (latents, latents.flip(0))))
    blind = dataclasses.replace(PATCH, condition_channels=0).build(20).eval()
    torch.testing.assert_close(*(blind(images, y).logits[0] for y in (latents, latents.flip(0))))


def test_patch_discriminator_has_hifics_size() -> None:
    """Weights of HiFiC's layers: 3x3 latents to 12, then 4x4 of 15, 64, 128, 256 to 512, then 1x1."""
    discriminator = Patch().build(220)
    convolutions = 220 * 12 * 9 + 16 * (15 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 512
    biases = 12 + 64 + 128 + 256 + 512 + 1
    assert sum(p.numel() for p in discriminator.parameters()) == convolutions + biases


def test_spectral_norms_approach_one_and_move_only_when_told(discriminator: nn.Module) -> None:
    before = {k: v.clone() for k, v in discriminator.state_dict().items()}
    discriminator(*inputs(2))
    assert all(torch.equal(v, before[k]) for k, v in discriminator.state_dict().items())
    for _ in range(200):
        advance_spectral_norms(discriminator)
    for layer in discriminator.modules():
        if isinstance(layer, nn.Conv2d):
            norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
            torch.testing.assert_close(norm, torch.tensor(1.0), atol=2e-2, rtol=0)
