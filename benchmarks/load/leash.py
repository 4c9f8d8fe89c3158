"""Ends what was started when its starter is gone, be it by SIGKILL (`python -m benchmarks.load.leash`).

A process of its own that reads process ids from its stdin: `12` is held from now on, `-12` no longer. When the pipe
closes, which it does however the starter ends, those still held are killed with everything that came of them. So any
command can be held, one that knows nothing of it too, and what is measured stays the process that was asked for.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

from benchmarks.load import processes


class Leash:
    """The starter's end of the pipe."""

    def __init__(self) -> None:
        self._running = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load.leash"],
            stdin=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def hold(self, pid: int) -> None:
        """End this leader of a session when we are gone."""
        self._say(pid)

    def release(self, pid: int) -> None:
        """It has ended; its number may soon be another's."""
        self._say(-pid)

    def let_go(self) -> None:
        """Nothing is to be held any more: whatever still is ends now."""
        self._running.communicate()

    def _say(self, number: int) -> None:
        assert self._running.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # whoever ended the leash wanted no leash
            self._running.stdin.write(b"%d\n" % number)


def end(pid: int) -> None:
    """Kill the leader of a session with everything that came of it: where there is no /proc, with its group."""
    every = processes.tree(pid) if processes.SUPPORTED else set()
    gone = contextlib.suppress(
        ProcessLookupError, PermissionError
    )  # macOS forbids to kill what has ended already
    with gone:
        os.killpg(pid, signal.SIGKILL)
    for each in every:
        with gone:
            os.kill(each, signal.SIGKILL)


def main() -> None:
    """Hold what stdin says until it closes."""
    held = set[int]()
    for line in sys.stdin:
        pid = int(line)
        if pid > 0:
            held.add(pid)
        else:
            held.discard(-pid)
    for pid in held:
        end(pid)


if __name__ == "__main__":
    main()
