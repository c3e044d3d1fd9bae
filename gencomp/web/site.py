"""The files of the page: those of this package, the model, and the list by which the browser keeps them.

static/...           as they are
model.safetensors    the model file, from wherever it lies: not a second copy of it in the package
precache.js          names the version, the model, the rules for metadata, and every file that the service worker keeps
                     for offline use: all but the model, which the page keeps by itself when it fetches it, and the
                     AVIF encoder, for who uses it
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

from gencomp.files import shown, write_atomically
from gencomp.metadata import rules
from gencomp.model import load_model
from gencomp.outputs import Refused, protecting

STATIC = Path(__file__).parent / "static"
MODEL, PRECACHE, PAGE = "model.safetensors", "precache.js", "index.html"


class Site(NamedTuple):
    """files: where each file of the page lies, by its name in the page; version: a digest over all of them."""

    files: dict[str, Path]
    version: str

    @property
    def precache(self) -> bytes:
        """The content of precache.js."""
        model = self.files[MODEL].read_bytes()
        apart = [name for name in self.files if name == MODEL or name.startswith("avif/")]
        files = ["./", PRECACHE, *(name for name in self.files if name not in apart)]
        facts = {"name": MODEL, "digest": hashlib.sha256(model).hexdigest()[:16], "bytes": len(model)}
        listed = {"version": self.version, "files": files, "apart": apart, "keep": rules(), "model": facts}
        return f"self.PRECACHE = {json.dumps(listed)};\n".encode()

    def read(self, name: str) -> bytes | None:
        """The content of a file by its name; "" is the page itself. None where there is no such file."""
        if name == PRECACHE:
            return self.precache
        path = self.files.get(name or PAGE)
        return None if path is None else path.read_bytes()


def site_of(model: Path) -> Site:
    """The page with a model file; ModelError for one that `load_model` refuses: the page hands it on to others."""
    load_model(model)
    files = {p.relative_to(STATIC).as_posix(): p for p in sorted(STATIC.rglob("*")) if p.is_file()} | {MODEL: model}
    return Site(files, _digest(files))


def export(site: Site, folder: Path, overwrite: bool = False) -> int:
    """Write the page into a folder, made if missing; the bytes written. Refused if something else lies in the folder,
    or a file of an earlier export is not as it was written."""
    names, total = [*site.files, PRECACHE], 0
    rule = protecting(site.files.values(), overwrite=True)
    for name in names:
        rule.check(folder / name, below=folder)
    if not overwrite and folder.exists() and any(folder.iterdir()):
        _check_own(folder, names)
    for name in names:
        content = site.read(name)
        assert content is not None
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
        total += len(content)
    return total


def _check_own(folder: Path, names: list[str]) -> None:
    """Refused where a folder is no earlier export whose files are those that its precache.js names the version of."""
    try:
        listed = json.loads((folder / PRECACHE).read_text("utf-8").partition("=")[2].rstrip().rstrip(";"))
        version, files = str(listed["version"]), [str(name) for name in listed["files"][2:] + listed["apart"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise Refused(f"{shown(folder)} is not empty, and holds no earlier export: name a new folder") from None
    whole = all((folder / name).is_file() for name in files) and _digest({n: folder / n for n in files}) == version
    if not whole or any((folder / name).exists() for name in set(names) - {*files, PRECACHE}):
        raise Refused(f"{shown(folder)} was changed since it was exported: name a new folder, or give --overwrite")


def _digest(files: dict[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(f"{name} {path.stat().st_size} ".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
