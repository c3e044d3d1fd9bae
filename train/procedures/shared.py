"""What procedures have in common: terms of images and the price of bits, given a stage and a micro-batch."""

from torch import Tensor

from gencomp.networks.contract import TrainingInputs, TrainingOutput

from ..objective import bits_of, distortion_balance, price_of_rate, rate_weight
from ..players import RunningRate
from ..terms import weighted
from .contract import Metrics, MicroBatch, Stage


def image_terms(stage: Stage, micro: MicroBatch, x_hat: Tensor) -> tuple[Tensor, Metrics]:
    """The stage's terms of images, [N]: what counts always weighs more at a finer quality, whose rate costs less."""
    inputs = micro.inputs
    balance = distortion_balance(inputs.quality_step, stage.recipe)
    found = weighted(stage.terms, inputs.x, x_hat, inputs.realism, balance, micro.realistic, stage.step)
    return found.total, found.metrics


def priced_bits(stage: Stage, inputs: TrainingInputs, output: TrainingOutput) -> tuple[Tensor, Metrics]:
    """Bits per pixel times their price, [N]: under a target that of the running rate, else as lambda has it."""
    bpp, rate = bits_of(output) / inputs.x[0, 0].numel(), stage.players.others.get("rate")
    if not isinstance(rate, RunningRate):
        return rate_weight(inputs.quality_step, stage.recipe) * bpp, {}
    price = price_of_rate(stage.recipe.rate, rate.bpp, stage.step - stage.begin, stage.end - stage.begin)
    return price * bpp, {"price": price}
