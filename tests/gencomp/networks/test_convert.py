"""Float networks to integer networks: exact rewritings, and integers that stay near the floats."""

import numpy as np
import pytest
import torch
from torch import nn

from gencomp.entropy.evaluate import Evaluation, evaluate
from gencomp.networks.convert import (
    as_convolution,
    convert,
    largest_activations,
    layers_of,
    side_by_side,
    with_zero_means,
)


@pytest.mark.parametrize(("kernel", "pad"), [(5, 2), (3, 1), (4, 1), (2, 0), (6, 2)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_transposed_convolution_is_a_convolution_and_a_pixel_shuffle(kernel: int, pad: int, bias: bool) -> None:
    torch.manual_seed(kernel)
    up = nn.ConvTranspose2d(3, 2, kernel, 2, pad, 2 + 2 * pad - kernel, bias=bias).double()
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    conv = as_convolution(up)
    assert conv.kernel_size[0] % 2 == 1
    assert torch.allclose(nn.functional.pixel_shuffle(conv(x), 2), up(x), rtol=0, atol=1e-14)


def test_other_transposed_convolutions_are_refused() -> None:
    for up in (
        nn.ConvTranspose2d(3, 2, 5, 2, 2),
        nn.ConvTranspose2d(3, 2, 6, 3, 2, 1),
        nn.ConvTranspose2d(2, 2, 3, 1, 1),
    ):
        with pytest.raises(TypeError, match="double"):
            as_convolution(up)


def two_networks() -> tuple[nn.Sequential, nn.Sequential]:
    torch.manual_seed(1)

    def network() -> nn.Sequential:
        ups = [nn.ConvTranspose2d(4, 4, 5, 2, 2, 1) for _ in range(2)]
        return nn.Sequential(ups[0], nn.ReLU(), ups[1], nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1)).double()

    return network(), network()


def test_two_networks_side_by_side_give_the_outputs_of_both() -> None:
    mean, scale = two_networks()
    x = torch.randn(2, 4, 3, 2, dtype=torch.float64)
    merged = side_by_side(mean, scale)
    assert torch.allclose(merged(x), torch.cat([mean(x), scale(x)], 1), rtol=0, atol=1e-14)
    assert [layer.conv.groups for layer in layers_of(merged)] == [1, 2, 2]


def test_networks_of_unlike_form_are_not_merged() -> None:
    mean, _ = two_networks()
    for other in (
        nn.Sequential(*list(mean)[:-1], nn.Conv2d(4, 2, 3, padding=1)),
        nn.Sequential(mean[0], *list(mean)[2:]),
    ):
        with pytest.raises((TypeError, ValueError)):
            side_by_side(mean, other)


def test_integers_stay_near_the_floats() -> None:
    merged = side_by_side(*two_networks()).float()
    draw = torch.Generator().manual_seed(0)
    x = torch.randint(-5, 6, (1, 4, 6, 5), generator=draw).float()
    peaks = largest_activations(merged, [x])
    net, _ = convert(merged, np.full(4, 1 / 16), np.full(4, 16 * 5), peaks, output_units=np.full(6, 1 / 256))
    found = evaluate(net, [(16 * x[0]).permute(1, 2, 0).int().numpy()], Evaluation(tile=3)) / 256
    with torch.no_grad():
        expected = merged(x)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


def test_means_of_zero_before_scales_stay_zero_in_integers() -> None:
    torch.manual_seed(5)
    scale = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1)).requires_grad_(False)
    x = torch.randint(-3, 4, (1, 3, 5, 6)).float()
    whole = with_zero_means(scale)
    assert torch.allclose(whole(x), torch.cat([torch.zeros(1, 2, 5, 6), scale(x)], 1))
    net, _ = convert(whole, np.ones(3), np.full(3, 3), largest_activations(whole, [x]), output_units=np.full(4, 1 / 64))
    raw = evaluate(net, [x[0].permute(1, 2, 0).int().numpy()], Evaluation())
    assert not raw[..., :2].any()
    assert np.abs(raw[..., 2:] / 64 - scale(x)[0].permute(1, 2, 0).numpy()).max() < 0.05
    with pytest.raises(TypeError, match="means"):
        with_zero_means(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()))


def test_a_network_that_was_silent_in_calibration_is_exact_all_the_same() -> None:
    """Its hyper-latents all rounded to 0, say, so that nothing but the last bias was heard."""
    torch.manual_seed(2)
    first, last = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 4, 3, padding=1)
    nn.init.ones_(last.bias)  # type: ignore[arg-type]
    network = nn.Sequential(first, nn.ReLU(), last)
    peaks = largest_activations(network, [torch.zeros(1, 3, 4, 4)])
    net, _ = convert(network, np.full(3, 1 / 16), np.full(3, 16), peaks, output_units=np.full(4, 1 / 512))
    assert np.array_equal(evaluate(net, [np.zeros((4, 4, 3), np.int32)], Evaluation()), np.full((4, 4, 4), 512))
