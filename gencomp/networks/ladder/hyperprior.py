"""A codec with a hyperprior in one pass, but for its transforms: what several families of the ladder share.

    x --g_a--> y --gains--> --h_a--> z --round--> z_hat --h_s--> mean, scale --> y_hat --gains--> g_s --> x_hat

(Balle, Minnen, Singh, Hwang and Johnston 2018, "Variational image compression with a scale hyperprior"; Minnen, Balle
and Toderici 2018, "Joint autoregressive and hierarchical priors for learned image compression", of which the mean is
kept and the serial context left out.)

Those papers train one model for each rate. Here one model has all rates: each latent channel is multiplied by a gain
before rounding and by another after it, interpolated between knots of the quality (Cui et al. 2021, "Asymmetric gained
deep image compression with continuous rate adaptation"). z sees the multiplied latents, and so the quality.

In training rates see additive noise in -1/2..1/2 (Balle et al. 2018, eq. 6); the synthesis sees rounded latents, with
gradients as if they had not been rounded (Minnen and Singh 2020), where the papers give it the noise, too.
"""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...entropy.contract import EntropyModel
from ..contract import Calibration, Network, Quantized, TrainingInputs
from ..convert import with_zero_means
from ..freeze import freeze_mean_scale
from ..layers import relaxed_bits, round_straight_through
from ..priors import FactorisedPrior, scaled_bits
from ..transforms import LatentGains, quality_condition
from .strided import STRIDE, to_pixels, to_signal

HYPER_STRIDE = 4  # latents a side for one hyper-latent


class OnePassPrior(nn.Module):
    """p(y | z) p(z): Gaussians of the mean and scale that h_s predicts, and logistics for z.

    analysis: h_a, y [N, M, 4 h, 4 w] -> z [N, Z, h, w]. synthesis: h_s, z_hat -> M means and M scales of the size of y,
    or with zero_mean M scales; of convolutions, ReLU and pixel shuffles alone, which `networks.convert` turns into
    integers. A scale is bounded below by SIGMA_MIN with a gradient that lets it rise again.
    """

    def __init__(
        self, analysis: nn.Sequential, synthesis: nn.Sequential, hyper_channels: int, *, zero_mean: bool = False
    ) -> None:
        super().__init__()
        self.analysis, self.synthesis, self.zero_mean = analysis, synthesis, zero_mean
        self.factorised = FactorisedPrior(hyper_channels)
        bias = synthesis[-1].bias
        assert isinstance(bias, Tensor)
        nn.init.ones_(bias if zero_mean else bias[len(bias) // 2 :])  # scales start near 1

    def hyper_latents(self, y: Tensor) -> Tensor:
        """y [N, M, h, w] -> z [N, Z, ceil(h / 4), ceil(w / 4)]; latents beyond the edges count as zero."""
        height, width = y.shape[2:]
        return self.analysis(F.pad(y, (0, -width % HYPER_STRIDE, 0, -height % HYPER_STRIDE))).float()

    def mean_and_scale(self, z_hat: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """z_hat [N, Z, h', w'] -> mean and scale, each [N, M, height, width] float32, the scale not yet bounded."""
        both = self.synthesis(z_hat)[:, :, :height, :width].float()
        mean, scale = (torch.zeros_like(both), both) if self.zero_mean else both.chunk(2, dim=1)
        return mean, scale

    def forward(self, y: Tensor, noise: Mapping[str, Tensor]) -> Quantized:
        """Training pass: y [N, M, h, w]; noise of "y" and "z", or {} (see the contract)."""
        z = self.hyper_latents(y)
        z_bits, z_rounded = relaxed_bits(self.factorised.bits, z, noise.get("z"))
        mean, scale = self.mean_and_scale(round_straight_through(z), *y.shape[2:])
        residual = y.float() - mean
        y_bits, y_rounded = relaxed_bits(functools.partial(scaled_bits, scale=scale), residual, noise.get("y"))
        bits, rounded = {"y": y_bits, "z": z_bits}, {"y": y_rounded, "z": z_rounded}
        return Quantized(mean + round_straight_through(residual), bits, rounded)

    @torch.no_grad()
    def bits(self, y: Tensor, z_hat: Tensor) -> float:
        """Bits of rounded latents, both streams."""
        mean, scale = self.mean_and_scale(z_hat, *y.shape[2:])
        return float(scaled_bits(torch.round(y - mean), scale).sum() + self.factorised.bits(z_hat).sum())

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        """h_s in integers, and the tables of z."""
        synthesis = with_zero_means(self.synthesis) if self.zero_mean else self.synthesis
        return freeze_mean_scale(synthesis, self.factorised, calibration)


def noise_shapes(crop: int, latent_channels: int, hyper_channels: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the quantisation noise of y and z for a crop of crop x crop pixels."""
    side = crop // STRIDE
    hyper_side = -(-side // HYPER_STRIDE)
    return {"y": (latent_channels, side, side), "z": (hyper_channels, hyper_side, hyper_side)}


class GainedCodec(Network):
    """A family is a configuration, two transforms, a prior and the transforms' halo; see the contract for shapes.

    analysis: signal -> y; synthesis: y_hat -> signal (strided.py). The gains are the only part that heeds the quality.
    """

    stride = STRIDE
    knows_realism = False

    def __init__(self, config: Any, analysis: nn.Module, prior: OnePassPrior, synthesis: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.analysis, self.prior, self.synthesis = analysis, prior, synthesis
        self.gains = LatentGains(config.latent_channels)

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        """Analysis, prior and rounding in one differentiable pass."""
        return self.prior(self.analyze(inputs.x, inputs.quality_step), inputs.noise)

    def analyze(self, x: Tensor, quality_step: Tensor) -> Tensor:
        """x [N, 3, H, W] -> scaled latents [N, M, h, w], float32."""
        return self.gains.encode(self.analysis(to_signal(x)).float(), quality_condition(quality_step))

    def hyper_analyze(self, y: Tensor) -> Tensor:
        """h_a."""
        return self.prior.hyper_latents(y)

    def condition(self, y_hat: Tensor, quality_step: Tensor) -> Tensor:
        """y_hat in the units of the analysis."""
        return self.gains.decode(y_hat, quality_condition(quality_step))

    def synthesize(self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor | None = None) -> Tensor:
        """y_hat [N, M, h, w] scaled -> x_hat [N, 3, H, W]."""
        return to_pixels(self.synthesis(self.condition(y_hat, quality_step)))

    def synthesis_modules(self) -> Iterator[nn.Module | nn.Parameter]:
        """g_s, and the gains before it."""
        yield self.synthesis
        yield self.gains.log_decode

    def entropy_modules(self) -> Iterator[nn.Module]:
        """The prior."""
        yield self.prior

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        """The integer prior."""
        return self.prior.freeze(calibration)

    def bits_of(self, calibration: Calibration) -> float:
        """Bits under the float prior."""
        assert calibration.z_hat is not None
        return self.prior.bits(calibration.y, calibration.z_hat)
