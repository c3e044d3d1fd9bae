"""The optimiser for matrices: directions by closed form, and Adam for the rest."""

import math

import pytest
import torch
from torch import Tensor, nn

from gencomp.train.checkpoint import optimiser_tensors, restore_optimiser
from gencomp.train.muon import COEFFICIENTS, LEAST_SIDE, MOMENTUM, STEPS, Muon, orthogonalised


def near(a: Tensor, b: Tensor, share: float) -> bool:
    return bool((a.float() - b.float()).norm() < share * b.float().norm())


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("rows", "columns"), [(32, 96), (96, 32), (48, 48), (32, 2304)])
def test_directions_keep_singular_vectors_and_level_singular_values(rows: int, columns: int) -> None:
    matrix = randn(rows, columns)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    leveled = values / values.norm()
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):  # the quintic acts on each singular value alone
        leveled = a * leveled + b * leveled**3 + c * leveled**5
    direction = orthogonalised(matrix[None])[0]
    assert torch.allclose(direction, left @ leveled.diag() @ right, atol=1e-4)
    strong = values > 0.01 * values[0]
    assert 0.6 < float(leveled[strong].min()) <= float(leveled[strong].max()) < 1.3


def test_directions_do_not_depend_on_the_gradients_scale() -> None:
    matrices = randn(2, 32, 64)
    direction = orthogonalised(matrices)
    assert torch.allclose(orthogonalised(1e-3 * matrices), direction, atol=1e-3)


@pytest.mark.parametrize("smallest", [0.1, 1e-3, 1e-5])
def test_bfloat16_gives_the_directions_of_float32_however_far_the_singular_values_lie_apart(smallest: float) -> None:
    left, _, right = torch.linalg.svd(randn(96, 400), full_matrices=False)
    matrix = left @ torch.logspace(0, math.log10(smallest), 96).diag() @ right
    direction = orthogonalised(matrix.bfloat16()[None])[0]
    assert near(direction, orthogonalised(matrix[None])[0], 0.3)  # the smallest are lost in the matrix's own rounding
    assert float(torch.linalg.svdvals(direction.float()).max()) < 1.3


@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
def test_a_kernel_moves_by_the_rate_times_its_shape_whatever_its_gradient(products: torch.dtype) -> None:
    conv = nn.Conv2d(LEAST_SIDE, 64, 3, bias=False)
    before, gradient = conv.weight.detach().clone(), 1e-4 * randn(64, LEAST_SIDE, 3, 3)
    conv.weight.grad = gradient.clone()
    Muon(conv.parameters(), lr=0.01, products=products).step()
    moved = (before - conv.weight.detach()).reshape(64, -1)
    expected = 0.01 * 0.2 * (LEAST_SIDE * 9) ** 0.5 * orthogonalised(gradient.reshape(1, 64, -1).to(products))[0]
    assert near(moved, expected, 0.1 if products == torch.bfloat16 else 1e-3)


@pytest.mark.parametrize("products", [torch.float32, torch.bfloat16])
def test_momentum_carries_the_direction_on(products: torch.dtype) -> None:
    conv = nn.Conv2d(64, 64, 1, bias=False)
    muon = Muon(conv.parameters(), lr=0.01, products=products)
    first, second = randn(64, 64, 1, 1, seed=1), randn(64, 64, 1, 1, seed=2)
    for gradient in (first, second):
        conv.weight.grad = gradient
        before = conv.weight.detach().clone()
        muon.step()
    momentum = MOMENTUM * (1 - MOMENTUM) * first + (1 - MOMENTUM) * second
    ahead = (1 - MOMENTUM) * second + MOMENTUM * momentum
    expected = 0.01 * 0.2 * 8 * orthogonalised(ahead.reshape(1, 64, 64).to(products))[0]
    assert near((before - conv.weight.detach())[:, :, 0, 0], expected, 0.1 if products == torch.bfloat16 else 1e-3)


def test_what_is_no_matrix_is_left_to_adam() -> None:
    ours, theirs = (nn.Conv2d(3, 64, 3) for _ in range(2))  # 27 columns: too few
    theirs.load_state_dict(ours.state_dict())
    muon, adam = Muon(ours.parameters(), lr=0.01), torch.optim.Adam(theirs.parameters(), lr=0.01)
    for seed in range(3):
        for p, q in zip(ours.parameters(), theirs.parameters()):
            p.grad = randn(*p.shape, seed=seed)
            q.grad = p.grad.clone()
        muon.step()
        adam.step()
    for p, q in zip(ours.parameters(), theirs.parameters()):
        assert torch.allclose(p, q, atol=1e-7)


def test_state_comes_back_bit_for_bit() -> None:
    nets = [nn.Conv2d(32, 64, 3), nn.Conv2d(32, 64, 3)]
    optimisers = [Muon(net.parameters(), lr=0.01) for net in nets]

    def step(index: int, seed: int) -> None:
        for number, p in enumerate(nets[index].parameters()):
            p.grad = randn(*p.shape, seed=10 * seed + number)
        optimisers[index].step()

    step(0, 1)
    nets[1].load_state_dict(nets[0].state_dict())
    saved = {name: value.clone() for name, value in optimiser_tensors(optimisers[0], "muon").items()}
    restore_optimiser(optimisers[1], "muon", saved)
    for index in range(2):
        step(index, 2)
    for p, q in zip(nets[0].parameters(), nets[1].parameters()):
        assert torch.equal(p, q)
