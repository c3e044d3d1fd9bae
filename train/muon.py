"""Muon: steepest descent for matrices under the spectral norm, with Adam for all that is no matrix.

Jordan et al. 2024 ("Muon: an optimizer for hidden layers in neural networks") with the step size of Liu et al. 2025
(Moonlight, eq. 4), at which a learning rate tuned for Adam fits:

    M <- 0.95 M + 0.05 G,    W <- W - learning_rate * 0.2 sqrt(max(rows, columns)) * U V',    U S V' = 0.05 G + 0.95 M

U V' by five Newton-Schulz steps. A convolution's kernel [O, I, h, w] is the matrix [O, I h w], in any
order of its columns.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

MOMENTUM = 0.95
STEPS = 5
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic: singular values of 0.001 to 1 come to about 0.7 to 1.2
LEAST_SIDE = 32  # smaller matrices, as first and last layers have them, are left to Adam


def orthogonalised(matrices: Tensor, scale: float = 1.0) -> Tensor:
    """scale * U V' of each matrix U S V', roughly: [K, rows, columns] of any scale -> the same shape and type.

    A step is X <- (a I + b G + c G^2) X with G = X X'. All its factors are polynomials of the first G and commute, so
    that steps are taken on the small matrices G, and X is multiplied by their product: once in float32, and in bfloat16
    after every other step, since the small eigenvalues of an older G are lost in its rounding.
    """
    x = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    norm = x.float().square().sum((1, 2), keepdim=True).sqrt() + 1e-7
    together = 2 if x.dtype == torch.bfloat16 else STEPS
    for first in range(0, STEPS, together):
        gram = x @ x.mT
        if first == 0:
            gram = (gram / norm.square()).to(x.dtype)
        factor = product = _polynomial(gram)
        for _ in range(min(together, STEPS - first) - 1):
            gram = factor @ gram @ factor
            factor = _polynomial(gram)
            product = factor @ product
        if first == 0:
            product = (product / norm).to(x.dtype)
        if first + together >= STEPS:
            product = scale * product
        x = product @ x
    return x.mT if matrices.shape[1] > matrices.shape[2] else x


def _polynomial(gram: Tensor) -> Tensor:
    """a I + b G + c G^2."""
    a, b, c = COEFFICIENTS
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=1, dim2=2).add_(a)
    return factor


class Muon(torch.optim.Optimizer):
    """The optimiser of a network of convolutions. products: the type in which matrices are multiplied."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        products: torch.dtype = torch.float32,
    ) -> None:
        groups: list[dict[str, Any]] = [{"params": [], "matrices": True}, {"params": [], "matrices": False}]
        for p in parameters:
            groups[0 if _is_matrix(p) else 1]["params"].append(p)
        self.products = products
        super().__init__([g for g in groups if g["params"]], {"lr": lr, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if group["matrices"]:
                self._step_matrices(parameters, group["lr"])
            elif parameters:
                self._step_others(parameters, group["lr"], group["betas"])

    def _step_matrices(self, parameters: list[nn.Parameter], learning_rate: float) -> None:
        """Matrices of one shape, lying or standing, in one product."""
        alike: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = {}
        for p, direction in zip(parameters, self._directions(parameters)):
            matrix = direction.movedim(1, -1).flatten(1)  # [O, h w I], as channels_last has it
            matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
            alike.setdefault((matrix.shape[0], matrix.shape[1]), []).append((p, matrix))
        for (short, long), group in alike.items():
            matrices = torch.stack([matrix.to(self.products) for _, matrix in group])
            updates = orthogonalised(matrices, learning_rate * 0.2 * long**0.5)
            for (p, _), update in zip(group, updates):
                rows = update if p.shape[0] == short else update.mT
                p.sub_(rows.unflatten(1, (*p.shape[2:], p.shape[1])).movedim(-1, 1))

    def _directions(self, parameters: list[nn.Parameter]) -> tuple[Tensor, ...]:
        """The gradients, looked ahead by their momenta (Nesterov)."""
        for p in parameters:
            if not self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in parameters]
        gradients = [p.grad for p in parameters if p.grad is not None]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        return torch._foreach_lerp(gradients, momenta, MOMENTUM)

    def _step_others(self, parameters: list[nn.Parameter], learning_rate: float, betas: tuple[float, float]) -> None:
        for p in parameters:
            if not self.state[p]:
                zeros = {name: torch.zeros_like(p) for name in ("exp_avg", "exp_avg_sq")}
                self.state[p].update(step=torch.zeros((), device=p.device), **zeros)
        kept = [[self.state[p][name] for p in parameters] for name in ("exp_avg", "exp_avg_sq", "step")]
        gradients = [p.grad for p in parameters if p.grad is not None]
        settings: dict[str, Any] = {"lr": learning_rate, "beta1": betas[0], "beta2": betas[1], "eps": 1e-8}
        settings |= {"weight_decay": 0.0, "amsgrad": False, "maximize": False, "fused": True}
        adam(list(parameters), gradients, kept[0], kept[1], [], kept[2], **settings)


def _is_matrix(p: nn.Parameter) -> bool:
    return p.dim() == 4 and min(p.shape[0], p[0].numel()) >= LEAST_SIDE
