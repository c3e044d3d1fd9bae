"""`gencomp study new`: from the images to a study."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.cli.options import OLD_FILE, OLD_FOLDER, many
from gencomp.files import shown
from gencomp.outputs import no_more_open_than

from ..console import DESIGN, TASK, bar, check_task, seed
from ..plan import MAX_DENSITY

if TYPE_CHECKING:
    from ..plan import Study
    from .build import StudyOptions
    from .sources import CodecFolder, StudyImage

MAX_TRIALS = 40  # of the random and active designs unless told otherwise: about seven minutes


def size(_: click.Context, __: click.Parameter, value: str) -> tuple[int, int] | None:
    if value == "whole":
        return None
    if not (found := re.fullmatch(r"(\d{2,5})(?:x(\d{2,5}))?", value)):
        raise click.BadParameter("give WIDTHxHEIGHT in pixels, one number for a square, or whole")
    return int(found[1]), int(found[2] or found[1])


def places(_: click.Context, __: click.Parameter, values: Sequence[str]) -> dict[str, tuple[int, int]]:
    found = _parsed(values, r"(.+)=(\d+),(\d+)", "IMAGE=X,Y, the crop's left and top pixel")
    return {match[1]: (int(match[2]), int(match[3])) for match in found}


def folders_of(_: click.Context, __: click.Parameter, values: Sequence[str]) -> "list[CodecFolder]":
    from .sources import CodecFolder

    found = _parsed(values, r"([^=@]+)(?:@([0-9.]+))?=(.+)", "NAME=FOLDER or NAME@BPP=FOLDER")
    return [CodecFolder(m[1], float(m[2]) if m[2] else None, Path(m[3])) for m in found]


def _parsed(values: Sequence[str], form: str, said: str) -> list[re.Match[str]]:
    found = [(value, re.fullmatch(form, value)) for value in values]
    if wrong := [value for value, match in found if not match]:
        raise click.BadParameter(f"{wrong[0]!r}: give {said}")
    return [match for _, match in found if match]


@click.command()
@click.argument("folder", metavar="DIR", type=options.FOLDER)
@click.option("--from", "evaluation", type=OLD_FOLDER, help="Folder of a `gencomp eval` run: results.csv and images.")
@click.option("--originals", type=OLD_FOLDER, help="Folder of originals; needed with --folder.")
@many("--folder", "folders", callback=folders_of, metavar="NAME[@BPP]=FOLDER", help="One codec's images; repeat.")
@many("--image", "images", metavar="NAME", help="Take this image; repeat. Default: all.")
@click.option("--draw", type=click.IntRange(1), help="Draw so many images by the seed. Default: all.")
@many("--codec", "codecs", metavar="NAME", help="Take this codec; repeat. Default: all.")
@many("--setting", "settings", metavar="TEXT", help="Take this setting, as its column has it; repeat. Default: all.")
@many("--realism", "realisms", type=float, help="Take this realism; repeat. Default: all.")
@click.option("--crop", default="512", callback=size, metavar="WxH", help="Largest crop in pixels, or `whole`; at 1:1.")
@many("--crop-at", callback=places, metavar="IMAGE=X,Y", help="Where to crop an image; repeat. Default: by the seed.")
@click.option("--crops-per-image", type=click.IntRange(1, 20), default=1)
@click.option("--task", type=TASK, default="pairs", help="What raters do, see above.")
@click.option("--design", type=DESIGN, default="random", help="What each rater is shown, see above.")
@click.option("--trials", type=click.IntRange(1, 2000), help=f"Of each rater. Default: {MAX_TRIALS} or all; full: all.")
@click.option("--checks", type=click.IntRange(0, 100), help="Of attention. Default: one careless rater in 4000 passes.")
@click.option("--repeats", type=click.IntRange(0, 100), default=0, help="Pairs each rater sees again, sides swapped.")
@click.option("--training", type=click.IntRange(0, 20), default=3, help="Practice trials.")
@click.option("--rest", "rest_every", type=click.IntRange(0), default=50, help="After so many trials; 0: never.")
@click.option("--layout", type=click.Choice(["flip", "side", "inplace"]), help="Default: flip of pairs, else side.")
@click.option(
    "--ties/--no-ties", default=False, show_default=False, help="Offer `no difference`. Default: forced choice."
)
@click.option("--question", help="What raters are asked at each trial. Default: by the task.")
@click.option("--title", default="Comparing images")
@click.option("--max-density", type=click.FloatRange(1, 20), default=MAX_DENSITY, help="Device pixels per image pixel.")
@click.option("--questions", type=OLD_FILE, help="JSON list of id, when (before, after), text, options.")
@click.option("--no-questions", is_flag=True, help="Ask nothing but the trials.")
@click.option("--consent", type=OLD_FILE, help="Your text that a rater reads first. Default: a draft to complete.")
@seed
@options.one_json
def new(
    folder: Path, evaluation: Path | None, originals: Path | None, folders: list[Any], as_json: bool, **how: Any
) -> None:
    """Build a study in DIR from an evaluation, or from folders of images named like the originals.

    Tasks: pairs, which of two is closer to the original; dsis, grade one beside the original (BT.500-15); acr, grade
    one alone, the hidden original among them (P.910). Designs: full, each rater sees every pair, or every image to
    rate; random, the least shown first; active, the least certain pairs first. Layouts: flip, the original beside A/B;
    side, all side by side; inplace, all in one place, for small screens.

    \b
    gencomp study new study --from report --setting "0.12 bpp" --draw 20
    gencomp study new study --originals photos --folder avif@0.2=out/avif --folder webp@0.2=out/webp
    """
    from .build import build
    from .sources import from_evaluation, from_folders, set_measures

    if (evaluation is None) == (not folders) or (folders and originals is None):
        raise click.UsageError("give --from EVAL_DIR, or --originals FOLDER and --folder NAME=FOLDER for each codec")
    coded = from_evaluation(evaluation, originals) if evaluation else from_folders(originals or Path(), folders)
    coded = _chosen(coded, {field: how.pop(f"{field}s") for field in ("image", "codec", "setting", "realism")})
    options = _options(coded, **how)
    with no_more_open_than(path for one in coded for path in (one.original, one.reconstruction)):
        made = build(folder, coded, options, set_measures(evaluation) if evaluation else {}, bar("crops", "image"))
    report_new(folder, made, as_json)


def _chosen(coded: "list[StudyImage]", wanted: dict[str, tuple[Any, ...]]) -> "list[StudyImage]":
    """Keep what was asked for by name; asking for what is not there is an error."""
    from ..plan import StudyError

    for field, values in wanted.items():
        there = {getattr(one, field) for one in coded}
        if unknown := set(values) - there:
            known = ", ".join(sorted(str(value) for value in there if value is not None))
            raise StudyError(f"no {field} {', '.join(sorted(map(str, unknown)))} here; known: {known or 'none'}")
        # A codec without the knob (realism None) is not what --realism chooses among.
        free = {None} if field == "realism" else set()
        coded = [one for one in coded if not values or getattr(one, field) in set(values) | free]
    return coded


def _options(coded: "Sequence[StudyImage]", *, task: Any, layout: Any, design: Any, **how: Any) -> "StudyOptions":
    from ..checks import enough
    from ..plan import LAYOUTS, QUESTIONS, Design, StudyError, items
    from ..questions import DEFAULT, questions_from
    from .build import StudyOptions

    names = ("question", "trials", "checks", "questions", "no_questions")
    question, trials, checks, file, no_questions = (how.pop(name) for name in names)
    if design == "full" and trials is not None:
        raise click.UsageError("--trials does not go with --design full: each rater sees every pair")
    check_task(task, design, how["ties"])
    if layout is not None and layout not in LAYOUTS[task]:
        raise click.UsageError(f"--layout {layout}: --task {task} has {', '.join(LAYOUTS[task])}")
    if file and no_questions:
        raise click.UsageError("--questions and --no-questions contradict each other")
    try:
        given = questions_from(json.loads(file.read_text("utf-8"))) if file else DEFAULT
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(f"{file} is no list of questions ({error})") from error
    chosen = sorted(Counter(one.image for one in coded).values(), reverse=True)[: how["draw"]]
    pairs = sum(items(task, count) for count in chosen) * (how["crops_per_image"] if how["crop"] else 1)
    asked = pairs if design == "full" else trials or min(MAX_TRIALS, pairs)
    checks = enough(task) if checks is None else checks
    made = Design(design, asked, checks, *(how.pop(name) for name in ("repeats", "training", "rest_every")))
    asking = question or QUESTIONS[task], layout or LAYOUTS[task][0]
    return StudyOptions(made, how.pop("title"), *asking, task, questions=() if no_questions else given, **how)


def report_new(folder: Path, made: "Study", as_json: bool) -> None:
    """Say what was built and what to do next."""
    from ..checks import rates

    width, height = made.largest_crop()
    checks = rates(made.design.checks, made.task)
    trials = made.design.training + made.design.trials + made.design.checks + made.design.repeats
    if as_json:
        said = {"study": str(folder), "id": made.id, "task": made.task, "design": made.design.method, "seed": made.seed}
        said |= {"conditions": [c.id for c in made.conditions], "scenes": len(made.scenes), "pairs": len(made.pairs)}
        said |= {"trials_per_rater": trials, "checks": checks._asdict(), "crop": [width, height]}
        echo(json.dumps(said))
        return
    what = "pairs" if made.task == "pairs" else "images to rate"
    echo(
        f"{shown(folder)}: {len(made.conditions)} conditions on {len(made.scenes)} crops of at most {width}x{height} "
        f"pixels, {len(made.pairs)} {what}"
    )
    echo(f"  conditions: {shown(', '.join(c.id for c in made.conditions))}")
    echo(
        f"  each rater: {trials} trials ({made.design.training} practice, {made.design.trials} {what}, "
        f"{made.design.checks} checks, {made.design.repeats} repeats), about {max(1, round(trials / 6))} minutes"
    )
    if checks.checks:
        echo(
            f"  checks: {checks.required} of {checks.checks} must be right: {100 * checks.slips:.2g} % of raters who "
            f"answer at random pass, {100 * checks.false_alarm:.2g} % of honest ones (2 % lapses) fail"
        )
    echo(f"  edit {shown(folder / 'consent.txt')}, then: gencomp study serve {shown(folder)}")


@click.command()
@click.argument("folder", metavar="[DIR]", type=options.FOLDER, default=Path("demo-study"))
@options.model
@options.device
@seed
@options.one_json
def demo(folder: Path, model: str | None, device: str, seed: int, as_json: bool) -> None:
    """Build a small study to try, in DIR (demo-study), ready to serve.

    scikit-image's photographs through gencomp (realism 0 and 1, where the model knows realism), AVIF and WebP, all at
    the same bytes on each image.
    """
    from .demonstration import demonstration

    made = demonstration(folder, model=model, device=device, seed=seed, progress=bar("crops", "image"))
    report_new(folder, made, as_json)
