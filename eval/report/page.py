"""The report: one page beside the pictures, opened from disk without a server or a network."""

import importlib.resources
import json
from pathlib import Path
from typing import Any

from gencomp.files import write_atomically

from . import published
from .plots import colour_of

SCRIPTS = ("report.js", "viewer.js", "controls.js", "chart.js")


def write(out: Path, results: dict[str, Any]) -> None:
    """Write index.html into an evaluation's folder. Everything is in it but the pictures, which it names relatively."""
    write_atomically(out / "index.html", page(results).encode())


def page(results: dict[str, Any]) -> str:
    """The page of a run's results."""
    codecs = list(dict.fromkeys(row["codec"] for row in results["summary"]))
    data = {key: value for key, value in results.items() if key not in ("format", "sets")}
    data["colours"] = {codec: colour_of(codec, codecs) for codec in codecs}
    data["published"] = [p._asdict() | {"prominent": p.label in published.PROMINENT} for p in published.curves()]
    parts = {
        "title": "Image codecs compared",
        "style": _template("report.css"),
        "script": "\n".join(_template(name) for name in SCRIPTS),
        # Inside a script element only "</" could end the data early.
        "data": json.dumps(data).replace("</", "<\\/"),
    }
    text = _template("report.html")
    for name, part in parts.items():
        before, _, after = text.partition("{{" + name + "}}")
        text = before + part + after.replace("{{" + name + "}}", part)
    return text


def _template(name: str) -> str:
    return importlib.resources.files("gencomp.eval.report").joinpath(f"templates/{name}").read_text("utf-8")
