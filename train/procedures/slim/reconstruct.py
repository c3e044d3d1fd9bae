"""Closed form for what removed channels left behind: the layers after them are solved by least squares.

Bottleneck after bottleneck, the last layer takes the weights that bring the narrower synthesis' features nearest to the
teacher's at the same place, given all that was solved before; likewise the layers between resolutions (He, Zhang, Sun
2017, "Channel pruning for accelerating very deep neural networks", eq. 5):

    min over W, b of  |t - W f - b|^2 + ridge |W - W0|^2,    f what the layer reads, t what its output should be

No gradients are needed, and training starts from there. The teacher's channels must be in the narrower network's order.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gencomp.networks.layers import Block, watched
from gencomp.networks.transforms import Synthesis

RIDGE = 1e-3  # times the mean square of the features

Run = Callable[[], object]


@torch.no_grad()
def reconstruct(narrow: Synthesis, run: Run, teacher: Synthesis, run_teacher: Run) -> None:
    """Solve the layers of `narrow` in place; the runs show both the same latents. 1x1 layers alone are solved."""
    for stage, up in (("stage16", "up8.0"), ("stage8", "up4.0"), ("stage4", "up2.0")):
        modules = teacher.named_modules()
        blocks = [name for name, module in modules if name.startswith(stage) and isinstance(module, Block)]
        taught = _inputs_of(teacher, [*blocks, up], run_teacher)
        for name in blocks:
            x, condition = _inputs_of(narrow, [name], run)[name]
            _solve_block(narrow.get_submodule(name), x, condition, teacher.get_submodule(name), *taught[name])
        conv, wide = narrow.get_submodule(up), teacher.get_submodule(up)
        _solve(conv, _inputs_of(narrow, [up], run)[up][0], wide(taught[up][0]))


def _solve_block(block: Any, x: Tensor, condition: Tensor, wide: Any, t: Tensor, wide_condition: Tensor) -> None:
    """Both bottlenecks of a `Block`, from what comes in: x for the narrower one, t for the teacher's."""
    for half, gain, wide_gain in zip(("first", "second"), _gains(block, condition), _gains(wide, wide_condition)):
        bottleneck, teaching = getattr(block, half), getattr(wide, half)
        if teaching is not None:
            t = t + wide_gain * teaching(t)
        if bottleneck is not None:
            inner = F.leaky_relu(bottleneck.spatial(F.leaky_relu(bottleneck.reduce(x), 0.01)), 0.01)
            _solve(bottleneck.expand, inner, (t[:, : x.shape[1]] - x) / gain)
            x = x + gain * bottleneck(x)


def _gains(block: Block, condition: Tensor) -> tuple[Tensor, ...]:
    return (1 + condition @ block.gains)[:, :, None, None].chunk(2, dim=1)


def _solve(conv: Any, features: Tensor, target: Tensor) -> None:
    """The weights and bias of a 1x1 convolution: features [N, I, h, w] -> the first O channels of target."""
    f = features.transpose(0, 1).flatten(1).double()
    f = torch.cat([f, torch.ones_like(f[:1])])
    t = target[:, : conv.out_channels].transpose(0, 1).flatten(1).double()
    before = torch.cat([conv.weight[:, :, 0, 0], conv.bias[:, None]], 1).double()
    gram = f @ f.T
    ridge = RIDGE * gram.diagonal()[:-1].mean() * torch.eye(len(f), dtype=f.dtype, device=f.device)
    solved = torch.linalg.solve(gram + ridge, (t @ f.T + before @ ridge).T).T
    conv.weight.copy_(solved[:, :-1, None, None])
    conv.bias.copy_(solved[:, -1])


def _inputs_of(network: Synthesis, names: list[str], run: Run) -> dict[str, tuple[Tensor, ...]]:
    """The inputs of modules while a network runs, float32, one sample after the other."""
    seen: dict[str, list[tuple[Tensor, ...]]] = {name: [] for name in names}

    def keep(name: str, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        seen[name].append(tuple(value.float() for value in inputs))

    with watched(network, names, keep):
        run()
    return {name: tuple(torch.cat(values) for values in zip(*found)) for name, found in seen.items()}
