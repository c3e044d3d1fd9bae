"""Forward passes on a GPU that is only made believe: torch names a tensor that was left on the CPU."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from gencomp.bitstream import STEPS
from gencomp.networks import build
from gencomp.networks.contract import Network, TrainingInputs
from gencomp.networks.ladder import jpeg
from gencomp.perceptual import wasserstein
from gencomp.refine import objective, rate
from gencomp.train.discriminators.patch import Patch
from gencomp.train.losses import adversarial, bits_of, distortion_balance, feature_matching, rate_distortion, watched
from gencomp.train.recipes import RECIPES
from gencomp.train.terms import Term, Wasserstein, build_terms, weighted

GPU = torch.device("cuda:0")
SIDE = 128


@pytest.fixture(autouse=True)
def believed() -> Iterator[None]:
    kept = (wasserstein._window, jpeg._basis)  # tensors made here must not be met elsewhere, nor the other way
    for cached in kept:
        cached.cache_clear()
    with FakeTensorMode(), torch.no_grad():
        yield
    for cached in kept:
        cached.cache_clear()


def inputs_of(network: Network) -> TrainingInputs:
    noise = {k: torch.rand(2, *shape, device=GPU) for k, shape in network.config.noise_shapes(SIDE).items()}
    step, origin = torch.full((2,), STEPS // 2, device=GPU), torch.zeros(2, 2, dtype=torch.long, device=GPU)
    return TrainingInputs(torch.rand(2, 3, SIDE, SIDE, device=GPU), step, torch.ones(2, device=GPU), noise, origin)


def there(*values: Tensor) -> bool:
    return all(value.device == GPU for value in values)


@pytest.mark.parametrize("name", ["tiny", "balle2018", "minnen2018", "theis2017", "hybrid", "light", "vae"])
def test_training_and_coding_stay_on_the_gpu(name: str) -> None:
    recipe = RECIPES[name]
    with GPU:
        network = build(recipe.model)
    inputs = inputs_of(network)
    output = network(inputs)
    loss = rate_distortion(output.x_hat, bits_of(output), inputs.x, inputs.quality_step, recipe)
    assert there(loss, *watched(inputs, output).values())
    y = network.analyze(inputs.x, inputs.quality_step)
    z = network.hyper_analyze(y)
    x_hat = network.synthesize(torch.round(y), inputs.quality_step, inputs.realism)
    assert there(x_hat, y, *([] if z is None else [z]))


def test_terms_and_discriminators_stay_on_the_gpu() -> None:
    losses = {"mse": Term(1.0), "l1": Term(1.0), "ms_ssim": Term(1.0), "grid_artefacts": Term(1.0, times_realism=True)}
    losses |= {f"wasserstein_{stack}": Wasserstein(1.0) for stack in ("laplacian", "steerable")}
    x, y = torch.rand(2, 2, 3, SIDE, SIDE, device=GPU)
    rows = torch.arange(2).to(GPU)
    balance = distortion_balance(torch.full((2,), STEPS, device=GPU), RECIPES["gan"])
    total, metrics = weighted(build_terms(losses, None, GPU), x, y, torch.ones(2, device=GPU), balance, rows)
    assert there(total, *metrics.values())
    with GPU:
        judge = Patch(width=8).build(20).eval()
    judged = judge(torch.cat([x, y]), torch.rand(4, 20, SIDE // 16, SIDE // 16, device=GPU))
    real, fake = judged.logits[0].chunk(2)
    assert there(*adversarial([real], [fake]), feature_matching(judged.features, judged.features))


def test_refinement_stays_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The objective with its weight-free measure, and a pass of the prior with its choice of residuals."""
    monkeypatch.setattr(objective, "_networks", lambda effort: {})
    x, step = torch.rand(1, 3, SIDE, SIDE, device=GPU), torch.full((1,), STEPS // 2, device=GPU)
    judge = objective.Objective(x, objective.price_of({}, STEPS // 2), objective.aim_of("realism", 3, GPU))
    assert judge._parts
    assert there(judge._of_pixels(x), *(judge._of_part(p, x[..., p.rows, p.columns]) for p in judge._parts))
    with GPU:
        prior = build(RECIPES["tiny"].model).pass_prior
    assert prior is not None
    y = torch.rand(1, 32, 8, 8, device=GPU)
    features, flat = prior.hyper_features(torch.zeros(1, 16, 2, 2, device=GPU), step, 8, 8), y.reshape(-1)
    for index, places in enumerate(rate.pass_indices.__wrapped__(prior.passes, 32, 8, 8, GPU)):
        mean, level = (part.reshape(-1)[places] for part in prior.mean_and_level(index, features, y))
        table = torch.rand(64, 21, device=GPU)
        assert there(*rate.choose_residuals(flat[places] - mean, level, flat[places], table))
