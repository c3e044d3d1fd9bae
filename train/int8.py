"""A model to one whose synthesis computes in eight bits: calibration on photographs, weights, graph."""

from pathlib import Path

import numpy as np
import torch

from gencomp.bitstream import ModelError
from gencomp.model import Model, check_graphs, load_model, save_model
from gencomp.networks import network_of
from gencomp.networks.contract import Calibration, Network
from gencomp.networks.graphs import graphs_of
from gencomp.networks.int8 import calibrated
from gencomp.networks.int8_graph import int8_graph

from .data.batches import open_data
from .export import calibration_latents

CALIBRATION = 32  # crops, their qualities spread over the whole range


def quantise(source: Path, out: Path, data: list[str], name: str = "", *, replace: bool = True) -> Model:
    """Write the model in `source` with the bottlenecks of its synthesis in eight bits; equal inputs give equal bytes.

    data: photographs to calibrate on. The model id stays. ModelError for a model that has no such layers, or is in
    eight bits already; SourceError for data that are not there.
    """
    model = load_model(source)
    if model.int8:
        raise ModelError(f"{model.name} is in eight bits already")
    network = network_of(model)
    images = calibration_latents(network, open_data(data, streamed=False), CALIBRATION)
    convs = calibrated(network, lambda: _show(network, images))
    weights = {f"{conv}.weight": found.weight for conv, found in convs.items()}
    biases = {conv: model.weights[f"{conv}.bias"].astype(np.float32) for conv in convs}
    graphs = graphs_of(network)
    graphs["synthesis"] = int8_graph(graphs["synthesis"], convs, biases)
    done = model._replace(
        name=name or f"{model.name}-int8",
        weights={key: weight for key, weight in model.weights.items() if key not in weights},
        int8=weights,
        graphs={key: np.frombuffer(graph, np.uint8) for key, graph in graphs.items()},
        facts=model.facts | {"int8": True},
    )
    check_graphs(done)
    save_model(done, out, replace=replace)
    return done


@torch.no_grad()
def _show(network: Network, images: list[Calibration]) -> None:
    """The synthesis at work, at both ends of realism."""
    for image in images:
        y_hat, quality_step = torch.round(image.y), torch.tensor([image.quality_step])
        for realism in (0.0, 1.0) if network.knows_realism else (0.0,):
            network.synthesize(y_hat, quality_step, torch.tensor([realism]))
