"""`gencomp bench`: how long each stage takes and what it needs, beside named baselines in the same run."""

import json
import re
import statistics
import time
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


class Size(click.ParamType[tuple[int, int]]):
    """Width and height in pixels, as 768x512."""

    name = "wxh"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """(width, height), or a usage error."""
        given = re.fullmatch(r"(\d+)x(\d+)", str(value))
        if given is None or not (0 < int(given[1]) <= 20_000 and 0 < int(given[2]) <= 20_000):
            self.fail(f"{value!r} is no size such as 768x512", param, ctx)
        return int(given[1]), int(given[2])


@click.command()
@click.option(
    "--size", "sizes", multiple=True, type=Size(), metavar="WxH", help="Repeatable.  [default: 768x512, 1536x1024]"
)
@click.option("--threads", multiple=True, type=click.IntRange(1, 1024), help="Repeatable.  [default: 1 and all cores]")
@click.option(
    "--device",
    "devices",
    multiple=True,
    type=click.Choice(["cpu", "cuda"]),
    help="Repeatable.  [default: cpu, and cuda where there is one]",
)
@click.option("--repeat", type=click.IntRange(1, 100), default=3, show_default=True, help="Median of so many runs.")
@click.option("--quality", type=click.FloatRange(1, 100), help="Quality of the .gnc files.  [default: the codec's own]")
@click.option("--model", metavar="NAME|FILE", help="A model other than the embedded one.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Also write the JSON."
)
@options.overwrite
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of the table.")
def bench(
    sizes: tuple[tuple[int, int], ...],
    threads: tuple[int, ...],
    devices: tuple[str, ...],
    repeat: int,
    quality: float | None,
    model: str | None,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure the codec's stages at several sizes, thread counts and devices.

    Transform, hyper-analysis, integer networks (hyper-decoder and context), range coder, the encoder's check of its own
    file, synthesis: seconds, and by how much each raises the memory. In the same run, with the same threads: JPEG, WebP
    and AVIF at the size nearest to the .gnc file, and the synthesis networks of HiFiC and mbt2018-mean (their shapes,
    without weights or entropy coding). The image is scikit-image's coffee cup, resized.
    """
    import torch

    import gencomp
    from gencomp.bitstream import DEFAULT_QUALITY

    outputs = protecting([model], overwrite)
    if output is not None:
        outputs.check(output)
    threads = threads or tuple(sorted({1, torch.get_num_threads()}))
    runs = []
    for device in devices or (("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)):
        codec = gencomp.load(model, device=device, runtime="torch")  # as the networks beside it, with their threads
        for count in threads if device == "cpu" else threads[-1:]:
            torch.set_num_threads(count)
            for size in sizes or ((768, 512), (1536, 1024)):
                echo(f"{device}, {count} threads, {size[0]}x{size[1]} ...", err=True)
                runs.append(_run(codec, size, count, quality or DEFAULT_QUALITY, repeat))
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
    run: dict[str, Any] = {
        "device": codec.device,
        "runtime": codec.runtime.name,
        "threads": threads,
        "width": size[0],
        "height": size[1],
        "bytes": first.size,
        "bpp": 8 * first.size / (size[0] * size[1]),
        "latents": first.latents,
    }
    for way in WAYS:
        cold: dict[str, Any] = getattr(first, way)
        run[way] = {
            stage: {
                "seconds": statistics.median(getattr(p, way)[stage].seconds for p in warm),
                "memory_mb": cold[stage].memory_mb,
            }
            for stage in stages.STAGES
            if stage in cold
        }
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
    first = _seconds(work)
    return statistics.median(_seconds(work) for _ in range(_repeats(first, repeat)))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _repeats(seconds: float, wanted: int) -> int:
    return max(1, min(wanted, int(BUDGET_S / max(seconds, 1e-9))))


def _table(run: dict[str, Any]) -> str:
    lines = [
        f"{run['width']}x{run['height']}, {run['device']}, {run['runtime']}, {run['threads']} threads: "
        f"{run['bytes']} bytes, {run['bpp']:.3f} bpp, {run['latents']} latents",
        f"{'':26}{'encode':>10}{'memory':>10}{'decode':>12}{'memory':>10}",
    ]
    for stage in dict.fromkeys([*run["encode"], *run["decode"]]):
        lines.append(f"{stage:26}{'  '.join(_cell(run[way].get(stage)) for way in WAYS)}")
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


def _cell(measured: dict[str, Any] | None) -> str:
    if measured is None:
        return " " * 20
    memory = measured["memory_mb"]
    return f"{measured['seconds']:>9.4f}s" + (f"{memory:>7.0f} MB" if memory is not None else " " * 10)
