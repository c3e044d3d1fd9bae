"""The channels of a synthesis: which weights belong to them, which matter most, and a part of them as a network, for
good or for a pass of the supernet, all of whose widths share its weights.

Every axis of a weight counts the channels of a *group*: those of one resolution (w16, w8, w4, w2), which all its layers
share, or those after the first and the second layer inside one bottleneck. The order within a group is of no account,
so a synthesis may be sorted by importance, after which the first n channels are the best n.

Closed form for what removed channels left behind: bottleneck after bottleneck, the last layer takes the weights that
bring the narrower synthesis' features nearest to the teacher's at the same place, given all that was solved before;
likewise the layers between resolutions (He, Zhang, Sun 2017, "Channel pruning for accelerating very deep neural
networks", eq. 5):

    min over W, b of  |t - W f - b|^2 + ridge |W - W0|^2,    f what the layer reads, t what its output should be

No gradients are needed, and training starts from there. The teacher's channels must be in the narrower network's order.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gencomp.networks.hyperprior import HyperpriorNetwork
from gencomp.networks.layers import Block, watched
from gencomp.networks.transforms import Synthesis, TransformConfig

UPSCALED = 4  # convolution outputs per channel of a pixel shuffle by 2
_INSIDE = re.compile(r"stage(\d+)\.blocks\.(\d+)\.(first|second)\.(reduce|spatial|expand)\.")
_FIXED: dict[str, tuple[str | None, ...]] = {
    "stem": ("w16", None),
    "up8.0": ("w8", "w16"),
    "up4.0": ("w4", "w8"),
    "up2.0": ("w2", "w4"),
    "refine": ("w2", "w2"),
    "head.0": (None, "w2"),
    "grain.0.project": ("w8", None),
    "grain.0.gate": ("w8", "w8"),
    "grain.1.project": ("w4", None),
    "grain.1.gate": ("w4", "w4"),
}


def groups_of(name: str) -> tuple[str | None, ...]:
    """The groups that the axes of a weight of the synthesis count, outputs first; None: not channels of a group."""
    if found := _INSIDE.match(name):
        stage, block, half, layer = found.groups()
        within = f"{stage}.{block}.{half}"
        return {
            "reduce": (f"{within}.a", f"w{stage}"),
            "spatial": (f"{within}.b", f"{within}.a"),
            "expand": (f"w{stage}", f"{within}.b"),
        }[layer]
    if name.endswith(".gains"):  # [conditions, 2 C]: those of the first bottleneck, then those of the second
        return (None, "w" + name[len("stage") : name.index(".")])
    return _FIXED[name.rpartition(".")[0]]


def group_sizes(config: TransformConfig) -> dict[str, int]:
    sizes = dict(zip(("w16", "w8", "w4", "w2"), config.decoder_widths))
    for stage, inner in zip((16, 8, 4), config.inner_by_stage()):
        for index, width in enumerate(inner):
            within = f"{stage}.{index // 2}.{('first', 'second')[index % 2]}"
            sizes |= {f"{within}.a": width, f"{within}.b": width}
    return sizes


def chosen(weights: Mapping[str, Tensor], channels: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of some channels of each group, int64 [n] in the order wanted; differentiable.

    A bottleneck without channels has no weights.
    """
    found = {}
    for name, weight in weights.items():
        groups = groups_of(name)
        if any(group is not None and not len(channels[group]) for group in groups):
            continue
        for axis, group in enumerate(groups[: weight.dim()]):
            if group is not None:
                weight = weight.index_select(axis, _places(name, axis, channels[group], weight.shape[axis]))
        found[name] = weight
    return found


def _places(name: str, axis: int, channels: Tensor, length: int) -> Tensor:
    if name.startswith("up") and axis == 0:
        return (UPSCALED * channels[:, None] + torch.arange(UPSCALED, device=channels.device)).flatten()
    return torch.cat([channels, channels + length // 2]) if name.endswith(".gains") else channels


def narrowed(weights: Mapping[str, Tensor], config: TransformConfig) -> dict[str, Tensor]:
    """The first channels of each group, as many as a narrower synthesis has."""
    device = next(iter(weights.values())).device
    return chosen(weights, {g: torch.arange(n, device=device) for g, n in group_sizes(config).items()})


@torch.no_grad()
def importance_order(synthesis: Synthesis, config: TransformConfig, run: Callable[[], object]) -> dict[str, Tensor]:
    """Channels of each group by importance, the most important first; `run` shows the synthesis typical inputs.

    A channel weighs what it adds to the layers that read it: the mean square of its activation, times the square of
    the weights on it, summed over these layers.
    """
    scores = {group: torch.zeros(size) for group, size in group_sizes(config).items()}
    convs = {name: module for name, module in synthesis.named_modules() if isinstance(module, nn.Conv2d)}

    def watch(name: str, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        group = groups_of(f"{name}.weight")[1]
        if group is not None:
            energy = inputs[0].float().square().mean((0, 2, 3))
            scores[group] += (energy * convs[name].weight.square().sum((0, 2, 3))).cpu()

    with watched(synthesis, convs, watch):
        run()
    return {group: score.argsort(descending=True, stable=True) for group, score in scores.items()}


class Supernet(HyperpriorNetwork):
    """Weights and names are those of the family. widths: what the synthesis runs at; None: all of it."""

    widths: TransformConfig | None = None

    def draw(self, y_hat: Tensor, condition: Tensor, realism: Tensor, origin: Tensor) -> Tensor:
        if self.widths is None:
            return super().draw(y_hat, condition, realism, origin)
        with torch.device("meta"):
            shell = Synthesis(self.widths)
        weights = narrowed(dict(self.synthesis.named_parameters()), self.widths)
        return functional_call(shell, weights, (y_hat, condition, realism, origin), strict=True)


def removed_for_good(supernet: dict[str, Tensor], widths: TransformConfig) -> dict[str, Tensor]:
    """The weights of a whole network with the synthesis at `widths`, from those of the supernet."""
    prefix = "synthesis."
    wide = {name.removeprefix(prefix): value for name, value in supernet.items() if name.startswith(prefix)}
    rest = {name: value for name, value in supernet.items() if not name.startswith(prefix)}
    return rest | {prefix + name: value.clone() for name, value in narrowed(wide, widths).items()}


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
