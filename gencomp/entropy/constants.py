"""Constants of the integer world: they decide bits, are part of every model's id, and never change."""

from gencomp.bitstream import STEPS

KNOTS = 9  # the quality enters as a linear interpolation between this many knots over the quality steps 0..STEPS
SEGMENT = STEPS // (KNOTS - 1)  # quality steps from knot to knot
PASSES = 4  # of the kind "context"
ORDER = (0, 3, 1, 2)  # in pass p a position of parity class c codes the channel group c ^ ORDER[p]
LEVELS = 64  # scale levels of the kinds with a hyperprior
SIGMA_MIN, SIGMA_MAX = 0.11, 64.0  # standard deviations of the first and the last level
MEAN_UNIT = 64  # means and decoded latents are multiples of 1/64
HYPER_UNIT = 16  # the hyper-synthesis takes 16 z_hat, so that its weights for z and for the quality are of one size
MAX_RESIDUAL = 30_000  # of a latent; the encoder clamps
TILE = 64  # latents a side that integer networks see at a time; any value gives the same integers
