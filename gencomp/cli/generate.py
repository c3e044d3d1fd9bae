"""`gencomp sample` and `gencomp interpolate`: images that no file holds, from a model's prior or between two images."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gencomp.bitstream import MAX_PIXELS
from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.cli.group import WrongUsage
from gencomp.files import shown
from gencomp.outputs import Outputs, no_more_open_than, protecting

if TYPE_CHECKING:
    from PIL import Image

GAP = 4  # pixels between the images of a sheet
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON object an image, or one for all frames.")
_quality = options.quality("At which latents are drawn, or both images coded: higher ones hold more detail.")
_realism = options.realism("Of the decoder, as in decompress.")


@click.command()
@options.into("FILE|DIR", "A sheet of all images; without a suffix, a folder of PNGs.", default="samples.png")
@options.overwrite
@click.option("--count", type=click.IntRange(1, 1024), default=9, metavar="N", help="Images.")
@click.option("--size", type=options.ImageSize(), default="256x256", help="Of each image, in pixels.")
@_quality
@_realism
@click.option("--seed", type=click.IntRange(0), default=0, help="Image k has seed + k.")
@options.model
@options.device
@_as_json
def sample(output: str, count: int, size: tuple[int, int], seed: int, as_json: bool, **how: Any) -> None:
    """Draw images from a model's prior.

    A codec gives short files to likely images, so it is also a generative model: latents are drawn from its entropy
    model and decoded. It knows textures and edges but no objects, so samples do not look like photographs. For a
    variational autoencoder (the recipe vae) its own prior is used.

    \b
    gencomp sample                                         samples.png, nine images of the embedded model
    gencomp sample --count 1 --size 512x384 --seed 7 -o one.png
    gencomp sample --model vae.safetensors --count 64 -o drawn/
    """
    from gencomp import codec as codecs
    from gencomp.image import encoded_image, image_format

    place = Path(output)
    folder = place if not place.suffix or output.endswith("/") else None
    if folder is None:
        image_format(place)  # before any work
        if count * size[0] * size[1] > MAX_PIXELS:
            raise WrongUsage(f"a sheet of {count} images of this size is too large: name a folder with -o DIR/")
    model, device = how.pop("model"), how.pop("device")
    outputs = protecting([model], how.pop("overwrite"))
    names = _names(outputs, place, folder, "sample", count)
    codec = codecs.load(model, device=device)
    drawn = (codec.sample(*size, **how, seed=seed + k) for k in range(count))
    if images := _kept(drawn, names, outputs, folder):
        outputs.write(place, encoded_image(sheet(images), place))
    for k, path in enumerate(names if as_json else []):
        record = {"output": str(path), "seed": seed + k, "width": size[0], "height": size[1], "quality": how["quality"]}
        echo(json.dumps({**record, "model": codec.model_id.hex(), "model_name": codec.model_name}))
    if not as_json:
        echo(f"{shown(place)}: {count} {'image' if count == 1 else 'images'} of {size[0]}x{size[1]}")


@click.command()
@click.argument("first", metavar="A", type=options.OLD_FILE)
@click.argument("last", metavar="B", type=options.OLD_FILE)
@options.into("DIR|WEBP", "A folder for a PNG of each frame, or an animation whose name ends in .webp.", required=True)
@options.overwrite
@click.option("--frames", type=click.IntRange(2, 1000), default=16, help="Both ends included.")
@click.option("--fps", type=options.Number(0.1, 100), default=12, help="Of an animation.")
@_quality
@_realism
@options.model
@options.device
@options.max_pixels
@_as_json
def interpolate(first: Path, last: Path, output: str, frames: int, fps: float, as_json: bool, **how: Any) -> None:
    """Show what lies between two images, A and B, of one size.

    Both are coded at one quality, and the decoder shows latents on the straight line between theirs. The first and the
    last frame are the two decoded files. Where the images differ expect a fade, as a codec's latents describe places
    and not objects.

    \b
    gencomp interpolate day.png night.png -o between/
    gencomp interpolate a.png b.png -o between.webp --frames 48 --fps 24
    gencomp interpolate a.png b.png -o between/ --model vae.safetensors --quality 20
    """
    from gencomp import codec as codecs
    from gencomp.image import read_image
    from gencomp.interpolation import interpolate as between

    place = Path(output)
    folder = None if place.suffix.lower() == ".webp" else place
    if place.suffix and folder:
        raise WrongUsage(f"-o {output}: frames go into a folder, or into an animation whose name ends in .webp")
    model, device, max_pixels = (how.pop(name) for name in ("model", "device", "max_pixels"))
    outputs = protecting([first, last, model], how.pop("overwrite"))
    names = _names(outputs, place, folder, "frame", frames)
    codec = codecs.load(model, device=device)
    a, b = (read_image(path, max_pixels) for path in (first, last))
    if folder is None and frames * a.width * a.height > MAX_PIXELS:
        raise WrongUsage(f"an animation of {frames} frames of this size is too large: name a folder with -o DIR")
    found = between(codec, a, b, frames, **how)
    with no_more_open_than([first, last]):
        if shots := _kept(found, names, outputs, folder):
            film, lasts = io.BytesIO(), round(1000 / fps)
            more: dict[str, Any] = {"save_all": True, "append_images": shots[1:], "quality": 90, "method": 4}
            shots[0].save(film, "WEBP", duration=lasts, loop=0, **more)
            outputs.write(place, film.getbuffer())
    if as_json:
        record = {"output": str(place), "frames": frames, "width": a.width, "height": a.height, **how}
        del record["realism"]
        echo(json.dumps({**record, "model": codec.model_id.hex(), "model_name": codec.model_name}))
    else:
        echo(f"{shown(first)}, {shown(last)} -> {shown(place)}: {frames} frames of {a.width}x{a.height}")


def _names(outputs: Outputs, place: Path, folder: Path | None, kind: str, count: int) -> list[Path]:
    """Where each image goes, into the folder or all of them to one place, checked before any work."""
    names = [place] * count if folder is None else [folder / f"{kind}-{k:04d}.png" for k in range(count)]
    for name in names:
        outputs.check(name, folder)
    return names


def _kept(images: Iterable[Image.Image], names: list[Path], outputs: Outputs, folder: Path | None) -> list[Image.Image]:
    from tqdm import tqdm

    from gencomp.image import encoded_image

    kept = []
    for name, image in zip(names, tqdm(images, total=len(names), desc="drawing", leave=False, disable=None)):
        if folder is None:
            kept.append(image)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            outputs.write(name, encoded_image(image, name), below=folder)
    return kept


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
