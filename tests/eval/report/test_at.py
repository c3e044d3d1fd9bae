"""Evaluations at given rates: interpolated, marked, beside what others published of the same photographs."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from gencomp.eval.report.__main__ import main


def row(codec: str, setting: str, bpp: float, **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "codec": codec,
        "setting": setting,
        "realism": None,
        "images": 24,
        "unable": False,
        "minimised": [],
    }
    return plain | {"bpp": bpp} | more


def evaluation(folder: Path, dataset: str | None, rows: list[dict[str, Any]]) -> Path:
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps({"photos": {"dataset": dataset}, "summary": rows}))
    return folder


def test_the_table_has_every_codec_and_the_published_and_marks_what_was_minimised(tmp_path: Path) -> None:
    ours = [row("ours", f"quality {q}", bpp, lpips_alex=v, dists=v, psnr=30.0, minimised=["lpips_alex"])
            for q, bpp, v in ((20, 0.1, 0.2), (40, 0.4, 0.1))]  # fmt: skip
    ours.append(row("ours", "0.2 bpp", 0.2, lpips_alex=9.0))  # image by image: one setting for all goes before it
    first = evaluation(tmp_path / "one", "kodak", ours)
    second = evaluation(
        tmp_path / "two", "kodak", [row("slow", f"{b} bpp", b, dists=0.05, images=8) for b in (0.1, 0.3)]
    )
    given = [str(first), str(second), "--at", "0.2", "--at", "9", "--metric", "lpips_alex", "--metric", "dists"]
    done = CliRunner().invoke(main, [*given, "--figure", str(tmp_path / "drawn" / "f")])
    assert done.exit_code == 0, done.output
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.output.splitlines()[2:] if "|" in line]
    assert lines[:2] == [["ours", "0.2", "24", "0.1500¶", "0.1500"], ["slow", "0.2", "8", "", "0.0500"]]
    assert {"MS-ILLM (published)", "HiFiC (published)", "CRDR beta=3.84 (published)"} <= {line[0] for line in lines}
    assert all(line[1] == "0.2" for line in lines)
    assert "¶ what the codec" in done.output
    assert sorted(p.name for p in (tmp_path / "drawn").iterdir()) == sorted(
        ["f.md", *(f"f{look}.{kind}" for look in ("", "-dark") for kind in ("png", "svg", "pdf"))]
    )
    only = CliRunner().invoke(main, [*given, "--codec", "slow"])
    assert "ours" not in only.output
    other = evaluation(tmp_path / "three", None, ours)
    assert CliRunner().invoke(main, [str(first), str(other)]).exit_code == 2
