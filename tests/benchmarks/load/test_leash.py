from __future__ import annotations

import signal
import subprocess
import sys

from benchmarks.load.leash import Leash

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STARTER = f"""
import subprocess, time
from benchmarks.load.leash import Leash
child = subprocess.Popen({SLEEP!r}, start_new_session=True)
leash = Leash()
leash.hold(child.pid)
print("held", flush=True)
time.sleep(600)
"""


def test_what_is_held_ends_when_its_starter_is_killed():
    """The child's stdout is ours: it closes when the last who has it has ended."""
    starter = subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE)
    try:
        assert starter.stdout.readline() == b"held\n"
    finally:
        starter.kill()
    assert starter.communicate(timeout=30)[0] == b""


def test_what_is_released_lives_on():
    held, released = (subprocess.Popen(SLEEP, start_new_session=True) for _ in range(2))
    leash = Leash()
    try:
        leash.hold(held.pid)
        leash.hold(released.pid)
        leash.release(released.pid)
        leash.let_go()
        assert held.wait(timeout=30) == -signal.SIGKILL
        assert released.poll() is None
    finally:
        held.kill()
        released.kill()
        released.wait()
