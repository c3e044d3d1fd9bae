"""The coordinating process with a million rows of status: what it holds does not grow with them."""

import subprocess
import sys
from pathlib import Path

import pytest

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

monitor = Monitor(Progress.of(shards, tally_of([])), destination, "status.json", quiet=True)
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
