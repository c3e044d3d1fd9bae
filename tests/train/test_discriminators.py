"""Discriminators: which latent meets which image, shapes, spectral norms."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from gencomp.perceptual import WeightsError
from gencomp.train.discriminators import advance_spectral_norms, build_discriminator
from gencomp.train.discriminators.labels import LabelNetwork, load_label_network
from gencomp.train.recipe import DiscriminatorConfig

PATCH = DiscriminatorConfig(width=8)
UNET = DiscriminatorConfig(kind="unet", width=8)
LABELS = DiscriminatorConfig(kind="unet", width=8, labels=6)
PROJECTED = DiscriminatorConfig(kind="projected", width=8, backbone="test_efficientnet", backbone_weights="random")
SCALES = DiscriminatorConfig(width=8, scales=2)
ALL = [PATCH, UNET, LABELS, PROJECTED, SCALES]


def inputs(count: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, 64, 64, generator=draw), torch.randn(count, 20, 4, 4, generator=draw)


@pytest.mark.parametrize("config", ALL, ids=lambda c: f"{c.kind}-{c.labels}-{c.scales}")
@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_latent_i_meets_image_i(config: DiscriminatorConfig, count: int) -> None:
    """Real and fake in one pass over 2 N images give what each pair gives alone."""
    torch.manual_seed(0)
    discriminator = build_discriminator(config, 20)
    images, latents = inputs(count)
    together = discriminator(torch.cat([images, 1 - images]), torch.cat([latents] * 2))
    for i in range(count):
        for row, image in ((i, images[i]), (count + i, 1 - images[i])):
            alone = discriminator(image[None], latents[i][None])
            for a, b in zip(together.logits, alone.logits):
                torch.testing.assert_close(a[row], b[0], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("config", ALL, ids=lambda c: f"{c.kind}-{c.labels}-{c.scales}")
def test_output_depends_on_the_latents(config: DiscriminatorConfig) -> None:
    torch.manual_seed(0)
    discriminator = build_discriminator(config, 20)
    images, latents = inputs(2)
    assert not torch.allclose(
        discriminator(images, latents).logits[0], discriminator(images, latents.flip(0)).logits[0]
    )
    blind = build_discriminator(dataclasses.replace(config, condition_channels=0), 20)
    torch.testing.assert_close(blind(images, latents).logits[0], blind(images, latents.flip(0)).logits[0])


def test_shapes_of_outputs() -> None:
    images, latents = inputs(2)
    assert build_discriminator(PATCH, 20)(images, latents).logits[0].shape == (2, 1, 8, 8)
    assert build_discriminator(UNET, 20)(images, latents).logits[0].shape == (2, 1, 64, 64)
    assert build_discriminator(LABELS, 20)(images, latents).logits[0].shape == (2, 7, 8, 8)
    assert [v.shape[2] for v in build_discriminator(SCALES, 20)(images, latents).logits] == [8, 4]


def test_patch_discriminator_has_hifics_size() -> None:
    """Weights of HiFiC's layers: 3x3 latents to 12, then 4x4 of 15, 64, 128, 256 to 512, then 1x1."""
    discriminator = build_discriminator(DiscriminatorConfig(), 220)
    convolutions = 220 * 12 * 9 + 16 * (15 * 64 + 64 * 128 + 128 * 256 + 256 * 512) + 512
    biases = 12 + 64 + 128 + 256 + 512 + 1
    assert sum(p.numel() for p in discriminator.parameters()) == convolutions + biases


def test_spectral_norms_approach_one_and_move_only_when_told() -> None:
    torch.manual_seed(0)
    discriminator = build_discriminator(PATCH, 20)
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
    for weights in ("", "absent.safetensors"):
        with pytest.raises(WeightsError):
            build_discriminator(dataclasses.replace(PROJECTED, backbone_weights=weights), 20)


def test_frozen_backbone_has_no_gradients_and_passes_them() -> None:
    discriminator = build_discriminator(PROJECTED, 20)
    images, latents = inputs(2)
    images.requires_grad_()
    sum(v.sum() for v in discriminator(images, latents).logits).backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert all(p.grad is None for n, p in discriminator.named_parameters() if n.startswith("backbone."))


def test_labels_network_learns_and_labels_patches() -> None:
    torch.manual_seed(0)
    labels_network = LabelNetwork(8, width=16)
    images, _ = inputs(2)
    first = labels_network(images)
    assert first.labels.shape == (2, 8, 8)
    assert int(first.labels.max()) < 8
    optimiser = torch.optim.Adam(labels_network.parameters(), lr=1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        loss = labels_network(images).loss.mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.8 * first.loss.mean()


def test_absent_labels_network_is_named() -> None:
    with pytest.raises(WeightsError, match=r"absent\.safetensors"):
        load_label_network(8, "absent.safetensors")


def test_a_discriminator_of_high_bands_does_not_see_what_is_smooth() -> None:
    torch.manual_seed(0)
    judge = build_discriminator(DiscriminatorConfig(width=8, high_bands=True), 4)
    rows, columns = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    fine, slope = torch.rand(1, 3, 64, 64) / 8, (0.4 * rows + 0.2 * columns).expand(1, 3, 64, 64)
    latents = torch.randn(1, 4, 4, 4)
    inside = slice(1, -1)  # a border is replicated, which a slope does not survive
    with torch.no_grad():
        plain, tilted = (judge(images, latents).logits[0][..., inside, inside] for images in (fine, fine + slope))
        other = judge(fine.flip(3), latents).logits[0][..., inside, inside]
    assert torch.allclose(plain, tilted, atol=1e-2)
    assert not torch.allclose(plain, other, atol=1e-2)
