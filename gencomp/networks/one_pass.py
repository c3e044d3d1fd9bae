"""A hyperprior in one pass, without a context model: what HiFiC and several families of the ladder share.

    y --h_a--> z --round--> z_hat --h_s--> mean, scale;    y_hat = mean + round(y - mean)

(Balle, Minnen, Singh, Hwang and Johnston 2018, "Variational image compression with a scale hyperprior"; Minnen, Balle
and Toderici 2018, "Joint autoregressive and hierarchical priors for learned image compression".) In training rates see
additive noise in -1/2..1/2 (Balle et al. 2018, eq. 6); all that follows sees rounded latents, with gradients as if they
had not been rounded (Minnen and Singh 2020).
"""

import functools
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..entropy.contract import EntropyModel
from .contract import Calibration, Network, Quantized, TrainingInputs
from .freeze import freeze_mean_scale
from .layers import relaxed_bits, round_straight_through
from .priors import FactorisedPrior, scaled_bits

HYPER_STRIDE = 4  # latents a side for one hyper-latent


class OnePassPrior(nn.Module):
    """p(y | z) p(z): Gaussians of the mean and scale that h_s predicts, and logistics for z. A scale is bounded below
    by SIGMA_MIN with a gradient that lets it rise again."""

    factorised: FactorisedPrior

    def h_a(self, y: Tensor) -> Tensor:
        """y [N, M, 4 h, 4 w] -> z [N, Z, h, w]."""
        raise NotImplementedError

    def h_s(self, z_hat: Tensor) -> Tensor:
        """z_hat [N, Z, h, w] -> M means, then M scales [N, 2 M, 4 h, 4 w]."""
        raise NotImplementedError

    def integer_form(self) -> nn.Sequential:
        """h_s of convolutions, ReLU and pixel shuffles alone, which `networks.convert` turns into integers."""
        raise NotImplementedError

    def hyper_latents(self, y: Tensor) -> Tensor:
        """y [N, M, h, w] -> z [N, Z, ceil(h / 4), ceil(w / 4)]; latents beyond the edges count as zero."""
        height, width = y.shape[2:]
        return self.h_a(F.pad(y, (0, -width % HYPER_STRIDE, 0, -height % HYPER_STRIDE))).float()

    def mean_and_scale(self, z_hat: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """z_hat [N, Z, h', w'] -> mean and scale, each [N, M, height, width] float32, the scale not yet bounded."""
        mean, scale = self.h_s(z_hat)[:, :, :height, :width].float().chunk(2, dim=1)
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
    def bits_of(self, y: Tensor, z_hat: Tensor | None) -> float:
        """Bits of rounded latents, both streams."""
        assert z_hat is not None
        mean, scale = self.mean_and_scale(z_hat, *y.shape[2:])
        return float(scaled_bits(torch.round(y - mean), scale).sum() + self.factorised.bits(z_hat).sum())

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        return freeze_mean_scale(self.integer_form(), self.factorised, calibration)


class OnePassCodec(Network):
    """A network whose `prior` is one; the family adds its transforms."""

    prior: OnePassPrior

    def quantize(self, inputs: TrainingInputs) -> Quantized:
        quantized: Quantized = self.prior(self.analyze(inputs.x, inputs.quality_step), inputs.noise)
        return quantized

    def hyper_analyze(self, y: Tensor) -> Tensor:
        return self.prior.hyper_latents(y)

    def freeze(self, calibration: Sequence[Calibration]) -> EntropyModel:
        return self.prior.freeze(calibration)

    def bits_of(self, calibration: Calibration) -> float:
        return self.prior.bits_of(calibration.y, calibration.z_hat)
