"""The verb itself, with its processes."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from gencomp.bulk.cli import bulk

TINY = str(Path(__file__).parents[2] / "golden" / "tiny.safetensors")


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gencomp", "bulk", *map(str, arguments), "--model", TINY]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_coded_in_two_parts_summed_up_and_decoded_back(tmp_path: Path, sets: Any) -> None:
    for number in range(3):
        sets.write_tar(tmp_path / "in" / f"{number:05d}.tar", {**sets.some_images(3), **sets.troubles()})
    more = ("--jobs", 1, "--max-pixels", 10_000)
    first = call(tmp_path / "in", tmp_path / "out", "--shard", "0/2", *more)
    assert (first.returncode, first.stderr) == (1, "")
    assert "6 images coded, 2 skipped (a label or depth image, left as it is: 2), 6 failed" in first.stdout
    record = json.loads(call(tmp_path / "in", tmp_path / "out", "--json", "--quiet", *more).stdout)
    assert (record["done"], record["failed"], record["shards"], record["broken"]) == (9, 9, 3, {})
    assert record["outcome"] == "images failed"
    assert Path(record["report"]).is_file()
    other = call(tmp_path / "in", tmp_path / "out", "--quality", 20)
    assert other.returncode == 1
    assert other.stderr.splitlines()[0].endswith("quality default (now 20.0): name another destination")
    assert len(other.stderr.splitlines()) == 1


def test_a_shard_that_cannot_be_read_is_named_and_the_others_are_done(tmp_path: Path, sets: Any) -> None:
    sets.write_tar(tmp_path / "in" / "good.tar", sets.some_images(2))
    (tmp_path / "in" / "bad.tar").write_bytes(b"no tar file")
    done = call(tmp_path / "in", tmp_path / "out", "--jobs", 2)
    assert done.returncode == 1
    assert "2 images coded" in done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert line.startswith("Error: shard bad: ")
    assert "a damaged tar file" in line


def test_the_forecast_writes_nothing(tmp_path: Path, sets: Any) -> None:
    sets.write_folder(tmp_path / "in", sets.some_images(4))
    done = call(tmp_path / "in", tmp_path / "out", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.startswith("4 images in 1 shards; 4 were tried, 0 failed")
    assert "core-hours" in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--quality", "30", "--bpp", "0.1"), "give one of quality, bpp and bytes"),
        (("--shard", "4/4"), "no part i/n"),
        (("--direction", "verify", "--quality", "3"), "quality has no effect on verify"),
        (("--realism", "1"), "realism has no effect on code"),
        (("--direction", "decode", "--effort", "2"), "effort has no effect on decode"),
        (("--aim", "pixels"), "--aim needs an --effort"),
        (("--keep", "nothing-known"), "nothing-known"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(bulk, [str(tmp_path), str(tmp_path / "out"), *arguments])
    assert result.exit_code == 2
    assert said in result.output


def test_the_coordinating_process_does_not_import_torch() -> None:
    probe = (
        "import sys, gencomp.bulk.run, gencomp.bulk.report, gencomp.bulk.workers, gencomp.bulk.shard\n"
        "assert not {'torch', 'datasets', 'ray'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True)


SCRIPT = """
import io, resource, sys
from pathlib import Path
from gencomp.bulk.monitor import Monitor, Progress
from gencomp.bulk.plan import Shard
from gencomp.bulk.report import merge, write_report
from gencomp.bulk.run import _follow, survey
from gencomp.bulk.status import DONE, FAILED, Footer, SampleRow, SampleTally, write_table, tally_of
from gencomp.bulk.storage import Storage
from gencomp.bulk.workers import Finished, Sampled

count = int(sys.argv[2])
destination = Storage.of(sys.argv[1])
names = [f"{i:06d}" for i in range(count)]
shards = [Shard(name, "tar", f"{name}.tar", f"{name}.tar", 0, 0, 10**8, "as it was") for name in names]

def rows():
    for i in range(1000):
        said = (DONE, None) if i % 100 else (FAILED, "not an image")
        yield SampleRow(f"{i:09d}.jpg", *said, None, 60_000 + i, 4_000 + i, 512, 512, 0.3 + i / 1000)

table = list(rows())

def events():
    for shard in shards:
        for row in table:
            yield Sampled(shard.name, row)
        with destination.part(shard.table, shard.name) as file:
            yield Finished(shard.name, write_table(file, table, Footer(shard.name, shard.fingerprint, SampleTally())))

weights = {shard.name: shard.weight for shard in shards}
monitor = Monitor(Progress(weights, tally_of([])), destination, "status.json", quiet=True)
_follow(events(), monitor)
todo, before = survey(destination, shards)
assert not todo and before.samples == 1000 * count
merged = merge(destination, shards)
assert merged.tally.samples == 1000 * count and merged.tally.failed == 10 * count
write_report(destination, merged, {})
status = Path("/proc/self/status")
if status.is_file():  # Linux counts into ru_maxrss what the parent held when it forked, but not into VmHWM
    print(int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1e3)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))
"""


@pytest.mark.slow
def test_a_million_rows_stay_under_300_megabytes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), "1000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 300, done.stdout


def test_no_table_is_read_by_a_scanner_that_outlives_the_run(tmp_path: Path) -> None:
    """Its thread may still hold the table when Python ends, and ends the process with SIGABRT."""
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "in" / "a.png")
    program = """if True:
        import sys
        from gencomp.cli.main import main
        try:
            main(["bulk", *sys.argv[1:]], prog_name="gencomp")
        finally:
            assert "pyarrow.parquet" in sys.modules and "pyarrow.dataset" not in sys.modules
    """
    for _ in range(2):  # which looks at the first one's tables
        asked = [tmp_path / "in", tmp_path / "out", "--jobs", "1", "--model", TINY]
        done = subprocess.run([sys.executable, "-c", program, *map(str, asked)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
