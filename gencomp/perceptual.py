"""Feature stacks that serve as loss and as metric, and the one place where the weights of feature networks are found.

Nothing is downloaded. `find_weights` looks for a file under its published name in a folder that the user names, then in
`TORCH_HOME/hub/checkpoints`, checks it by SHA-256, and otherwise says which file is wanted and what needs no weights.

A feature stack is a function from pictures, float (N, 3, H, W) in [0, 1], to a list of feature maps (N, C, h, w), the
first of them at the picture's own resolution. `steerable_features` needs no weights, `network_features` is made of an
LPIPS trunk; `wasserstein_distortion` compares two pictures over either. All of it is differentiable.
"""

import hashlib
import math
import os
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    import lpips

FeatureStack = Callable[[Tensor], list[Tensor]]

# The published file names of LPIPS trunks (torchvision) and of the Inception network that FID is defined on
# (torch-fidelity). The eight digits before the suffix are the beginning of the file's SHA-256.
LPIPS_TRUNKS = {
    "alex": "alexnet-owt-7be5be79.pth",
    "vgg": "vgg16-397923af.pth",
    "squeeze": "squeezenet1_1-b8a52dc0.pth",
}
INCEPTION = "weights-inception-2015-12-05-6726825d.pth"


class WeightsError(ValueError):
    """The weights of a feature network are absent or are not the published ones; `file` names the file wanted."""

    def __init__(self, file: str, message: str) -> None:
        super().__init__(message)
        self.file = file


def find_weights(file: str, folder: str | Path | None = None) -> Path:
    """The path of the weights published as `file`, from `folder` or from TORCH_HOME/hub/checkpoints.

    A name that ends in -XXXXXXXX.suffix promises the first digits of the file's SHA-256 (the convention of torch.hub),
    and the promise is checked. Raises WeightsError when no such file is found or when it is another one.
    """
    torch_home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".cache" / "torch")
    places = ([Path(folder)] if folder else []) + [torch_home / "hub" / "checkpoints"]
    path = next((place / file for place in places if (place / file).is_file()), None)
    if path is None:
        raise WeightsError(
            file,
            f"needs {file}: put it into the folder named by --weights, or into TORCH_HOME/hub/checkpoints "
            "(without weights: wasserstein over steerable features, ms_ssim)",
        )
    promised = re.search(r"-([0-9a-f]{8,64})\.[^.]+$", file)
    if promised and not sha256(path).startswith(promised[1]):
        wrong = f"{path} is another file: its SHA-256 does not begin with {promised[1]}"
        raise WeightsError(file, f"needs {file}, but {wrong}")
    return path


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dictionary of a .safetensors file, or of a torch file read without executing anything that it holds.

    Raises WeightsError when the file cannot be read as one.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every reader has its own family of errors for a broken file
        wrong = f"{path} cannot be read: {type(error).__name__}"
        raise WeightsError(path.name, f"needs {path.name}, but {wrong}") from error
    return dict(state.get("state_dict", state))


# LPIPS: Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric", equation 1.


def build_lpips(net: str, trunk: Mapping[str, Tensor]) -> "lpips.LPIPS":
    """The LPIPS network of the `lpips` package (version 0.1, its own linear heads) on a torchvision trunk's state dict.

    net is "alex", "vgg" or "squeeze". The package's slices keep torchvision's layer numbers, so that entry
    `features.3.weight` is found in whichever slice holds a layer named 3.
    """
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package calls torchvision by deprecated names
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    with torch.no_grad():
        for name, parameter in network.net.named_parameters():
            parameter.copy_(trunk["features." + name.partition(".")[2]])
    return network.requires_grad_(False)


def load_lpips(net: str, weights: str | Path | None = None) -> "lpips.LPIPS":
    """The published LPIPS network `net`; its trunk's weights come from `find_weights`. Raises WeightsError."""
    path = find_weights(LPIPS_TRUNKS[net], weights)
    try:
        return build_lpips(net, read_weights(path))
    except (KeyError, RuntimeError) as error:
        raise WeightsError(path.name, f"needs {path.name}, but {path} does not fit the network: {error}") from error


def lpips_loss(network: "lpips.LPIPS", x: Tensor, y: Tensor, *, eps: float = 1e-8) -> Tensor:
    """LPIPS of pictures in [0, 1] as a loss, (N,): finite gradients where a feature vector is all zero.

    The package divides by sqrt(sum of squares) + eps, whose gradient at zero is infinite; here eps stands inside the
    root (Muckley et al. 2023, MS-ILLM). The metric itself is the network called on the two pictures.
    """
    total = torch.zeros(x.shape[0], device=x.device)
    maps = (network.net(network.scaling_layer(2 * picture - 1)) for picture in (x, y))
    for a, b, head in zip(*maps, network.lins):
        unit_a, unit_b = (f * torch.rsqrt((f.square() + eps).sum(1, keepdim=True)) for f in (a.float(), b.float()))
        total = total + head((unit_a - unit_b).square()).mean((1, 2, 3))
    return total


def network_features(network: "lpips.LPIPS", *, scales: int = 3) -> FeatureStack:
    """The feature stack of Balle et al. 2024: the picture, then the trunk's maps of the picture at `scales` octaves."""

    def features(picture: Tensor) -> list[Tensor]:
        stack = [picture]
        for _ in range(scales):
            stack += list(network.net(network.scaling_layer(2 * picture - 1)))
            picture = blur(picture, stride=2)
        return stack

    return features


# Pyramids.


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

    5x5 binomial filter, reflected borders, as in the sliced Wasserstein distance of Karras et al. 2018. A side shorter
    than 3 pixels at any level cannot be reflected: ValueError.
    """
    channels = x.shape[1]
    row = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0], dtype=x.dtype, device=x.device) / 16
    kernel = torch.outer(row, row).expand(channels, 1, 5, 5)
    bands = []
    for _ in range(levels - 1):
        if min(x.shape[2:]) < 3:
            raise ValueError(f"the picture is too small for a Laplacian pyramid of {levels} levels")
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
    """A feature stack that needs no weights: the picture, then for each octave its oriented band-pass responses.

    Each octave's map has 3 * 3 * orientations channels: even and odd responses and their modulus (the phase-blind
    energy of a complex cell) in luma and two opponent colours, so that the local mean and deviation of a map are the
    marginal statistics of texture models (Portilla and Simoncelli 2000).
    """
    filters = oriented_filters(orientations)
    opponent = torch.tensor(OPPONENT)

    def features(picture: Tensor) -> list[Tensor]:
        taps = filters.to(picture)
        stack = [picture]
        x = torch.einsum("oc,nchw->nohw", opponent.to(picture), picture)
        for _ in range(levels):
            n, _, h, w = x.shape
            responses = F.conv2d(F.pad(x.reshape(n * 3, 1, h, w), (4,) * 4, "replicate"), taps)
            even, odd = responses.chunk(2, dim=1)
            modulus = torch.sqrt(even.square() + odd.square() + 1e-8)
            stack.append(torch.cat([even, odd, modulus], 1).reshape(n, -1, h, w))
            x = blur(x, (1, 4, 6, 4, 1), stride=2)
        return stack

    return features


COMPANDING = 2 / 255  # the contrast from which on a band counts by its square root


def laplacian_features(levels: int = 3) -> FeatureStack:
    """A feature stack a sixth the size of `steerable_features`: the picture, then each octave's companded bands.

    A band b is what a 5x5 binomial filter takes away (Burt and Adelson 1983, without the expansion), in luma and two
    opponent colours; beside it stand the horizontal, vertical and diagonal differences of luma (the undecimated Haar
    wavelet), which a checkerboard or a weave of the same energy does not match. Each map is b / sqrt(|b| + 2/255): its
    local deviation is the contrast of the texture at that scale, and faint texture counts for more than its share of
    energy, as it does for the eye (Weber's law).
    """
    opponent = torch.tensor(OPPONENT)

    def features(picture: Tensor) -> list[Tensor]:
        stack = [picture]
        x = torch.einsum("oc,nchw->nohw", opponent.to(picture), picture)
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
    return torch.cat([_differences(rows), _sums(steps), _differences(steps)], 1) / 2


def _differences(x: Tensor) -> Tensor:
    return x[..., :-1] - x[..., 1:]


def _sums(x: Tensor) -> Tensor:
    return x[..., :-1] + x[..., 1:]


# Regular grain: what a synthesis by pixel shuffles repeats at every step of its grid (Odena et al. 2016,
# "Deconvolution and checkerboard artifacts"), and noise does not.

PERIOD = 8  # pixels; periods of 2 and 4 are seen with it
REPEATS = 8  # periods a side of the window over which they are averaged
EVEN = (2 / 255) ** 2  # the energy of texture that is still called even


class RegularGrain(NamedTuple):
    """Over windows of 64x64, (N, h, w): energy of what repeats every 8 pixels, energy of the original's texture."""

    repeated: Tensor
    texture: Tensor


def regular_grain(x: Tensor, y: Tensor) -> RegularGrain:
    """The error y - x of pictures (N, 3, H, W) in [0, 1], averaged over equal places in the 8x8 grid.

    An error without a period keeps a 64th of its energy, one that repeats keeps all of it. What a moving average over
    8x8 pixels holds is taken away first, so that neither shading nor colour counts. ValueError under 71 pixels a side.
    """
    if min(x.shape[2:]) < PERIOD * (REPEATS + 1) - 1:
        raise ValueError(f"regular grain needs sides of at least {PERIOD * (REPEATS + 1) - 1} pixels")
    places = _by_place(y - x)
    means = F.avg_pool2d(places, REPEATS, 1).unflatten(1, (x.shape[1], -1))
    repeated = (means - means.mean(2, keepdim=True)).square().mean((1, 2))
    return RegularGrain(repeated, F.avg_pool2d(_by_place(x).square(), REPEATS, 1).mean(1))


def _by_place(x: Tensor) -> Tensor:
    """Fine detail, the places of the grid as channels: (N, C, H, W) -> (N, C * 64, (H - 7) / 8, (W - 7) / 8)."""
    half = PERIOD // 2
    detail = x[..., half : 1 - half, half : 1 - half] - F.avg_pool2d(x, PERIOD, 1)
    height, width = (length // PERIOD * PERIOD for length in detail.shape[2:])
    return F.pixel_unshuffle(detail[..., :height, :width], PERIOD)


def regularity(x: Tensor, y: Tensor) -> Tensor:
    """Regular grain as a loss, (N,): repeated energy over the original's, which hides it, the latter at least EVEN."""
    grain = regular_grain(x.float(), y.float())
    return (grain.repeated / (grain.texture + EVEN)).mean((1, 2))


# Qiu, Wagner, Balle and Theis 2023, "Wasserstein distortion: unifying fidelity and realism"; pooled over dyadic levels
# as in Balle et al. 2024, "Good, cheap, and fast: overfitted image compression with Wasserstein distortion", but with
# replicated borders, where zeros would let the outside of the picture into its statistics.


def _one_map(x: Tensor, y: Tensor, log2_sigma: Tensor, lowest: float, highest: float) -> Tensor:
    """Wasserstein distortion of one pair of feature maps (N, C, h, w): (N,).

    log2_sigma is (1 or N, 1, h, w) with values from lowest to highest. Level k compares means and deviations over
    windows of about 2**k pixels, level 0 the features themselves.
    """
    total = x.new_zeros(x.shape[0])
    moments: tuple[Tensor, ...] = (x, x.square(), y, y.square())
    for level in range(math.ceil(highest) + 1):
        wanted = lowest - 1 < level  # levels that no location asks for are only passed through
        if level:
            moments = tuple(blur(m, stride=1 if wanted else 2) for m in moments)
        if wanted:
            mean_x, square_x, mean_y, square_y = moments
            distance = (mean_x - mean_y).square()
            if level:
                std_x, std_y = _deviation(mean_x, square_x), _deviation(mean_y, square_y)
                distance = distance + (std_x - std_y).square()
            # Between two levels the weights are linear in log sigma.
            weight = (1 - (log2_sigma - level).abs()).clamp_min(0)
            total = total + (weight * distance).mean((1, 2, 3))
        if level:
            log2_sigma = blur(log2_sigma, stride=2)
            if wanted:
                moments = tuple(m[..., ::2, ::2] for m in moments)
    return total


def _deviation(mean: Tensor, square: Tensor) -> Tensor:
    """Standard deviation from first and second moment; the small constant bounds its gradient."""
    return torch.sqrt((square - mean.square()).clamp_min(0) + 1e-8)


def wasserstein_distortion(
    x: Sequence[Tensor], y: Sequence[Tensor], log2_sigma: Tensor | float, *, levels: int = 5
) -> Tensor:
    """Wasserstein distortion between two pictures' feature stacks, (N,), the sum over their maps.

    log2_sigma is the base-2 logarithm of the pooling width in pixels of the picture, 0 to `levels`: one number, or a
    map (1 or N, 1, H, W) at the picture's resolution. At 0 it is the squared error of the features; where it is larger,
    only the mean and deviation of the features over about 2**log2_sigma pixels count. Maps at a lower resolution than
    the first get a sigma that is smaller in proportion. Raises ValueError when sigma does not fit `levels`.
    """
    if not isinstance(log2_sigma, Tensor):
        log2_sigma = torch.full((1, 1, *x[0].shape[2:]), float(log2_sigma), device=x[0].device)
    lowest, highest = (float(bound) for bound in torch.aminmax(log2_sigma))
    if lowest < 0 or highest > levels:
        raise ValueError(f"log2_sigma must lie in 0 to {levels}")
    total = x[0].new_zeros(x[0].shape[0], dtype=torch.float32)
    height, width = log2_sigma.shape[2:]
    with torch.autocast(x[0].device.type, enabled=False):
        for a, b in zip(x, y, strict=True):
            octaves = math.log2(height * width / (a.shape[2] * a.shape[3])) / 2
            sigma = F.interpolate(log2_sigma.float(), a.shape[2:], mode="bilinear", antialias=True) - octaves
            bounds = max(0.0, lowest - octaves), max(0.0, highest - octaves)
            total = total + _one_map(a.float(), b.float(), sigma.clamp_min(0), *bounds)
    return total
