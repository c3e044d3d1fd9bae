import re
from pathlib import Path
from typing import Any

import pytest

from gencomp.bulk.plan import find_shards
from gencomp.bulk.report import merge, write_report
from gencomp.bulk.run import forecast
from gencomp.bulk.settings import Settings, claim
from gencomp.bulk.storage import Storage
from gencomp.bulk.transform import Transform


def test_the_report_has_totals_histograms_and_failures_with_thumbnails(tmp_path: Path, sets: Any, bring: Any) -> None:
    files = {**sets.some_images(5), **sets.troubles(), "<script>.png": b""}
    source = sets.write_tar(tmp_path / "in" / "00000.tar", files)
    destination, shards = Storage.of(str(tmp_path / "out")), find_shards(str(source), Settings()).shards
    claim(destination, Storage.of(str(tmp_path / "in")), Settings(quality=33))
    bring(source, tmp_path / "out")
    merged = merge(destination, shards)
    tally = merged.tally
    assert (merged.finished, merged.unfinished, tally.done, tally.failed, tally.skipped) == (1, 0, 5, 4, 1)
    path = write_report(destination, merged, {"00001": "a damaged tar file"}, ["2 files: a <set>, no label of <ours>"])
    page = Path(path).read_text()
    assert "a &lt;set&gt;" in page
    assert "<script>" not in page
    assert "a damaged tar file" in page
    for part in ("no label of &lt;ours&gt;", "a label or depth image", "quality", "decoder", "model"):
        assert part in page
    assert "4 (40.000%)" in page
    assert len(re.findall("<rect", page)) >= 2
    assert len(re.findall("data:image/jpeg", page)) == 2 + 2 * 5
    assert "http" not in page


def test_shards_without_a_table_are_counted_as_not_finished(tmp_path: Path, sets: Any, bring: Any) -> None:
    for name in ("a", "b"):
        sets.write_tar(tmp_path / "in" / f"{name}.tar", sets.some_images(1))
    bring(tmp_path / "in" / "a.tar", tmp_path / "out")
    merged = merge(Storage.of(str(tmp_path / "out")), find_shards(str(tmp_path / "in"), Settings()).shards)
    assert (merged.finished, merged.unfinished) == (1, 1)


@pytest.mark.parametrize("kind", ["folder", "tar", "parquet"])
def test_a_forecast_comes_near_what_is_seen(tmp_path: Path, sets: Any, bring: Any, fake_codec: Any, kind: str) -> None:
    write = {"tar": sets.write_tar, "parquet": sets.write_parquet}.get(kind, sets.write_folder)
    for number in range(3):
        write(tmp_path / "in" / (f"{number}.{kind}" if kind != "folder" else str(number)), sets.some_images(60))
    settings = Settings()
    found = find_shards(str(tmp_path / "in"), settings)
    tried: list[None] = []
    seen = forecast(found, Transform(settings, fake_codec), lambda: tried.append(None), count=30)
    tally = bring(tmp_path / "in", tmp_path / "out")
    assert len(tried) == seen.sampled == 30
    assert seen.images == pytest.approx(tally.done, rel=0.15 if kind == "tar" else 1e-9)
    assert seen.bytes_out == pytest.approx(tally.bytes_out, rel=0.15)
    assert not (tmp_path / "in" / ".bulk").exists()
