"""`gencomp sample`: images from a model's own prior."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp import bitstream
from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.cli.group import WrongUsage
from gencomp.files import shown
from gencomp.outputs import protecting

if TYPE_CHECKING:
    from PIL import Image

GAP = 4  # pixels between the images of a sheet


class Size(click.ParamType["tuple[int, int]"]):
    """Width and height in pixels."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Two numbers, or a usage error."""
        found = re.fullmatch(r"([1-9][0-9]{0,5})(?:x([1-9][0-9]{0,5}))?", str(value))
        if not found:
            self.fail(f"{value!r} is no size such as 256x192, or 256", param, ctx)
        size = int(found[1]), int(found[2] or found[1])
        if size[0] * size[1] > bitstream.MAX_PIXELS:
            self.fail(f"{value} has more than {bitstream.MAX_PIXELS} pixels", param, ctx)
        return size


@click.command()
@click.option("-o", "--output", default="samples.png", show_default=True, metavar="FILE|DIR", callback=options.filled,
              help="A sheet of all images; without a suffix, a folder with a PNG of each.")  # fmt: skip
@options.overwrite
@click.option("--count", type=click.IntRange(1, 1024), default=9, show_default=True, metavar="N", help="Images.")
@click.option("--size", type=Size(), default="256x256", show_default=True, help="Of each image, in pixels.")
@click.option("--quality", type=click.FloatRange(bitstream.MIN_QUALITY, bitstream.MAX_QUALITY),
              default=bitstream.DEFAULT_QUALITY, show_default=True, callback=options.finite,
              help="At which latents are drawn: higher ones hold more detail.")  # fmt: skip
@click.option("--realism", type=click.FloatRange(0, 1), default=1.0, show_default=True, callback=options.finite,
              help="Of the decoder, as in decompress.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, metavar="S",
              help="Image k is drawn with the seed S + k.")  # fmt: skip
@options.model
@options.device
@click.option("--json", "as_json", is_flag=True, help="One JSON object an image on standard output.")
def sample(
    output: str, overwrite: bool, count: int, size: tuple[int, int], quality: float, realism: float, seed: int,
    model: str | None, device: str, as_json: bool,
) -> None:  # fmt: skip
    """Draw images from a model's prior.

    A codec gives short files to likely images, so it is also a generative model: latents are drawn from its entropy
    model and decoded. It knows textures and edges but no objects, so samples do not look like photographs. For a
    variational autoencoder (the recipe vae) its own prior is used.

    \b
    gencomp sample                                         samples.png, nine images of the embedded model
    gencomp sample --count 1 --size 512x384 --seed 7 -o one.png
    gencomp sample --model vae.safetensors --count 64 -o drawn/
    """
    from tqdm import tqdm

    from gencomp import codec as codecs
    from gencomp.image import encoded_image, image_format

    place = Path(output)
    into_folder = not place.suffix or output.endswith("/")
    if not into_folder:
        image_format(place)  # before any work
        if count * size[0] * size[1] > bitstream.MAX_PIXELS:
            raise WrongUsage(f"a sheet of {count} images of this size is too large: name a folder with -o DIR/")
    outputs = protecting([model], overwrite)
    names = [place / f"sample-{k:04d}.png" for k in range(count)] if into_folder else [place] * count
    for path in names:
        outputs.check(path, place if into_folder else None)
    codec = codecs.load(model, device=device)
    images = []
    for k, path in enumerate(tqdm(names, desc="drawing", leave=False, disable=None)):
        image = codec.sample(*size, quality=quality, realism=realism if codec.knows_realism else None, seed=seed + k)
        if into_folder:
            place.mkdir(parents=True, exist_ok=True)
            outputs.write(path, encoded_image(image, path), below=place)
        else:
            images.append(image)
        if as_json:
            record = {"output": str(path), "seed": seed + k, "width": size[0], "height": size[1], "quality": quality}
            echo(json.dumps({**record, "model": codec.model_id.hex(), "model_name": codec.model_name}))
    if images:
        outputs.write(place, encoded_image(sheet(images), place))
    if not as_json:
        echo(f"{shown(place)}: {count} {'image' if count == 1 else 'images'} of {size[0]}x{size[1]}")


def sheet(images: list[Image.Image]) -> Image.Image:
    """Images of one size in a grid that is about as wide as high; one image is itself."""
    from PIL import Image

    if len(images) == 1:
        return images[0]
    columns = next(n for n in range(1, len(images) + 1) if n * n >= len(images))
    rows = -(-len(images) // columns)
    width, height = images[0].size
    whole = Image.new("RGB", (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP), "white")
    for k, image in enumerate(images):
        whole.paste(image, (k % columns * (width + GAP), k // columns * (height + GAP)))
    return whole
