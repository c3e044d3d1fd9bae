"""This project's models as codecs under evaluation."""

from pathlib import Path

from PIL import Image

from .baseline import Baseline, RateControl


def of_model(
    model: str | None = None, *, name: str = "gencomp", device: str = "auto", effort: int = 0, aim: str = "realism"
) -> Baseline:
    """A model of any of this project's recipes: the embedded one, or the name, file or hub id of another.

    effort, aim: as in `Codec.encode`. Raises gencomp.ModelError for a model that cannot be used.
    """
    import gencomp
    from gencomp.bitstream import MAX_QUALITY, MIN_QUALITY, STEPS
    from gencomp.codec import model_path
    from gencomp.perceptual import sha256
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
    """Size and cost of a model's networks."""
    from gencomp.model import load_model
    from gencomp.networks import network_of
    from gencomp.networks.contract import parameter_count
    from gencomp.networks.cost import cost

    network = network_of(load_model(path))
    counted = cost(network)
    return {
        "parameters": parameter_count(network.requires_grad_(True)),
        "encoder_kmac": counted.encoder_kmac,
        "decoder_kmac": counted.decoder_kmac,
    }
