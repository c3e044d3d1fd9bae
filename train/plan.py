"""What a recipe asks of a machine, before it is run: parameters, multiplications, memory and time."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gencomp.networks.contract import TrainingInputs
from gencomp.perceptual.weights import WeightsError

from .data.batches import share_of
from .devices import precision_of
from .discriminators import Discriminator
from .losses import bits_of
from .procedures.contract import Procedure
from .recipe import Recipe, stage_spans

TRAINED, FROZEN = 16 + 4, 4 + 4  # bytes per parameter: weight, gradient, two moments, and the average
JUDGED = 2 + 2 + 4  # forward passes of the discriminator per image: real and fake; back to the images; back to weights


class Load(NamedTuple):
    """Of one stage. kmac: thousands of multiply-accumulates per pixel and forward pass; flops: of a step, all passes;
    saved_bytes: what the backward pass keeps for one image; state_bytes: weights, gradients, moments, averages."""

    stage: str
    trained: int
    frozen: int
    discriminator: int
    kmac: float
    discriminator_kmac: float
    flops: float
    saved_bytes: int
    state_bytes: int


class Count(NamedTuple):
    """Operations of the forward pass, and of it with the backward pass; bytes kept from one to the other."""

    forward: float
    both: float
    saved_bytes: int


def loads(recipe: Recipe) -> list[Load]:
    """The stages of a recipe that have steps, counted on the meta device: nothing is computed."""
    return [_load(recipe, stage) for stage, (begin, end) in zip(recipe.stages, stage_spans(recipe)) if begin < end]


def _load(recipe: Recipe, procedure: Procedure) -> Load:
    crop = recipe.crop
    with torch.device("meta"):
        codec = procedure.network(recipe)
        procedure.choose(codec)
        noise = {k: torch.empty(1, *shape) for k, shape in recipe.model.noise_shapes(crop).items()}
        x, whole, origin = torch.empty(1, 3, crop, crop), torch.zeros(1, dtype=torch.long), torch.zeros(1, 2).long()

        def coded() -> Tensor:
            output = procedure.forward(codec, TrainingInputs(x, whole, torch.empty(1), noise, origin))
            return output.x_hat.sum() + (bits_of(output).sum() if output.bits else 0)

        counted = _count(codec, coded)
        trained = sum(p.numel() for p in codec.parameters() if p.requires_grad)
        frozen = sum(p.numel() for p in codec.parameters()) - trained
        latents = torch.empty(1, recipe.model.latent_channels, crop // codec.stride, crop // codec.stride)
        opponents = [_discriminator(config, x, latents) for config in procedure.opponents.values()]
    parameters = sum(count for count, _ in opponents)
    judged, kept = sum(c.forward for _, c in opponents), sum(c.saved_bytes for _, c in opponents)
    state = trained * TRAINED + frozen * FROZEN + parameters * (TRAINED - 4)
    per_pixel = 1 / (2 * crop**2 * 1e3)  # a multiply-accumulate is two operations
    flops = (counted.both + JUDGED * judged) * recipe.batch
    kmac = (counted.forward * per_pixel, judged * per_pixel)
    return Load(procedure.name, trained, frozen, parameters, *kmac, flops, counted.saved_bytes + 2 * kept, state)


def _discriminator(config: Discriminator, images: Tensor, latents: Tensor) -> tuple[int, Count]:
    """Parameters and operations of a discriminator, for one image; none of one that needs weights of another network,
    which are not looked for here."""
    if not (config.weight or config.feature_matching):
        return 0, Count(0, 0, 0)
    try:
        network = config.build(latents.shape[1])
    except (WeightsError, NotImplementedError):
        return 0, Count(0, 0, 0)

    def judged() -> Tensor:
        return torch.stack([logits.sum() for logits in network(images, latents).logits]).sum()

    return sum(p.numel() for p in network.parameters() if p.requires_grad), _count(network, judged)


def _count(network: nn.Module, passed: Callable[[], Tensor]) -> Count:
    """Operations of matrix products and convolutions, and bytes kept for the backward pass."""
    kept = dict[int, int]()
    weights = {p.untyped_storage()._cdata for p in network.parameters()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage()._cdata not in weights:
            kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            loss = passed()
        forward = counter.get_total_flops()
        loss.backward()
    return Count(forward, counter.get_total_flops(), sum(kept.values()))


def measured_flops(device: torch.device, precision: str, seconds: float = 0.5) -> float:
    """Floating-point operations per second of a 3x3 convolution of 128 channels and its gradients, measured here."""
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


def estimate(recipe: Recipe, processes: int, device: torch.device) -> list[dict[str, Any]]:
    """The estimates for a program: each stage's load, first step, the step after its last, and seconds per step."""
    speed = measured_flops(device, precision_of(recipe.precision, device)) * processes
    spans = {stage.name: span for stage, span in zip(recipe.stages, stage_spans(recipe))}
    stages = []
    for load in loads(recipe):
        begin, end = spans[load.stage]
        stages.append({**load._asdict(), "begin": begin, "end": end, "seconds_per_step": load.flops / speed})
    return stages


def describe(recipe: Recipe, processes: int, device: torch.device) -> str:
    precision, lines = precision_of(recipe.precision, device), list[str]()
    share = -(-recipe.batch // (processes * recipe.accumulate))
    bytes_per_value = 1.0 if precision == "no" else 0.5
    for stage in estimate(recipe, processes, device):
        memory, seconds = (
            stage["state_bytes"] + stage["saved_bytes"] * share * bytes_per_value,
            stage["seconds_per_step"],
        )
        judge = stage["discriminator"]
        lines += [
            f"{stage['stage']}, steps {stage['begin']:,} to {stage['end']:,}",
            f"  trained     {stage['trained']:,} parameters of the codec"
            + (f", {judge:,} of the discriminator" if judge else ""),
            f"  frozen      {stage['frozen']:,} parameters",
            f"  arithmetic  {stage['kmac']:.1f} kMAC per pixel of the codec, forward"
            + (f"; {stage['discriminator_kmac']:.1f} of the discriminator" if judge else ""),
            f"  a step      {stage['flops'] / 1e12:.3g} TFLOP, about {seconds:.3g} s on {processes} x {device.type}",
            f"  memory      about {memory / 2**30:.2g} GiB per process, {share} images at once",
            f"  the stage   about {seconds * (stage['end'] - stage['begin']) / 3600:.3g} hours",
        ]
    for idle, (begin, end) in zip(recipe.stages, stage_spans(recipe)):
        if begin == end:
            lines.append(f"{idle.name} has no steps: it begins at step {begin:,}, where it ends")
    lines.append(f"(estimated from the speed of a convolution here; precision {precision}; feature losses not counted)")
    try:
        held = f"{recipe.batch} images per step, {share_of(recipe, processes)} per process"
        lines.append(f"{held}; k times as many ask for a learning rate of about sqrt(k) times {recipe.learning_rate:g}")
    except ValueError as error:
        lines.append(f"{error} (a multiple, and the root of its growth)")
    return "\n".join(lines)
