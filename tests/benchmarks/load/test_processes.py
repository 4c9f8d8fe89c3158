from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from benchmarks.load import processes


@pytest.mark.skipif(not processes.SUPPORTED, reason="needs /proc")
def test_a_tree_holds_the_children_and_what_they_use():
    spin = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    code = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {spin!r}]).wait()\ninput()"
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    try:
        seen, most = set(), 0.0
        latest = time.monotonic() + 60
        while time.monotonic() < latest:
            seen |= processes.tree(parent.pid)
            most = max(most, processes.cpu_seconds(processes.tree(parent.pid)))
            if most >= 0.2 and len(seen) > 1 and len(processes.tree(parent.pid)) == 1:
                break
            time.sleep(0.01)
        assert parent.pid in seen
        assert len(seen) == 2
        assert processes.cpu_seconds([parent.pid]) >= 0.2  # the child's, which has ended
        assert processes.resident_mib([parent.pid]) > 1
    finally:
        parent.communicate(b"\n")
    assert processes.tree(parent.pid) == set()


@pytest.mark.skipif(not processes.can_pin(), reason="one core, or none that can be chosen")
def test_what_is_started_meanwhile_is_kept_off_the_last_core():
    before = os.sched_getaffinity(0)
    with processes.kept_to_others() as last:
        assert last == {max(before)}
        said = subprocess.check_output(
            [sys.executable, "-c", "import os; print(sorted(os.sched_getaffinity(0)))"]
        )
        assert said.decode().strip() == str(sorted(before - last))
    assert os.sched_getaffinity(0) == before
