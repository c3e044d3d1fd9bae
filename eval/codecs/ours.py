"""This project's models as peers, and peers that a user brings by a function of their own."""

import importlib
import sys
from pathlib import Path

from . import baseline as peers
from . import external
from .baseline import Knob, Peer, PeerError

BUILT_IN = {
    "jpeg": peers.jpeg,
    "jpeg2000": peers.jpeg2000,
    "webp": peers.webp,
    "avif": peers.avif,
    "jpegxl": external.jpegxl,
    "hevc": external.hevc,
    "vvc": external.vvc,
}
NAMES = ("gencomp", *BUILT_IN)


def gencomp_peer(model: str | None = None, *, name: str = "gencomp", device: str = "auto") -> Peer:
    """A model of any of this project's recipes: the embedded one, or the name or path of another.

    Raises gencomp.ModelError for a model that cannot be used.
    """
    import gencomp
    from gencomp.bitstream import MAX_QUALITY, MIN_QUALITY, STEPS
    from gencomp.codec import model_path
    from gencomp.perceptual import sha256

    codec = gencomp.load(model, device=device)
    path = model_path(model)
    knows = "" if codec.knows_realism else ", knows no realism"
    return Peer(
        name, ".gnc", Knob("quality", MIN_QUALITY, MAX_QUALITY, positions=STEPS + 1),
        lambda picture, quality: codec.compress(picture, quality=quality, max_pixels=None),
        lambda data, realism: codec.decompress(data, realism=realism if codec.knows_realism else None, max_pixels=None),
        f"gencomp {gencomp.__version__}, model {codec.model_name} {codec.model_id.hex()}, file {sha256(path)[:8]}, "
        f"{codec.runtime.name} on {codec.device}{knows}",
        has_realism=codec.knows_realism,
        facts=lambda: _facts(path),
    )  # fmt: skip


def _facts(path: Path) -> dict[str, float]:
    """Size and cost of a model: multiply-accumulates are counted in its convolutions."""
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


def build(name: str, models: tuple[str, ...] = (), device: str = "auto") -> list[Peer]:
    """The peers of a codec name: one of NAMES, or package.module:function that returns a Peer.

    "gencomp" is one peer for each of `models`, the embedded model if none is named. Raises PeerError, with the remedy,
    for a codec that is unknown or not installed, and gencomp.ModelError.
    """
    if name == "gencomp":
        if len(models) < 2:
            return [gencomp_peer(model, device=device) for model in models or (None,)]
        return [gencomp_peer(model, name=f"gencomp-{Path(model).stem}", device=device) for model in models]
    if name in BUILT_IN:
        return [BUILT_IN[name]()]
    if ":" in name:
        return [_brought(name)]
    raise PeerError(f"no codec is called {name}; known: {', '.join(NAMES)}, or package.module:function")


def _brought(name: str) -> Peer:
    """A user's own adapter; modules of the current folder count."""
    module, _, function = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        peer = getattr(importlib.import_module(module), function)()
    except (Exception, SystemExit) as error:  # the adapter is the user's code: whatever it raises is the answer
        raise PeerError(f"{name} cannot be built: {type(error).__name__}: {error}") from error
    if not isinstance(peer, Peer):
        raise PeerError(f"{name} returned {type(peer).__name__} where a gencomp.eval.codecs.baseline.Peer is wanted")
    return peer
