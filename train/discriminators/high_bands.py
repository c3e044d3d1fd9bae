"""A discriminator that is shown the finest octave alone: what it says cannot be won by anything but texture."""

from torch import Tensor, nn

from gencomp.perceptual.pyramids import blur

from .contract import DiscriminatorOutput

GAIN = 4.0  # the finest octave of photographs has about a quarter of their contrast


class HighBands(nn.Module):
    """Another discriminator on 1/2 + GAIN (x - blur(x)), with a binomial filter of 5x5."""

    def __init__(self, judge: nn.Module) -> None:
        super().__init__()
        self.judge = judge

    def forward(self, images: Tensor, latents: Tensor) -> DiscriminatorOutput:
        """See the package."""
        fine: DiscriminatorOutput = self.judge(0.5 + GAIN * (images - blur(images, (1, 4, 6, 4, 1))), latents)
        return fine
