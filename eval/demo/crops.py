"""Six telling crops of scikit-image's photographs, 1:1, AVIF beside: `python -m gencomp.eval.demo.crops`.

Chosen for what they ask of a codec, not for how it answers: skin, print, fur, wood, sky behind lattice work, spokes.
"""

from pathlib import Path

import click
import numpy as np
from PIL import Image

from gencomp.image import write_image
from gencomp.kinds import open_image

from ..codecs.baseline import Baseline
from ..codecs.build import build, of_model
from ..run.coding import code_aside, nearest
from .sheet import rows_of_crops

SIDE = 224  # pixels


Crop = tuple[str, int, int, str]  # a photograph of scikit-image, left and top of a square in it, what is seen there
CROPS: tuple[Crop, ...] = (
    ("astronaut.png", 130, 20, "skin, hair"),
    ("astronaut.png", 270, 250, "print, cloth"),
    ("chelsea.png", 90, 60, "fur"),
    ("coffee.png", 0, 170, "wood"),
    ("rocket.jpg", 250, 150, "sky, lattice"),
    ("motorcycle_left.png", 400, 250, "spokes, gravel"),
)


def show(crops: tuple[Crop, ...], ours: Baseline, other: Baseline, bpp: float) -> Image.Image:
    """A row for each crop: the original, gencomp at realism 1 and 0 (one file), the other codec at the same size."""
    columns = ["original", "gencomp, realism 1", "gencomp, realism 0", other.name.upper()]
    coded = {name: _coded(_photograph(name), ours, other, bpp) for name in dict.fromkeys(crop[0] for crop in crops)}
    rows = []
    for photo, left, top, shows in crops:
        images, captions = coded[photo]
        box = (left, top, left + SIDE, top + SIDE)
        rows.append([(image.crop(box), caption) for image, caption in zip(images, [shows, *captions])])
    return rows_of_crops(columns, rows)


def _photograph(name: str) -> Image.Image:
    from skimage.data import data_dir

    return Image.fromarray(np.asarray(open_image(Path(data_dir) / name).convert("RGB")))  # without its profile


def _coded(image: Image.Image, ours: Baseline, other: Baseline, bpp: float) -> tuple[list[Image.Image], list[str]]:
    """[original, ours at 1, ours at 0, the other's] and a caption for each but the first."""
    pixels = image.width * image.height
    real, still = code_aside(ours, image, nearest(ours, image, bpp * pixels / 8).setting, 1.0, 0.0)
    (theirs,) = code_aside(other, image, nearest(other, image, real.size).setting, None)
    captions = [f"{c.size} bytes, {c.bpp:.3f} bpp" for c in (real, still, theirs)]
    return [image, real.image, still.image, theirs.image], captions


@click.command(help=__doc__)
@click.option("-o", "--output", default="crops.png", show_default=True, metavar="PNG")
@click.option("--bpp", type=click.FloatRange(0, min_open=True), default=0.12, show_default=True)
@click.option("--model", metavar="NAME|FILE")
def main(output: str, bpp: float, model: str | None) -> None:
    write_image(show(CROPS, of_model(model), build("avif")[0], bpp), output)


if __name__ == "__main__":
    main()
