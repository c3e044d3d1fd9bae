"""Losses by closed form, and against a second implementation."""

import math

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gencomp.train import losses
from gencomp.train.losses import text_l1, text_mask
from gencomp.train.terms import shifted


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_errors_of_a_constant_shift() -> None:
    x = noise(3, 3, 8, 8) * 0.5
    shift = torch.tensor([0.1, 0.2, 0.3])[:, None, None, None]
    torch.testing.assert_close(losses.mse(x, x + shift), torch.tensor([0.01, 0.04, 0.09]))
    torch.testing.assert_close(losses.l1(x, x + shift), torch.tensor([0.1, 0.2, 0.3]))


def test_the_adversarial_loss_is_cross_entropy_of_the_logistic_function() -> None:
    real, fake = torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), -0.5)
    both = losses.adversarial([real, real], [fake, fake])
    s_real, s_fake = 1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(0.5))
    torch.testing.assert_close(both.discriminator, torch.tensor([-math.log(s_real) - math.log(1 - s_fake)]))
    torch.testing.assert_close(both.generator, torch.tensor([-math.log(s_fake)]))
    real, fake = noise(4, 1, 3, 3), noise(4, 1, 3, 3, seed=1)
    whole = losses.adversarial([real], [fake])
    shares = [losses.adversarial([real[k : k + 2]], [fake[k : k + 2]]) for k in (0, 2)]
    for index in range(2):
        torch.testing.assert_close(whole[index].mean(), sum(s[index].mean() for s in shares) / 2)


def test_feature_matching_is_the_mean_of_the_layers_and_leaves_the_real_side_alone() -> None:
    real = [torch.ones(2, 3, 4, 4, requires_grad=True), torch.ones(2, 5, 2, 2, requires_grad=True)]
    fake = [torch.zeros(2, 3, 4, 4, requires_grad=True), torch.full((2, 5, 2, 2), 4.0, requires_grad=True)]
    value = losses.feature_matching(real, fake)
    torch.testing.assert_close(value, torch.tensor([2.0, 2.0]))
    value.sum().backward()
    assert real[0].grad is None
    assert fake[0].grad is not None


def test_r1_of_a_linear_discriminator_is_the_square_of_its_weights() -> None:
    weight = noise(3, 4, 4)
    x = noise(2, 3, 4, 4, seed=2).requires_grad_()
    logits = (x * weight).sum((1, 2, 3), keepdim=True)
    penalty = losses.gradient_penalty([logits], x)
    torch.testing.assert_close(penalty, weight.square().sum().expand(2))


def test_text_is_where_thin_strokes_stand_on_even_ground() -> None:
    page = Image.new("RGB", (128, 128), "white")
    for row in range(4, 60, 14):
        ImageDraw.Draw(page).text((4, row), "The quick brown fox jumps", fill="black")
    x = torch.from_numpy(np.array(page)).permute(2, 0, 1)[None] / 255
    mask, inverse = text_mask(x), text_mask(1 - x)
    torch.testing.assert_close(mask, inverse)
    assert mask[..., 4:56, 8:120].mean() > 0.8
    assert mask[..., 80:, :].max() == 0
    for other in (noise(1, 3, 64, 64), torch.linspace(0, 1, 64).expand(1, 3, 64, 64), x.new_zeros(1, 3, 64, 64)):
        assert text_mask(other).max() < 0.05
    torch.testing.assert_close(text_l1(x, x + 0.1), 0.1 * mask.mean((1, 2, 3)))


def test_shifts_cut_both_images_alike_and_anew_in_each_step() -> None:
    x = noise(1, 3, 24, 24)
    seen = [shifted(x, 2 * x, 7, step) for step in range(8)]
    assert all(a.shape == (1, 3, 17, 17) and torch.equal(2 * a, b) for a, b in seen)
    assert len({float(a[0, 0, 0, 0]) for a, _ in seen}) > 4
    assert torch.equal(shifted(x, x, 7, 3)[0], seen[3][0])
