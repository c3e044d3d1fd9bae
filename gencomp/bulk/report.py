"""The report: totals, samples and failures over the status tables, as one page that opens from disk."""

import base64
import html
import importlib.resources
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gencomp.bitstream import DEFAULT_QUALITY
from gencomp.bulk.monitor import size_text, time_text
from gencomp.bulk.plan import Shard
from gencomp.bulk.run import footers_of
from gencomp.bulk.settings import CLAIM, claimed
from gencomp.bulk.status import FAILED, SampleRow, SampleTally, read_shown
from gencomp.bulk.storage import BULK, Storage
from gencomp.files import shown

FILE = f"{BULK}/report.html"
SHOWN = 200  # failures with their names


@dataclass
class Merged:
    """All tables of a data set, added up. failures: the first SHOWN, by shard and row; samples: some that went well."""

    tally: SampleTally = field(default_factory=SampleTally)
    finished: int = 0
    unfinished: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, SampleRow]] = field(default_factory=list)
    samples: list[SampleRow] = field(default_factory=list)


def merge(destination: Storage, shards: Sequence[Shard]) -> Merged:
    """Reads the footers of all tables, and rows of those alone that have failures to show."""
    merged = Merged()
    for shard, footer in footers_of(destination, shards):
        if footer is None:
            merged.unfinished += 1
            continue
        merged.finished += 1
        merged.tally += footer.tally
        if (footer.tally.failed and len(merged.failures) < SHOWN) or shard.shown:
            with destination.open(shard.table) as file:
                rows = read_shown(file)
            failed = [row for row in rows if row.status == FAILED]
            merged.errors.update(row.error or "" for row in failed)
            merged.failures += [(shard.name, row) for row in failed[: SHOWN - len(merged.failures)]]
            merged.samples += [row for row in rows if row.status != FAILED]
    return merged


def write_report(destination: Storage, merged: Merged, broken: Mapping[str, str], left: Sequence[str] = ()) -> str:
    """Write report.html into the destination and return its path. left: what of the source was left out, in lines."""
    begun = claimed(destination) if destination.exists(CLAIM) else {}
    settings = {name: value for name, value in begun.items() if value not in (None, (), [], False, 0)}
    if begun.get("direction") == "code" and not settings.keys() & {"quality", "bpp", "bytes"}:
        settings["quality"] = DEFAULT_QUALITY
    title = f"{begun.get('direction', 'bulk')} {begun.get('source', '')}"
    template = importlib.resources.files("gencomp.bulk") / "report.html"
    undone = f"<h2>Shards that could not be done ({len(broken):,})</h2>{_table(sorted(broken.items()))}"
    page = string.Template(template.read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        totals=_table(_totals(merged)),
        settings=_table((n, ", ".join(map(str, v if isinstance(v, list) else [v]))) for n, v in settings.items()),
        notes=_notes(merged, left),
        samples=_samples(merged),
        broken=undone if broken else "",
        failures=_failures(merged),
    )
    destination.publish(page.encode("utf-8", "backslashreplace"), FILE)
    return shown(destination.path(FILE))


def _notes(merged: Merged, left: Sequence[str]) -> str:
    lines = [f"{count:,} skipped: {note}" for note, count in merged.tally.notes.most_common()]
    lines += [f"{count:,} done with a warning: {note}" for note, count in merged.tally.warned.most_common(20)]
    lines += [f"{count:,} failed: {error}" for error, count in merged.errors.most_common(3)]
    lines += [f"left out: {line}" for line in left]
    return "".join(f"<li>{html.escape(line)}</li>" for line in lines) or "<li>None.</li>"


def _samples(merged: Merged) -> str:
    """Pairs of an original and what its file decodes to; a decoded image alone where there is no original."""
    if not merged.samples:
        return "<p>None are kept: nothing was written, or they are too large to be decoded for a report.</p>"
    label = '<label for="enlarge">{}</label>'
    figures = "".join(
        f'<figure><div class="pair">{label.format(_image(row.thumbnail, "original"))}'
        f"{label.format(_image(row.decoded, 'decoded'))}</div>"
        f"<figcaption><b>{html.escape(row.sample)}</b><br>{html.escape(_sizes(row))}</figcaption></figure>"
        for row in merged.samples
    )
    return f'<div class="pairs">{figures}</div>'


def _image(data: bytes | None, what: str) -> str:
    source = f"data:image/jpeg;base64,{base64.b64encode(data or b'').decode()}"
    return f'<img alt="{what}" title="{what}" src="{source}">' if data else ""


def _sizes(row: SampleRow) -> str:
    sizes = f"{size_text(row.bytes_in or 0)} -> {size_text(row.bytes_out or 0)}"
    return f"{row.width}x{row.height}, {sizes}" + (f"; {row.note}" if row.note else "")


def _totals(merged: Merged) -> list[tuple[str, str]]:
    tally = merged.tally
    rows = [
        ("shards", f"{merged.finished:,} finished" + f", {merged.unfinished:,} not yet" * bool(merged.unfinished)),
        ("images done", f"{tally.done:,}"),
        ("skipped", f"{tally.skipped:,}"),
        ("failed", f"{tally.failed:,}" + (f" ({tally.failed / tally.samples:.3%})" if tally.failed else "")),
        ("megapixels", f"{tally.pixels / 1e6:,.1f}"),
        ("bytes read", size_text(tally.bytes_in)),
    ]
    if tally.bytes_out:
        rows.append(("bytes written", f"{size_text(tally.bytes_out)}, {tally.bytes_in / tally.bytes_out:.3g} : 1"))
    if tally.pixels and tally.bytes_out:
        rows.append(("bits per pixel", f"{8 * min(tally.bytes_in, tally.bytes_out) / tally.pixels:.4f}"))
    rows.append(("worker hours", f"{tally.worker_seconds / 3600:,.2f} ({time_text(tally.worker_seconds)})"))
    if tally.worker_seconds:
        rows.append(("megapixels per worker second", f"{tally.pixels / 1e6 / tally.worker_seconds:.3f}"))
    return rows


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _failures(merged: Merged) -> str:
    if not merged.failures:
        return "<p>None.</p>"
    most = _table((error, f"{count:,}") for error, count in merged.errors.most_common(20))
    more = merged.tally.failed - len(merged.failures)
    figures = "".join(_figure(shard, row) for shard, row in merged.failures)
    rest = f"<p>and {more:,} more: see the status tables</p>" if more > 0 else ""
    return f'{most}<div class="grid">{figures}</div>{rest}'


def _figure(shard: str, row: SampleRow) -> str:
    image = _image(row.thumbnail, "") or '<div class="none">nothing to see</div>'
    name, error = html.escape(shown(f"{shard}: {row.sample}")), html.escape(row.error or "")
    return f"<figure>{image}<figcaption><b>{name}</b><br>{error}</figcaption></figure>"
