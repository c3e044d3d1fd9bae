"""What a worker notes of its work, for who finds that it died."""

import json
from pathlib import Path

from gencomp.eval.run import records
from gencomp.eval.run.records import Record


def test_a_note_lasts_as_long_as_its_work_and_is_kept_by_who_finds_it(tmp_path: Path) -> None:
    row = {"image": "one", "codec": "odd", "setting": "1 bpp", "realism": None, "error": ""}
    note = tmp_path / "note.json"
    with records.noted(note, [Record(row, {}, {}, {})]):
        assert json.loads(note.read_text())[0]["row"] == row
        assert records.keep_noted(tmp_path, note, "SIGSEGV") == "odd, one at 1 bpp"
    assert not note.exists()
    (kept,) = records.load_all(tmp_path, {"one"})
    assert kept.row["error"] == "crashed the program (SIGSEGV)"
    assert records.keep_noted(tmp_path, note, "SIGSEGV") is None
