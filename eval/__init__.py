"""The evaluation suite: measures, baselines, curves, report, study."""

import atexit
import os
import secrets
import shutil
import tempfile
from pathlib import Path

_LISTS = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "matplotlib")

if "MPLCONFIGDIR" not in os.environ and not any(_LISTS.glob("fontlist-*.json")):
    # matplotlib's list of fonts goes with the process, not into a home folder that has none
    os.environ["MPLCONFIGDIR"] = str(Path(tempfile.gettempdir(), f"gencomp-fonts-{secrets.token_hex(8)}"))
    atexit.register(shutil.rmtree, os.environ["MPLCONFIGDIR"], ignore_errors=True)
