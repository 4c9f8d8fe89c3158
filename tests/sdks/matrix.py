"""
Every SDK before a real gateway: `python -m tests.sdks.matrix`, or `make test-sdks`, which installs the SDKs first.

Prints the matrix, then each failure. Ends with 1 when a cell fails, or a program does not tell of its cells.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.sdks.harness import CELLS, PIXEL, SAW, WEATHER
from tests.sdks.places import ROOT, serving

HERE = Path(__file__).parent
PYTHON = HERE / ".venv" / "bin" / "python"  # with the SDKs that the project does not need itself
PROGRAMS = {
    "openai-python": [sys.executable, "-m", "tests.sdks.openai_python"],
    "openai-node": ["node", "openai.mjs"],
    "anthropic-python": [sys.executable, "-m", "tests.sdks.anthropic_python"],
    "anthropic-node": ["node", "anthropic.mjs"],
    "langchain": [str(PYTHON), "-m", "tests.sdks.langchain_python"],
    "llama-index": [str(PYTHON), "-m", "tests.sdks.llama_index_python"],
    "vercel": ["node", "vercel.mjs"],
}
PATIENCE_S = 600
WORKS, FAILS, ABSENT = "ok", "FAILS", "–"


def run(name, place):
    """One program's results, and what it said beside them."""
    command = PROGRAMS[name]
    told = {"PIXEL": PIXEL, "SAW": SAW, "WEATHER": json.dumps(WEATHER), "CELLS": json.dumps(CELLS)}
    environment = {**os.environ, **told, "PLACE": json.dumps(asdict(place)), "PYTHONPATH": str(ROOT)}
    folder = HERE / "node" if command[0] == "node" else ROOT
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith('{"column"')]
    results = [json.loads(line) for line in lines]
    if ended.returncode or not results:
        error = f"the program ended with {ended.returncode}\n{ended.stderr[-3000:]}"
        results.append({"column": name, "cell": "the program", "error": error, "absent": None})
    return results


def table(results):
    """The matrix as Markdown: a row a feature, a column an SDK."""
    columns = list(dict.fromkeys(each["column"] for each in results))
    marks = {(each["column"], each["cell"]): mark(each) for each in results}
    rows = [["", *columns]] + [[cell, *(marks.get((c, cell), "?") for c in columns)] for cell in CELLS]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def mark(result):
    if result["error"]:
        return FAILS
    return ABSENT if result["absent"] else WORKS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", nargs="*", help=f"of {', '.join(PROGRAMS)}; all when left out")
    names = parser.parse_args().programs or list(PROGRAMS)
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        parser.error(f"no such program: {', '.join(unknown)}")
    results = []
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), names) as places:
        for name in names:
            results += run(name, places[name])
    print(table(results))
    failures = [each for each in results if each["error"]]
    for each in failures:
        print(f"\n{each['column']}, {each['cell']}:\n{each['error']}", file=sys.stderr)
    ran = sum(mark(each) == WORKS for each in results)
    print(f"\n{ran} cells work, {len(failures)} fail, {len(results) - ran - len(failures)} are absent")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
