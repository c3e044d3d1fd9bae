"""For users of `datasets`: a function for `Dataset.map`.

    import datasets, gencomp
    from gencomp.bulk.huggingface import CodeImages

    rows = rows.cast_column("image", datasets.Image(decode=False))      # the files as they are, not decoded
    coded = rows.map(CodeImages("image", quality=45), num_proc=4)
    coded = coded.cast_column("image", datasets.Image())
    coded[0]["image"]                                                   # a Pillow image, decoded when it is asked for

It stores what `datasets.Image()` stores, a struct of `bytes` and `path`, so that `cast_column("image",
datasets.Image())` reads it anywhere, once gencomp is imported. `map` writes its result at its end alone and begins
again after a crash: for sets that take hours, `gencomp bulk` on parquet files is the safer way.
"""

import os
from functools import lru_cache
from pathlib import PurePath
from typing import Any

from gencomp.bulk.settings import Settings
from gencomp.bulk.transform import Transform, is_coded, one_line
from gencomp.cli.group import explain
from gencomp.files import CODED_SUFFIX
from gencomp.outputs import with_suffix


class CodeImages:
    """`rows.map(CodeImages("image", quality=45))`: codes a column of undecoded images.

    column: of type `datasets.Image(decode=False)`. error_column: a new column with the error of an image that could
    not be coded, in one line, else None; the image is None then. None raises the error instead. The others are those
    of `gencomp.bulk.settings.Settings`. Rows that are coded already, or have no image, stay as they are.
    """

    def __init__(self, column: str = "image", *, error_column: str | None = "error", **settings: Any) -> None:
        self.column, self.error_column = column, error_column
        self.settings = Settings(**settings)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        cell, error = row[self.column], None
        if cell is not None and not isinstance(cell, dict):
            raise ValueError(f'{self.column} holds decoded images: cast_column("{self.column}", Image(decode=False))')
        try:
            cell = _coded(cell, self.settings)
        except Exception as failure:
            if self.error_column is None:
                raise
            cell, error = None, one_line(explain(failure))
        return {self.column: cell, **({} if self.error_column is None else {self.error_column: error})}


def _coded(cell: dict[str, Any] | None, settings: Settings) -> dict[str, Any] | None:
    """A cell's image as .gnc, read from its path where it has no bytes."""
    if cell is None:
        return None
    data, path = cell.get("bytes"), cell.get("path")
    if data is None and path is not None:
        import fsspec

        with fsspec.open(path, "rb") as file:
            data = file.read()
    if data is None or is_coded(data):
        return cell
    name = PurePath(path).name if path else ""
    coded = _transform(settings, os.getpid())(data).data
    return {"bytes": coded, "path": with_suffix(name, CODED_SUFFIX) if "." in name else None}


@lru_cache(maxsize=2)
def _transform(settings: Settings, pid: int) -> Transform:
    """One codec per process. In a process that was forked from one with a codec, torch's threads are gone: use one."""
    import torch

    if pid != _FIRST:
        torch.set_num_threads(1)
    return Transform(settings)


_FIRST = os.getpid()
