"""What a recipe asks of a machine, before it is run: parameters, multiplications, memory and time."""

import time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .discriminators import build_discriminator
from .network import TrainingPass, build_codec, freeze_what_decides_bits, latent_channels
from .recipes import Recipe, stage_span

TRAINED, FROZEN = 16 + 4, 4 + 4  # bytes a parameter: weight, gradient, two moments, and the average


class Load(NamedTuple):
    """Of one stage. kmac: multiply-accumulates a pixel and forward pass, in thousands; flops: of a step, all passes;
    saved_bytes: what the backward pass keeps for one picture; state_bytes: weights, gradients, moments, averages."""

    stage: int
    trained: int
    frozen: int
    discriminator: int
    kmac: float
    discriminator_kmac: float
    flops: float
    saved_bytes: int
    state_bytes: int


def loads(recipe: Recipe) -> list[Load]:
    """The stages of a recipe, counted on the meta device: nothing is computed."""
    found = []
    for stage in (1, 2):
        begin, end = stage_span(recipe, stage)
        if begin < end:
            found.append(_load(recipe, stage))
    return found


def _load(recipe: Recipe, stage: int) -> Load:
    pixels = recipe.crop**2
    with torch.device("meta"):
        codec = build_codec(recipe.model)
        decides_bits = stage == 1 or recipe.trains == "all"
        if not decides_bits:
            freeze_what_decides_bits(codec)
        count, saved = _count(TrainingPass(codec, decides_bits=decides_bits), _inputs(recipe))
        trained = sum(p.numel() for p in codec.parameters() if p.requires_grad)
        frozen = sum(p.numel() for p in codec.parameters()) - trained
        judge_parameters, judge_count = 0, 0.0
        if stage == 2 and recipe.discriminator.kind != "projected":  # a projected one would need its backbone here
            channels, _ = latent_channels(recipe.model)
            judge = build_discriminator(recipe.discriminator, channels)
            side = recipe.crop // 16
            inputs = (torch.empty(1, 3, recipe.crop, recipe.crop), torch.empty(1, channels, side, side))
            judge_count, judge_saved = _count(judge, inputs)
            judge_parameters, saved = sum(p.numel() for p in judge.parameters()), saved + 2 * judge_saved
    synthesis = count if decides_bits else _synthesis_macs(recipe)
    # backward costs twice the forward pass of what is trained; the discriminator judges real and fake for both players
    macs = count + 2 * synthesis + judge_count * (3 + 6)
    state = trained * TRAINED + frozen * FROZEN + judge_parameters * (TRAINED - 4)
    flops = 2 * macs * recipe.batch
    kmac = (count / pixels / 1e3, judge_count / pixels / 1e3)
    return Load(stage, trained, frozen, judge_parameters, *kmac, flops, saved, state)


def _inputs(recipe: Recipe) -> tuple[Tensor, ...]:
    side, (y, z) = recipe.crop // 16, latent_channels(recipe.model)
    noise_z = torch.empty(1, z, -(-side // 4), -(-side // 4))
    step = torch.zeros(1, dtype=torch.long)
    return torch.empty(1, 3, recipe.crop, recipe.crop), step, torch.empty(1), torch.empty(1, y, side, side), noise_z


def _synthesis_macs(recipe: Recipe) -> float:
    codec = build_codec(recipe.model)
    _, step, realism, noise_y, _ = _inputs(recipe)

    class Synthesis(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.codec = codec

        def forward(self, y: Tensor) -> Tensor:
            return self.codec.synthesize(y, step, realism)

    return _count(Synthesis(), (noise_y,))[0]


def _count(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[float, int]:
    """Multiplications of the convolutions of one forward pass, and bytes that it keeps for the backward pass."""
    macs, kept = 0.0, dict[int, int]()
    weights = {p.untyped_storage()._cdata for p in network.parameters()}

    def count(module: nn.Module, _: Any, output: Tensor) -> None:
        nonlocal macs
        if isinstance(module, nn.ConvTranspose2d):
            macs += output[:, 0].numel() * module.weight.numel() / (module.stride[0] * module.stride[1])
        elif isinstance(module, nn.Conv2d):
            macs += output[:, 0].numel() * module.weight.numel()

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in weights:
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    hooks = [
        m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))
    ]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        network(*inputs)
    for hook in hooks:
        hook.remove()
    return macs, sum(kept.values())


def measured_flops(device: torch.device, precision: str, seconds: float = 0.5) -> float:
    """Floating-point operations a second of a 3x3 convolution of 128 channels, forward and backward, measured here."""
    kind = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    if device.type == "cpu" and kind == torch.float16:
        kind = torch.float32
    network = nn.Conv2d(128, 128, 3, padding=1).to(device, kind, memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(8, 128, 32, 32, device=device, dtype=kind).to(memory_format=torch.channels_last).requires_grad_()
    work = 2 * 3 * x[:, 0].numel() * network.weight.numel()
    network(x).sum().backward()
    done, began = 0, time.monotonic()
    while time.monotonic() - began < seconds:
        network(x).sum().backward()
        done += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return work * done / (time.monotonic() - began)


def describe(recipe: Recipe, processes: int, device: torch.device) -> str:
    """The estimates as lines for a person."""
    rate, lines = measured_flops(device, recipe.precision), []
    share = recipe.batch // processes // recipe.accumulate
    bytes_a_value = 1.0 if recipe.precision == "no" else 0.5
    for load in loads(recipe):
        begin, end = stage_span(recipe, load.stage)
        memory = load.state_bytes + load.saved_bytes * share * bytes_a_value
        seconds = load.flops / (rate * processes)
        lines += [
            f"stage {load.stage}, steps {begin:,} to {end:,}",
            f"  trained     {load.trained:,} parameters of the codec"
            + (f", {load.discriminator:,} of the discriminator" if load.discriminator else ""),
            f"  frozen      {load.frozen:,} parameters",
            f"  arithmetic  {load.kmac:.1f} kMAC a pixel of the codec, forward"
            + (f"; {load.discriminator_kmac:.1f} of the discriminator" if load.discriminator else ""),
            f"  a step      {load.flops / 1e12:.3g} TFLOP, about {seconds:.3g} s on {processes} x {device.type}",
            f"  memory      about {memory / 2**30:.2g} GiB a process, {share} pictures at once",
            f"  the stage   about {seconds * (end - begin) / 3600:.3g} hours",
        ]
    lines.append(
        f"(estimated from {rate / 1e12:.3g} TFLOP/s of a convolution measured here; feature losses not counted)"
    )
    return "\n".join(lines)
