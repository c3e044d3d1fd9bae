"""gencomp, a generative image codec: photographs at about a tenth of a bit per pixel that still look real.

    codec = gencomp.load()
    data = codec.compress(PIL.Image.open("photo.jpg"), quality=30)
    image = codec.decompress(data)

Importing gencomp also teaches Pillow to open and save .gnc files (gencomp/pillow.py). It does not import torch: the
codec is loaded when it is first asked for.
"""

import os

from gencomp.cli import start

start.prepare()
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read by ONNX Runtime as it loads, which else sends a machine's id

from typing import TYPE_CHECKING, Any  # noqa: E402

from gencomp.bitstream import BitstreamError, ModelError  # noqa: E402
from gencomp.pillow import register as _register  # noqa: E402

if TYPE_CHECKING:
    from gencomp.codec import Codec, load

    __version__: str

__all__ = ["BitstreamError", "Codec", "ModelError", "__version__", "load"]

_register()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("gencomp")
    if name in {"Codec", "load"}:
        from gencomp import codec

        return getattr(codec, name)
    raise AttributeError(f"module 'gencomp' has no attribute {name!r}")
