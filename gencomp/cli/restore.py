"""`gencomp restore`: holes filled and noise taken away."""

from pathlib import Path
from typing import Any

import click

from gencomp.cli import options
from gencomp.cli.batch import echo, step_bar
from gencomp.cli.group import WrongUsage
from gencomp.effort import MAX_EFFORT
from gencomp.files import shown
from gencomp.outputs import protecting


@click.command()
@click.argument("image", type=options.FILE)
@click.option("--mask", type=options.FILE, metavar="FILE", help="Fill what is white in this image.")
@click.option("--denoise", "sigma", type=options.POSITIVE, help="Noise to take away: its deviation, in grey levels.")
@click.option("-o", "--output", required=True, type=options.FILE, metavar="FILE", help="Output image.")
@options.overwrite
@click.option("--effort", type=click.IntRange(1, MAX_EFFORT), default=3, help="As of compress.")
@options.quality("With --mask: higher follows the surroundings more closely, lower trusts the model more.")
@options.realism("0: nearest to the truth on average; 1: the texture that looks most real.", default=0.0)
@options.model
@options.device
@options.max_pixels
def restore(image: Path, mask: Path | None, sigma: float | None, output: Path, quality: float, **how: Any) -> None:
    """Fill holes in an image, or remove noise.

    Uses the inference that refines latents (compress --effort), with the codec's rate as the prior of images. Pixels
    outside a mask stay as they are. For holes of up to about 30 pixels; on thin scratches across many sharp edges
    biharmonic inpainting (scikit-image) may be better.

    \b
    gencomp restore photo.png --mask scratches.png -o whole.png
    gencomp restore night.png --denoise 15 -o clean.png
    """
    if (mask is None) == (sigma is None):
        raise WrongUsage("give one of --mask and --denoise")
    import numpy as np
    from PIL import Image

    from gencomp import codec as codecs
    from gencomp.image import encoded_image, image_format, read_image, read_mask
    from gencomp.restore import denoise, inpaint

    image_format(output)
    model, device, max_pixels = (how.pop(name) for name in ("model", "device", "max_pixels"))
    outputs = protecting([image, mask, model], how.pop("overwrite"))
    outputs.check(output)
    pixels = np.asarray(read_image(image, max_pixels))
    hole = None if mask is None else read_mask(mask, max_pixels)
    codec = codecs.load(model, device=device)
    with step_bar(image) as progress:
        if hole is not None:
            found = inpaint(codec, pixels, hole, quality=quality, progress=progress, **how)
        else:
            found = denoise(codec, pixels, sigma or 0.0, progress=progress, **how)
    outputs.write(output, encoded_image(Image.fromarray(found), output), like=image)
    echo(f"{shown(image)} -> {shown(output)}: {found.shape[1]}x{found.shape[0]}")
