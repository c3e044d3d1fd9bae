"""Pyramids and the feature stacks made of them, without weights.

A feature stack is a function from images, float (N, 3, H, W) in [0, 1], to a list of feature maps (N, C, h, w), the
first of them at the image's own resolution. All of it is differentiable.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

FeatureStack = Callable[[Tensor], list[Tensor]]


def blur(x: Tensor, taps: Sequence[float] = (1, 2, 1), stride: int = 1) -> Tensor:
    """(N, C, H, W) filtered by the separable kernel `taps` / sum(taps), at every stride-th row and column.

    Borders are replicated. Sums of slices: on the CPU several times faster than a convolution by groups.
    """
    total = sum(taps)
    x = F.pad(x, (len(taps) // 2,) * 4, "replicate")
    for dim in (2, 3):
        stop = x.shape[dim] - len(taps) + 1
        shifted = [x.movedim(dim, 0)[k : k + stop : stride].movedim(0, dim) for k in range(len(taps))]
        x = shifted[0] * (taps[0] / total)
        for other, tap in zip(shifted[1:], taps[1:]):
            x = torch.add(x, other, alpha=tap / total)
    return x


def laplacian_bands(x: Tensor, levels: int = 4) -> list[Tensor]:
    """The Laplacian pyramid (Burt and Adelson 1983) of (N, C, H, W): levels - 1 bands, finest first, then the low-pass.

    5x5 binomial filter, reflected borders. A side shorter than 3 pixels at any level cannot be reflected: ValueError.
    """
    channels = x.shape[1]
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype, device=x.device) / 16
    kernel = torch.outer(row, row).expand(channels, 1, 5, 5)
    bands = []
    for _ in range(levels - 1):
        if min(x.shape[2:]) < 3:
            raise ValueError(f"the image is too small for a Laplacian pyramid of {levels} levels")
        low = F.conv2d(F.pad(x, (2,) * 4, "reflect"), kernel, stride=2, groups=channels)
        zeros = torch.zeros_like(x)
        zeros[..., ::2, ::2] = low
        bands.append(x - F.conv2d(F.pad(zeros, (2,) * 4, "reflect"), 4 * kernel, groups=channels))
        x = low
    return [*bands, x]


def oriented_filters(orientations: int = 4) -> Tensor:
    """Quadrature pairs of the second derivative of a Gaussian, (2 * orientations, 1, 9, 9): the even, then the odd.

    Freeman and Adelson 1991, "The design and use of steerable filters", appendix: G2 and its Hilbert transform H2,
    steered to equally spaced angles; each has zero mean and unit norm.
    """
    axis = torch.arange(-4.0, 5.0) * 0.67
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    even, odd = [], []
    for k in range(orientations):
        angle = math.pi * k / orientations
        u = x * math.cos(angle) + y * math.sin(angle)
        envelope = torch.exp(-(x.square() + y.square()))
        even.append((2 * u.square() - 1) * envelope)
        odd.append((u.pow(3) - 2.254 * u) * envelope)
    filters = torch.stack(even + odd)[:, None]
    filters = filters - filters.mean((2, 3), keepdim=True)
    return filters / filters.square().sum((2, 3), keepdim=True).sqrt()


# Luma and two opponent colours, orthonormal rows.
OPPONENT = ((0.5774, 0.5774, 0.5774), (0.7071, 0.0, -0.7071), (0.4082, -0.8165, 0.4082))


def steerable_features(levels: int = 4, orientations: int = 4) -> FeatureStack:
    """A feature stack that needs no weights: the image, then for each octave its oriented band-pass responses.

    Each octave's map has 3 * 3 * orientations channels: even and odd responses and their modulus (the phase-blind
    energy of a complex cell) in luma and two opponent colours, so that the local mean and deviation of a map are the
    marginal statistics of texture models (Portilla and Simoncelli 2000).
    """
    taps = torch.einsum("oc,fhw->ofchw", torch.tensor(OPPONENT), oriented_filters(orientations)[:, 0]).flatten(0, 1)
    folded = _folded(taps)

    def features(image: Tensor) -> list[Tensor]:
        stack, x = [image], image
        for _ in range(levels):
            even, odd = _filtered(x, folded).unflatten(1, (3, -1)).chunk(2, dim=2)
            modulus = torch.sqrt(even.square() + odd.square() + 1e-8)
            stack.append(torch.cat([even, odd, modulus], 2).flatten(1, 2))
            x = blur(x, (1, 4, 6, 4, 1), stride=2)
        return stack

    return features


def _folded(taps: Tensor) -> Tensor:
    """Filters [K, C, 9, 9] for 2x2 blocks of pixels as channels: [4 K, 4 C, 5, 5], by the position in the block."""
    moved = [F.pad(taps, (left, 1 - left, top, 1 - top)) for top in (0, 1) for left in (0, 1)]
    return F.pixel_unshuffle(torch.stack(moved, 1).flatten(0, 1), 2)


def _filtered(x: Tensor, folded: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, K, H, W), borders replicated. On the CPU a convolution of three channels leaves most lanes
    of its backward pass idle; blocks of pixels as channels take half of the time."""
    height, width = x.shape[2:]
    x = F.pad(x, (4, 4 + width % 2, 4, 4 + height % 2), "replicate")
    return F.pixel_shuffle(F.conv2d(F.pixel_unshuffle(x, 2), folded.to(x)), 2)[..., :height, :width]


COMPANDING = 2 / 255  # the contrast from which on a band counts by its square root


def laplacian_features(levels: int = 3) -> FeatureStack:
    """A feature stack a sixth the size of `steerable_features`: the image, then each octave's companded bands.

    A band b is what a 5x5 binomial filter takes away (Burt and Adelson 1983, without the expansion), in luma and two
    opponent colours; beside it stand the horizontal, vertical and diagonal differences of luma (the undecimated Haar
    wavelet), which a checkerboard or a weave of the same energy does not match. Each map is b / sqrt(|b| + 2/255): its
    local deviation is the contrast of the texture at that scale, and faint texture counts for more than its share of
    energy, as it does for the eye (Weber's law).
    """
    opponent = torch.tensor(OPPONENT)

    def features(image: Tensor) -> list[Tensor]:
        stack = [image]
        x = torch.einsum("oc,nchw->nohw", opponent.to(image), image)
        for _ in range(levels):
            low = blur(x, (1, 4, 6, 4, 1))
            bands = torch.cat([x - low, haar_details(x[:, :1])], 1)
            stack.append(bands * torch.rsqrt(bands.abs() + COMPANDING))
            x = low[..., ::2, ::2]
        return stack

    return features


def haar_details(x: Tensor) -> Tensor:
    """Horizontal, vertical and diagonal details of the undecimated Haar wavelet: [N, 1, H, W] -> [N, 3, H, W]."""
    x = F.pad(x, (0, 1, 0, 1), "replicate")
    above, below = x[..., :-1, :], x[..., 1:, :]
    rows, steps = above + below, above - below
    left, right = steps[..., :-1], steps[..., 1:]
    return torch.cat([rows[..., :-1] - rows[..., 1:], left + right, left - right], 1) / 2
