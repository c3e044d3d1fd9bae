"""Peak memory of one codec on one image, in a process of its own.

python -m gencomp.eval.run.memory CODEC IMAGE SETTING [--model MODEL]
"""

import argparse
import json
import tempfile
from pathlib import Path


def main() -> None:
    """Print {"peak_mb": X}: interpreter and libraries are part of it, since a user needs them too."""
    from gencomp import machine
    from gencomp.image import read_image

    from ..codecs.build import build
    from .coding import code

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codec")
    parser.add_argument("image", type=Path)
    parser.add_argument("setting", type=float)
    parser.add_argument("--model")
    given = parser.parse_args()
    (codec,) = build(given.codec, (given.model,) if given.model else ())
    image = read_image(given.image, max_pixels=None)
    with tempfile.TemporaryDirectory() as folder:
        code(Path(folder, f"coded{codec.suffix}"), codec, image, given.setting)
    peak = machine.peak_memory(children=True)
    print(json.dumps({} if peak is None else {"peak_mb": round(peak / 1e6, 1)}))


if __name__ == "__main__":
    main()
