"""The report: one page beside the images, opened from disk without a server or a network."""

import importlib.resources
from collections.abc import Mapping
from typing import Any

from gencomp.texts import script_json

from . import published, tables
from .plots import colour_of

SCRIPTS = ("report.js", "viewer.js", "controls.js", "chart.js", "start.js")


def page(results: Mapping[str, Any]) -> str:
    """The page of a run's results: all in one file but the images, which it names relatively."""
    codecs = list(dict.fromkeys(row["codec"] for row in results["summary"]))
    data = {key: value for key, value in results.items() if key not in ("format", "sets")}
    data["bd"] = [{key: one[key] for key in ("codec", "metric")} for one in results["bd"]]  # the table says the rest
    data["answers"] = [one["text"] for one in results["answers"]]
    data["colours"] = {codec: colour_of(codec, codecs) for codec in codecs}
    data["published"] = [p._asdict() | {"prominent": p.label in published.PROMINENT} for p in published.curves()]
    data["tables"] = {"means": tables.means_table(results)._asdict(), "deltas": tables.deltas_table(results)._asdict()}
    data["files"] = links(results)
    parts = {"title": "Image codecs compared", "style": template("report.css"), "data": script_json(data)}
    text, parts["script"] = template("report.html"), "\n".join(map(template, SCRIPTS))
    for name, part in parts.items():
        before, _, after = text.partition("{{" + name + "}}")
        text = before + part + after.replace("{{" + name + "}}", part)
    return text


def links(results: Mapping[str, Any]) -> dict[str, list[str]]:
    """The files of an evaluation's folder that hold its tables and plots, by what they show."""
    found: dict[str, list[str]] = {"everything": ["results.json"]}
    what = {"means": "means over images", "deltas": "Bjontegaard deltas", "images": "each image"}
    for name in tables.files(results):
        found.setdefault(what[name.partition(".")[0]], []).append(f"tables/{name}")
    plots = {name: f"curves of {results['metrics'][name]['label']}" for name in results["metrics"]}
    for name, drawn in {"overview": "overview of the curves", **plots}.items():
        found[drawn] = [f"plots/{name}.{kind}" for kind in ("svg", "pdf", "png")]
    return found


def template(name: str) -> str:
    """A file of templates/."""
    return importlib.resources.files("gencomp.eval.report").joinpath(f"templates/{name}").read_text("utf-8")
