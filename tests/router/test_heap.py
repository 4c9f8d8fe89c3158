"""What malloc is told: one heap, and its free pages back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

HEAPS = """
import ctypes, sys, threading
from router.heap import one_heap
one_heap()
asked = threading.Thread(target=lambda: [ctypes.create_string_buffer(4096) for _ in range(64)])
asked.start(), asked.join()
ctypes.CDLL(None).malloc_stats()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
@pytest.mark.parametrize(("said", "alone"), [(None, True), ("4", False)])
def test_threads_share_one_heap_unless_the_environment_says_otherwise(said, alone):
    """malloc_stats tells of every arena; a thread's own is a second one."""
    environment = {"PATH": ""} | ({"MALLOC_ARENA_MAX": said} if said else {})
    told = subprocess.run(
        [sys.executable, "-c", HEAPS], capture_output=True, text=True, env=environment, check=True
    )
    assert ("Arena 1:" not in told.stderr) == alone


FREED = """
import ctypes, pathlib, time
from router import heap

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

heap.one_heap()
ctypes.CDLL(None).mallopt(-3, 2**30)  # M_MMAP_THRESHOLD: everything from the heap
kept = [ctypes.create_string_buffer(b"x" * 65536, 65536) for _ in range(1600)]
del kept[:-1]  # what lies last holds the heap's end where it is
before = resident()
ended = heap.keep_giving_back(0.05)
deadline = time.monotonic() + 20
while resident() > before - 60 and time.monotonic() < deadline:
    time.sleep(0.05)
print(before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_what_is_freed_in_the_middle_of_the_heap_goes_back_to_the_system():
    told = subprocess.run([sys.executable, "-c", FREED], capture_output=True, text=True, check=True)
    assert float(told.stdout) > 60  # of 100 MiB
