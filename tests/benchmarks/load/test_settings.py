from __future__ import annotations

import pytest

from benchmarks.load.settings import Loop, settings
from benchmarks.settings import SettingsError

OPTIONS = {
    **dict.fromkeys(("gateway", "url", "pid", "versus", "versus_model", "key", "versus_key", "concurrency")),
    **dict.fromkeys(("rate", "requests", "duration", "mock_port", "out")),
    "model": "auto",
    "arrivals": "poisson",
    "stream": False,
    "prompt_tokens": 50,
    "same_prompt": False,
    "rounds": 3,
    "starts": 1,
    "contexts": 0,
    "warm_up": 20,
    "timeout": 60.0,
    "start_timeout": 120.0,
    "tokens": 200,
    "first_byte_ms": 0.0,
    "chunk_ms": 0.0,
}


def test_options_become_loops_and_targets():
    made = settings(OPTIONS)
    assert made.loops == (Loop(concurrency=1), Loop(concurrency=8))
    assert (made.requests, made.duration_s) == (None, 5.0)
    assert [each.name for each in made.targets] == ["gateway"]
    made = settings(
        OPTIONS | {"rate": "5,0.5", "requests": 9, "key": "k", "versus": "x {port}", "versus_model": "m"}
    )
    assert made.loops == (Loop(rate=5.0), Loop(rate=0.5))
    assert (made.requests, made.duration_s) == (9, None)
    assert [(each.command, each.model, each.key) for each in made.targets] == [
        (None, "auto", "k"),
        ("x {port}", "m", "k"),
    ]
    made = settings(OPTIONS | {"url": "http://h:1/v1/chat/completions", "mock_port": 2})
    assert made.targets[0].url == "http://h:1"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"gateway": "x", "url": "http://h", "mock_port": 2}, "--gateway and --url"),
        ({"requests": 1, "duration": 1.0}, "--requests and --duration"),
        ({"rate": "1", "concurrency": "1"}, "--rate and --concurrency"),
        ({"pid": 1}, "--pid"),
        ({"contexts": 8, "gateway": "x"}, "--contexts"),
        ({"url": "http://h"}, "--mock-port is needed"),
        ({"url": "h:80", "mock_port": 2}, "no http address"),
        ({"versus_key": "k"}, "--versus-key: there is no --versus"),
        ({"arrivals": "odd"}, "none of poisson, even"),
        ({"versus": "x {nothing}"}, "--versus: unknown placeholder"),
        ({"gateway": "x 'y"}, "--gateway: No closing quotation"),
        ({"rate": "fast"}, "--rate: 'fast' is no list"),
        ({"rate": "inf"}, "numbers above 0"),
        ({"concurrency": "0"}, "numbers above 0"),
        ({"concurrency": ","}, "numbers above 0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(given, said):
    with pytest.raises(SettingsError, match=said):
        settings(OPTIONS | given)
