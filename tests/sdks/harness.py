"""
What an SDK's program has in common: its cells, and the places that they call. Standard library only, since LangChain's
and LlamaIndex's programs run in an environment without this project.

A cell is a function of one feature that raises where the feature does not work. A program has every cell of `CELLS`,
or says why not.
"""

from __future__ import annotations

import json
import os
import time
import traceback
import urllib.request
from dataclasses import dataclass, field

CELLS = (
    *("chat", "auto", "stream", "stream usage", "tools", "parallel tools", "tools in a stream"),
    *("schema", "vision", "embeddings", "models", "responses", "messages"),
    *("400", "401", "404", "429", "repeats", "cut", "abort"),
)
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SAW = "data:image/png;base64 of 70 bytes"  # what the scripted model says of it
WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Place:
    """Where the gateway is (without /v1), a key, a key with one request a minute, and the scripted provider."""

    url: str
    key: str
    narrow: str
    upstream: str

    def seen(self, model):
        """What the provider has seen of a model."""
        with urllib.request.urlopen(f"{self.upstream}/seen") as reply:
            return json.load(reply).get(model, {"calls": 0, "left": 0, "body": None})

    def left(self, before, patience_s=30.0):
        """Wait until one client more than `before` has left `slow`; how long that took, in seconds."""
        began = time.monotonic()
        while self.seen("slow")["left"] <= before:
            assert time.monotonic() - began < patience_s, "the upstream was not let go"
            time.sleep(0.01)
        return time.monotonic() - began


@dataclass
class Program:
    """One column of the matrix: an SDK, or one of its ways of asking."""

    column: str
    cells: dict = field(default_factory=dict)
    absent: dict = field(default_factory=dict)

    def cell(self, name):
        """Add a function of a `Place` as a cell."""
        assert name in CELLS, name

        def add(function):
            self.cells[name] = function
            return function

        return add

    def without(self, **reasons):
        """Say which cells the SDK has not, and why."""
        self.absent |= reasons

    def check(self):
        """Every cell is there, or is said to be absent."""
        missing = [name for name in CELLS if name not in self.cells and name not in self.absent]
        assert not missing, f"{self.column} says nothing of {missing}"

    def run(self, place):
        """Run every cell; a line of JSON for each, with its error where it fails."""
        self.check()
        for name, function in self.cells.items():
            error = None
            try:
                function(place)
            except Exception:
                error = traceback.format_exc(limit=-4)
            tell(self.column, name, error)
        for name, why in self.absent.items():
            tell(self.column, name, None, why)


def tell(column, cell, error, absent=None):
    """One cell's result, for the matrix."""
    print(json.dumps({"column": column, "cell": cell, "error": error, "absent": absent}), flush=True)


def raises(kind, function, **facts):
    """Call `function`, which must raise a `kind` with these attributes; returns the error."""
    try:
        function()
    except kind as error:
        found = {name: getattr(error, name) for name in facts}
        assert found == facts, f"{found} is not {facts}"
        return error
    raise AssertionError(f"{kind} was not raised")


def main(*programs):
    """What a program does as a process: run its cells against the places in the environment."""
    place = Place(**json.loads(os.environ["PLACE"]))
    for program in programs:
        program.run(place)
