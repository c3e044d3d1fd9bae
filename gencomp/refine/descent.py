"""Rate-distortion optimisation of all latents at once, by damped steps of each on its own.

Around the coded latents y_hat the objective of a single latent is about

    bits(r) + g (y - y_hat) + h (y - y_hat)^2 / 2        y = mean + r

with its bits by the table and g, h from backward passes. Its minimum over integers r is the choice of `rate.code` for
the target y_hat - g / h and the weight h / 2. If all latents took it at once they would correct the same error many
times over; so targets follow with inertia,

    target <- (1 - eta) target + eta (y_hat - g / h)

and a fixed point of that is a state in which no change of a single latent pays. Targets lie further away than h says
(BOLD): a longer descent that begins with too much ends on better integers. Noise on the targets, less from step
to step, leads past poor fixed points. h is a diagonal per channel from the change of the gradient under random signs
(Hutchinson 1989), bounded below: most channels are nearly dead, the objective is flat in them, and a long step would
wake them up. The weight is more than h / 2, for the neighbours that move along.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..networks.contract import PassPrior
from .objective import Objective
from .rate import HELD, Coding, Costs, code

SEED = 20_240_607
ETA_FIRST, ETA_LAST = 0.2, 0.05
SHORT = 0.8  # few steps end on a larger eta, SHORT / steps
BOLD = 0.7  # of h in the step to a target; short descents take more of it, 1 - STEADY * steps
STEADY = 0.05
NEIGHBOURS = 1.2  # how much dearer a change is than its own second derivative says
FLAT = 0.5  # the least h, as a share of the largest channel's
PROBE = 0.3  # steps of quantisation by which a probe moves every latent
NOISE, NOISE_STEPS = 0.2, 30  # standard deviation at the start, in steps of quantisation; less for shorter descents


class Point(NamedTuple):
    """Latents as coded, y_hat [1, M, h, w], and their objective in bits."""

    y_hat: Tensor
    objective: float


@dataclass(frozen=True)
class Problem:
    """One image, or one tile with its surroundings.

    synthesize: y_hat -> x_hat, differentiable, of the size of the original. scale: bits for each unit of distortion.
    z_hat [1, Z, h', w'] as coded. held [1, 1, h, w] bool: latents that stay where they are.
    """

    prior: PassPrior
    costs: Costs
    synthesize: Callable[[Tensor], Tensor]
    objective: Objective
    scale: float
    z_hat: Tensor
    quality_step: Tensor
    held: Tensor | None = None

    def code(self, target: Tensor, weight: Tensor) -> Coding:
        """The latents nearest to a target at their price, and the gradient of their bits; see `rate.code`."""
        return code(self.prior, self.costs, target, weight, self.z_hat, self.quality_step)

    def weigh(self, y_hat: Tensor) -> tuple[float, Tensor]:
        """lambda D in bits, and its gradient with respect to y_hat."""
        with torch.enable_grad():
            leaf = y_hat.detach().requires_grad_()
            x_hat = self.synthesize(leaf)
            value, slope = self.objective.weigh(x_hat)
            (gradient,) = torch.autograd.grad(x_hat, leaf, self.scale * slope)
        return self.scale * value, gradient


def descend(problem: Problem, y: Tensor, steps: int) -> Iterator[Point]:
    """A descent from continuous latents y [1, M, h, w]: the start, merely rounded, and a point after each step."""
    generator = torch.Generator().manual_seed(SEED)
    coding = problem.code(y, torch.full_like(y, HELD))
    cost, gradient = problem.weigh(coding.y_hat)
    yield Point(coding.y_hat, coding.bits + cost)
    curvature = _curvature(problem, coding.y_hat, gradient, generator)
    weight, bold = (0.5 * NEIGHBOURS * curvature).expand_as(y), max(BOLD, 1 - STEADY * steps)
    last, loud = max(ETA_LAST, SHORT / max(1, steps)), NOISE * min(1.0, steps / NOISE_STEPS)
    if problem.held is not None:
        weight = torch.where(problem.held, HELD, weight)
    target = y
    for step in range(steps):
        done = step / max(1, steps - 1)
        wanted = coding.y_hat - (gradient + coding.gradient) / (bold * curvature)
        target = torch.lerp(target, wanted, ETA_FIRST + (last - ETA_FIRST) * done)
        noise = torch.randn(y.shape, generator=generator).to(y)
        tried = target + loud * (1 - done) * noise
        if problem.held is not None:
            tried = torch.where(problem.held, y, tried)
        coding = problem.code(tried, weight)
        cost, gradient = problem.weigh(coding.y_hat)
        yield Point(coding.y_hat, coding.bits + cost)


def _curvature(problem: Problem, y_hat: Tensor, gradient: Tensor, generator: torch.Generator) -> Tensor:
    """h [1, M, 1, 1]: bits per squared step of quantisation, by one probe."""
    signs = (torch.randint(0, 2, y_hat.shape, generator=generator) * 2 - 1).to(y_hat)
    moved = problem.weigh(y_hat + PROBE * signs)[1]
    h = ((moved - gradient) * signs).mean((0, 2, 3), keepdim=True) / PROBE
    return h.clamp_min(max(float(h.max()) * FLAT, 1e-3))
