"""`gencomp interpolate`: from one image to another through the codec's latents."""

from __future__ import annotations

import io
import json
from pathlib import Path

import click

from gencomp import bitstream
from gencomp.cli import options
from gencomp.cli.batch import echo
from gencomp.cli.group import WrongUsage
from gencomp.files import shown
from gencomp.outputs import no_more_open_than, protecting


@click.command()
@click.argument("first", metavar="A", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("last", metavar="B", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", required=True, metavar="DIR|WEBP", callback=options.filled,
              help="A folder for a PNG of each frame, or a file that ends in .webp: an animation.")  # fmt: skip
@options.overwrite
@click.option("--frames", type=click.IntRange(2, 1000), default=16, show_default=True, metavar="N",
              help="Both ends included.")  # fmt: skip
@click.option("--fps", type=click.FloatRange(0.1, 100), default=12, show_default=True, callback=options.finite,
              help="Frames per second of an animation.")  # fmt: skip
@click.option("--quality", type=click.FloatRange(bitstream.MIN_QUALITY, bitstream.MAX_QUALITY),
              default=bitstream.DEFAULT_QUALITY, show_default=True, callback=options.finite,
              help="At which both images are coded.")  # fmt: skip
@click.option("--realism", type=click.FloatRange(0, 1), default=1.0, show_default=True, callback=options.finite,
              help="Of the decoder, as in decompress.")  # fmt: skip
@options.model
@options.device
@options.max_pixels
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def interpolate(
    first: Path, last: Path, output: str, overwrite: bool, frames: int, fps: float, quality: float, realism: float,
    model: str | None, device: str, max_pixels: int, as_json: bool,
) -> None:  # fmt: skip
    """Show what lies between two images, A and B, of one size.

    Both are coded at one quality, and the decoder shows latents on the straight line between theirs. The first and the
    last frame are the two decoded files. Where the images differ expect a fade, as a codec's latents describe places
    and not objects.

    \b
    gencomp interpolate day.png night.png -o between/
    gencomp interpolate a.png b.png -o between.webp --frames 48 --fps 24
    gencomp interpolate a.png b.png -o between/ --model vae.safetensors --quality 20
    """
    from tqdm import tqdm

    from gencomp import codec as codecs
    from gencomp.image import encoded_image, read_image
    from gencomp.interpolation import interpolate as between

    place = Path(output)
    animated = place.suffix.lower() == ".webp"
    if place.suffix and not animated:
        raise WrongUsage(f"-o {output}: frames go into a folder, or into an animation whose name ends in .webp")
    outputs = protecting([first, last, model], overwrite)
    names = [place] if animated else [place / f"frame-{k:04d}.png" for k in range(frames)]
    for name in names:
        outputs.check(name, None if animated else place)
    codec = codecs.load(model, device=device)
    a, b = (read_image(path, max_pixels) for path in (first, last))
    if animated and frames * a.width * a.height > bitstream.MAX_PIXELS:
        raise WrongUsage(f"an animation of {frames} frames of this size is too large: name a folder with -o DIR")
    found = between(codec, a, b, frames, quality=quality, realism=realism if codec.knows_realism else None)
    shots = []
    with no_more_open_than([first, last]):
        for k, image in enumerate(tqdm(found, total=frames, desc="frames", leave=False, disable=None)):
            if animated:
                shots.append(image)
            else:
                place.mkdir(parents=True, exist_ok=True)
                outputs.write(names[k], encoded_image(image, names[k]), below=place)
        if animated:
            stream = io.BytesIO()
            shots[0].save(stream, "WEBP", save_all=True, append_images=shots[1:], duration=round(1000 / fps), loop=0,
                          quality=90, method=4)  # fmt: skip
            outputs.write(place, stream.getbuffer())
    if as_json:
        record = {"output": str(place), "frames": frames, "width": a.width, "height": a.height, "quality": quality}
        echo(json.dumps({**record, "model": codec.model_id.hex(), "model_name": codec.model_name}))
    else:
        echo(f"{shown(first)}, {shown(last)} -> {shown(place)}: {frames} frames of {a.width}x{a.height}")
