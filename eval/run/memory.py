"""Peak memory of one codec on one image, in a process of its own.

python -m gencomp.eval.run.memory CODEC IMAGE SETTING [--model MODEL]
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path


def peak_mb() -> float | None:
    """Largest resident memory of this process, and of any program it started if that was larger [MB].

    None where the system does not say (Windows).
    """
    try:
        import resource
    except ImportError:
        return None
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.is_file():  # Linux counts into ru_maxrss what the parent held when it forked, but not into VmHWM
        own = int(status.read_text("ascii", "replace").partition("VmHWM:")[2].split()[0])
    return max(own, children) * (1 if sys.platform == "darwin" else 1024) / 1e6  # macOS counts bytes


def main() -> None:
    """Print {"peak_mb": X}: interpreter and libraries are part of it, since a user needs them too."""
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
    peak = peak_mb()
    print(json.dumps({} if peak is None else {"peak_mb": round(peak, 1)}))


if __name__ == "__main__":
    main()
