"""Discriminators: which latent meets which image, shapes, spectral norms."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from gencomp.perceptual import WeightsError
from gencomp.train.discriminators import Discriminator, advance_spectral_norms
from gencomp.train.discriminators.patch import Patch
from gencomp.train.discriminators.projected import Projected

PATCH = Patch(width=8)
PROJECTED = Projected(width=8, backbone="test_efficientnet", backbone_weights="random")
ALL = pytest.mark.parametrize("config", [PATCH, PROJECTED], ids=["patch", "projected"])


def built(config: Discriminator) -> nn.Module:
    return config.build(20).eval()


def inputs(count: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, 64, 64, generator=draw), torch.randn(count, 20, 4, 4, generator=draw)


@ALL
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_latent_i_meets_image_i(config: Discriminator, count: int) -> None:
    """Real and fake in one pass over 2 N images give what each pair gives alone."""
    torch.manual_seed(0)
    discriminator = built(config)
    images, latents = inputs(count)
    together = discriminator(torch.cat([images, 1 - images]), torch.cat([latents] * 2))
    for i in range(count):
        for row, image in ((i, images[i]), (count + i, 1 - images[i])):
            alone = discriminator(image[None], latents[i][None])
            for a, b in zip(together.logits, alone.logits):
                torch.testing.assert_close(a[row], b[0], atol=1e-4, rtol=1e-4)


@ALL
def test_output_depends_on_the_latents(config: Discriminator) -> None:
    torch.manual_seed(0)
    discriminator = built(config)
    images, latents = inputs(2)
    assert not torch.allclose(
        discriminator(images, latents).logits[0], discriminator(images, latents.flip(0)).logits[0]
    )
    blind = built(dataclasses.replace(config, condition_channels=0))
    torch.testing.assert_close(blind(images, latents).logits[0], blind(images, latents.flip(0)).logits[0])


def test_shapes_of_outputs() -> None:
    images, latents = inputs(2)
    assert built(PATCH)(images, latents).logits[0].shape == (2, 1, 8, 8)
    assert [v.shape[:2] for v in built(PROJECTED)(images, latents).logits] == [(2, 1)] * 5


def test_patch_discriminator_has_hifics_size() -> None:
    """Weights of HiFiC's layers: 3x3 latents to 12, then 4x4 of 15, 64, 128, 256 to 512, then 1x1."""
    discriminator = Patch().build(220)
    convolutions = 220 * 12 * 9 + 16 * (15 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 512
    biases = 12 + 64 + 128 + 256 + 512 + 1
    assert sum(p.numel() for p in discriminator.parameters()) == convolutions + biases


def test_spectral_norms_approach_one_and_move_only_when_told() -> None:
    torch.manual_seed(0)
    discriminator = built(PATCH)
    images, latents = inputs(2)
    before = {k: v.clone() for k, v in discriminator.state_dict().items()}
    discriminator(images, latents)
    assert all(torch.equal(v, before[k]) for k, v in discriminator.state_dict().items())
    for _ in range(200):
        advance_spectral_norms(discriminator)
    for layer in discriminator.modules():
        if isinstance(layer, nn.Conv2d):
            torch.testing.assert_close(
                torch.linalg.matrix_norm(layer.weight.flatten(1), 2), torch.tensor(1.0), atol=2e-2, rtol=0
            )


def test_projected_discriminator_is_never_random_in_silence() -> None:
    for config in (Projected(backbone_weights="absent.safetensors"), Projected(backbone="nonesuch")):
        with pytest.raises(WeightsError):
            built(config)


def test_frozen_backbone_has_no_gradients_and_passes_them() -> None:
    discriminator = built(PROJECTED)
    images, latents = inputs(2)
    images.requires_grad_()
    sum(v.sum() for v in discriminator(images, latents).logits).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert all(p.grad is None for n, p in discriminator.named_parameters() if n.startswith("backbone."))
