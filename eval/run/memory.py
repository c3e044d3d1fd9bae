"""Peak memory of one codec on one picture, in a process of its own.

python -m gencomp.eval.run.memory CODEC PICTURE SETTING [--model MODEL]
"""

import argparse
import json
import resource
import tempfile
from pathlib import Path


def peak_mb() -> float:
    """Largest resident memory of this process, and of any program it started if that was larger [MB]."""
    own, children = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.is_file():  # Linux counts into ru_maxrss what the parent held when it forked, but not into VmHWM
        own = int(status.read_text().partition("VmHWM:")[2].split()[0])
    return max(own, children) / 1024


def main() -> None:
    """Print {"peak_mb": X}: interpreter and libraries are part of it, since a user needs them too."""
    from gencomp.image import read_image

    from ..codecs import ours as learned
    from .coding import code

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codec")
    parser.add_argument("picture", type=Path)
    parser.add_argument("setting", type=float)
    parser.add_argument("--model", action="append", default=[])
    given = parser.parse_args()
    kind = "gencomp" if given.codec.startswith("gencomp") else given.codec
    peer = next(p for p in learned.build(kind, tuple(given.model)) if p.name == given.codec)
    picture = read_image(given.picture, max_pixels=None)
    with tempfile.TemporaryDirectory() as folder:
        code(Path(folder, f"coded{peer.suffix}"), peer, picture, given.setting)
    print(json.dumps({"peak_mb": round(peak_mb(), 1)}))


if __name__ == "__main__":
    main()
