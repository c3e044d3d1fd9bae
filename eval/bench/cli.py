"""`gencomp bench`: how long each stage takes and what it needs, beside named baselines in the same run."""

import json
import statistics
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.outputs import protecting

if TYPE_CHECKING:
    from PIL import Image

    from gencomp.codec import Codec

BASELINES = ("jpeg", "webp", "avif")
BUDGET_S = 20.0  # a measurement is repeated while it fits into this
WAYS = ("encode", "decode")


@click.command()
@options.many("--size", "sizes", type=options.ImageSize(), default=("768x512", "1536x1024"), help="Repeatable.")
@options.many("--threads", type=click.IntRange(1, 1024), help="Repeatable.  [default: 1 and all cores]")
@options.many("--device", "devices", type=click.Choice(["cpu", "cuda"]), help="Repeatable.  [default: what is there]")
@click.option("--repeat", type=click.IntRange(1, 100), default=3, help="Median of so many runs.")
@options.quality("Of the .gnc files.")
@options.model
@click.option("-o", "--output", type=options.FILE, metavar="FILE", help="Also write the JSON.")
@options.overwrite
@options.one_json
def bench(sizes: tuple[tuple[int, int], ...], output: Path | None, as_json: bool, **how: Any) -> None:
    """Measure the codec's stages at several sizes, thread counts and devices.

    Transform, hyper-analysis, integer networks (hyper-decoder and context), range coder, the encoder's check of its own
    file, synthesis: seconds, and by how much each raises the memory. In the same run, with the same threads: JPEG, WebP
    and AVIF at the size nearest to the .gnc file, and the synthesis networks of HiFiC and mbt2018-mean (their shapes,
    without weights or entropy coding). The image is scikit-image's coffee cup, resized.
    """
    import torch

    import gencomp

    outputs = protecting([how["model"]], how["overwrite"])
    if output is not None:
        outputs.check(output)
    threads = how["threads"] or tuple(sorted({1, torch.get_num_threads()}))
    runs = []
    for device in how["devices"] or (("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)):
        codec = gencomp.load(
            how["model"], device=device, runtime="torch"
        )  # as the networks beside it, with their threads
        for count in threads if device == "cpu" else threads[-1:]:
            torch.set_num_threads(count)
            for size in sizes:
                echo(f"{device}, {count} threads, {size[0]}x{size[1]} ...", err=True)
                runs.append(_run(codec, size, count, how["quality"], how["repeat"]))
    found = {"gencomp": gencomp.__version__, "model": codec.model_name, "torch": str(torch.__version__), "runs": runs}
    if output is not None:
        outputs.write(output, json.dumps(found, indent=1).encode())
    echo(json.dumps(found) if as_json else "\n\n".join(_table(run) for run in runs))


def _run(codec: "Codec", size: tuple[int, int], threads: int, quality: float, repeat: int) -> dict[str, Any]:
    import torch
    from PIL import Image
    from skimage import data

    from . import stages

    image = Image.fromarray(data.coffee()).resize(size, Image.Resampling.LANCZOS)
    first = stages.passed(codec, image, quality)  # memory is taken cold, seconds warm
    warm = [stages.passed(codec, image, quality) for _ in range(_repeats(first.encode["total"].seconds, repeat))]
    run: dict[str, Any] = {"device": codec.device, "runtime": codec.runtime.name, "threads": threads}
    run |= {"width": size[0], "height": size[1], "latents": first.latents}
    run |= {"bytes": first.size, "bpp": 8 * first.size / (size[0] * size[1])}
    for way in WAYS:
        cold, run[way] = getattr(first, way), {}
        for stage in [stage for stage in stages.STAGES if stage in cold]:
            seconds = statistics.median(getattr(p, way)[stage].seconds for p in warm)
            run[way][stage] = {"seconds": seconds, "memory_mb": cold[stage].memory_mb}
    run["latents_per_second"] = {way: first.latents / run[way]["range coder"]["seconds"] for way in WAYS}
    run["baselines"] = [_baseline(name, image, first.size, repeat) for name in BASELINES]
    networks = {"HiFiC generator": stages.hific_generator, "mbt2018-mean synthesis": stages.mbt2018_synthesis}
    for name, make in networks.items():
        seconds = _median_seconds(make(size[1], size[0], torch.device(codec.device)), repeat)
        run["baselines"].append({"name": name, "decode_s": seconds})
    for baseline in run["baselines"]:
        measured = [way for way in WAYS if f"{way}_s" in baseline]
        baseline |= {f"{way}_ratio": baseline[f"{way}_s"] / run[way]["total"]["seconds"] for way in measured}
    return run


def _baseline(name: str, image: "Image.Image", target: int, repeat: int) -> dict[str, Any]:
    from ..codecs.baseline import BaselineError
    from ..codecs.build import build
    from ..run.coding import nearest

    try:
        baseline = build(name)[0]
    except BaselineError as error:
        return {"name": name, "note": str(error)}
    match = nearest(baseline, image, target)
    data = baseline.encode(image, match.setting)
    encode_s = _median_seconds(lambda: baseline.encode(image, match.setting), repeat)
    decode_s = _median_seconds(lambda: baseline.decode(data, 1.0), repeat)
    return {"name": name, "bytes": match.size, "note": match.note, "encode_s": encode_s, "decode_s": decode_s}


def _median_seconds(work: Callable[[], object], repeat: int) -> float:
    """Median wall-clock seconds after one run that does not count."""
    first = timeit.timeit(work, number=1)
    return statistics.median(timeit.repeat(work, number=1, repeat=_repeats(first, repeat)))


def _repeats(seconds: float, wanted: int) -> int:
    return max(1, min(wanted, int(BUDGET_S / max(seconds, 1e-9))))


def _table(run: dict[str, Any]) -> str:
    lines = [
        f"{run['width']}x{run['height']}, {run['device']}, {run['runtime']}, {run['threads']} threads: "
        f"{run['bytes']} bytes, {run['bpp']:.3f} bpp, {run['latents']} latents",
        f"{'':26}{'encode':>10}{'memory':>10}{'decode':>12}{'memory':>10}",
    ]
    for stage in dict.fromkeys([*run["encode"], *run["decode"]]):
        lines.append(f"{stage:26}{'  '.join(_cell(**run[way].get(stage, {})) for way in WAYS)}")
    rates = run["latents_per_second"]
    lines.append(f"range coder, latents/s    {rates['encode']:>10.3g}{rates['decode']:>22.3g}")
    lines.append(f"{'':26}{'encode':>10}{'ratio':>10}{'decode':>12}{'ratio':>10}")
    for one in run["baselines"]:
        cells = [
            f"{one[f'{way}_s']:>9.4f}s{one[f'{way}_ratio']:>9.2f}x" if f"{way}_s" in one else " " * 20 for way in WAYS
        ]
        lines.append(f"{one['name']:26}{'  '.join(cells)}  {one.get('note', '')}".rstrip())
    lines.append("ratio: the baseline's seconds over gencomp's total; above 1 the baseline is slower")
    return "\n".join(lines)


def _cell(seconds: float | None = None, memory_mb: float | None = None) -> str:
    time = "" if seconds is None else f"{seconds:.4f}s"
    return f"{time:>10}" + f"{'' if memory_mb is None else f'{memory_mb:.0f} MB':>10}"
