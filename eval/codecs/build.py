"""From the name of a codec to the codec: one row a codec that comes along, model files, and a user's own functions."""

import importlib
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from PIL import Image

from gencomp.effort import AIMS

from . import classical, external
from .baseline import Baseline, BaselineError, RateControl

BUILT_IN: Mapping[str, Callable[[], Baseline]] = {
    "jpeg": classical.jpeg,
    "jpegli": external.jpegli,
    "jpeg2000": classical.jpeg2000,
    "webp": classical.webp,
    "avif": classical.avif,
    "avif-444-psnr": partial(classical.avif, "psnr", full_chroma=True),
    "avif-444-ssim": partial(classical.avif, "ssim", full_chroma=True),
    "avif-444-psnr-slow": partial(classical.avif, "psnr", full_chroma=True, speed=classical.AVIF_SLOW),
    "avif-444-ssim-slow": partial(classical.avif, "ssim", full_chroma=True, speed=classical.AVIF_SLOW),
    "jpegxl": external.jpegxl,
    "hevc": external.hevc,
    "hevc-444": partial(external.hevc, full_chroma=True),
    "vvc": external.vvc,
}
OURS = "gencomp"
NAMES = (OURS, *BUILT_IN)
MODEL_SUFFIX = ".safetensors"


def build(name: str, models: tuple[str, ...] = (), device: str = "auto") -> list[Baseline]:
    """The codecs of a name: one of NAMES, a model file of this project, or package.module:function.

    "gencomp" is one codec for each of `models`, the embedded model if none is named; it and model files may end in @3
    or @3-pixels, for an effort of 3 aimed at realism or pixels. Raises BaselineError, with the remedy, for a codec that
    is unknown or not installed, and gencomp.ModelError.
    """
    base, effort, aim = split_effort(name)
    if name in BUILT_IN:
        return [BUILT_IN[name]()]
    if base == OURS or is_model_file(base):

        def ours(model: str | None, called: str) -> Baseline:
            return of_model(model, name=called, device=device, effort=effort, aim=aim)

        ending = name.removeprefix(base)
        if is_model_file(base):
            return [ours(base, name_of_model(base) + ending)]
        if len(models) < 2:
            return [ours(models[0] if models else None, name)]
        return [ours(model, name_of_model(model) + ending) for model in models]
    if ":" in name:
        return [_brought(name)]
    known = ", ".join(NAMES)
    raise BaselineError(f"no codec is called {name}; known: {known}, FILE{MODEL_SUFFIX}, or package.module:function")


def split_effort(name: str) -> tuple[str, int, str]:
    """A codec's name without its @effort or @effort-aim, the effort and the aim: 0 where it has none, or is no
    model's."""
    found = re.fullmatch(rf"({OURS}|.*{re.escape(MODEL_SUFFIX)})@(\d)(?:-({'|'.join(AIMS)}))?", name)
    return (found[1], int(found[2]), found[3] or AIMS[0]) if found else (name, 0, AIMS[0])


def is_model_file(name: str) -> bool:
    """Whether a codec's name is that of a model file, with or without an effort."""
    return split_effort(name)[0].endswith(MODEL_SUFFIX)


def name_of_model(model: str) -> str:
    """The name under which a model stands in the results."""
    return f"{OURS}-{Path(model).stem}"


def _brought(name: str) -> Baseline:
    """A user's own adapter; modules of the current folder count."""
    module, _, function = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        codec = getattr(importlib.import_module(module), function)()
    except (Exception, SystemExit) as error:  # the adapter is the user's code: whatever it raises is the answer
        raise BaselineError(f"{name} cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(codec, Baseline):
        raise BaselineError(f"{name} returned {type(codec).__name__}, not a gencomp.eval.codecs.baseline.Baseline")
    return codec


def of_model(
    model: str | None = None, *, name: str = "gencomp", device: str = "auto", effort: int = 0, aim: str = "realism"
) -> Baseline:
    """A model of any of this project's recipes: the embedded one, or the name, file or hub id of another. effort, aim:
    as in `Codec.encode`. Raises gencomp.ModelError for a model that cannot be used."""
    import gencomp
    from gencomp.bitstream import MAX_QUALITY, MIN_QUALITY, STEPS
    from gencomp.codec import model_path
    from gencomp.perceptual.weights import sha256
    from gencomp.refine.objective import minimised

    codec = gencomp.load(model, device=device)
    path = model_path(model)

    def one_pass(image: Image.Image, quality: float) -> int:
        return codec.size(image, quality, max_pixels=None)

    given = codec.model.facts.get("minimised")  # by its training, as the model says itself
    by_training = tuple(map(str, given)) if isinstance(given, list) else ("psnr", "ms_ssim")
    by_refinement = minimised(aim, effort) if effort else ()
    refined = f", effort {effort} for {', '.join(by_refinement)}" if effort else ""
    knows = "" if codec.knows_realism else ", knows no realism"
    return Baseline(
        name, ".gnc", RateControl("quality", MIN_QUALITY, MAX_QUALITY, positions=STEPS + 1),
        lambda image, quality: codec.compress(image, quality=quality, max_pixels=None, effort=effort, aim=aim),
        lambda data, realism: codec.decompress(data, realism=realism if codec.knows_realism else None, max_pixels=None),
        f"gencomp {gencomp.__version__}, model {codec.model_name} {codec.model_id.hex()}, file {sha256(path)[:8]}, "
        f"{codec.runtime.name} on {codec.device}{knows}" + refined,
        has_realism=codec.knows_realism, default_realism=1.0 if codec.knows_realism else None,
        minimised=tuple(dict.fromkeys((*by_training, *by_refinement))),
        facts=lambda: _facts(path), sample_format=lambda data: "RGB, 8 bits",
        size=None if effort else one_pass, sketch=one_pass if effort else None,
    )  # fmt: skip


def _facts(path: Path) -> dict[str, float]:
    from gencomp.model import load_model
    from gencomp.networks import network_of
    from gencomp.networks.contract import parameter_count
    from gencomp.networks.cost import cost

    network = network_of(load_model(path))
    counted = cost(network)._asdict()
    return {"parameters": parameter_count(network.requires_grad_(True)), **counted}
