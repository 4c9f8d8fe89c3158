from __future__ import annotations

import pytest

from benchmarks.load import gateways


def test_placeholders_are_filled_word_by_word():
    words = gateways.split("serve 'a b.yaml' --port={port} --up {upstream} --json '{\"a\": 1}'")
    values = {"port": "81", "upstream": "http://x y/v1", "model": "m", "key": "k"}
    assert gateways.expand(words, values) == [
        "serve", "a b.yaml", "--port=81", "--up", "http://x y/v1", "--json", '{"a": 1}',
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"unknown placeholder \{prot\}; known are \{port\}"):
        gateways.split("serve {prot}")
    with pytest.raises(ValueError, match="empty"):
        gateways.split("  ")


def test_a_command_knows_its_port_and_upstream_as_variables_too():
    command = gateways.Command("x", ["serve"], {"upstream": "http://u/v1", "model": "m", "key": "k"})
    words, variables = command.at(81)
    assert words == ["serve"]
    assert variables == {
        "ROUTER_BENCH_PORT": "81",
        "ROUTER_BENCH_UPSTREAM": "http://u/v1",
        "ROUTER_BENCH_MODEL": "m",
        "ROUTER_BENCH_KEY": "k",
    }
