"""Where the gateway listens: loopback only until there is a key."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from router.serve import where
from router.store.engine import open_store
from router.store.keys import add_key, revoke_key


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_key(settings, host, caplog):
    assert where(settings, host) == host
    assert not caplog.records


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "gateway.example.com"])
@pytest.mark.parametrize("required", [None, True, False])
def test_without_a_key_it_listens_at_loopback_only_and_says_so(settings, host, required, caplog):
    settings = replace(settings, server=replace(settings.server, require_key=required))
    assert where(settings, host) == "127.0.0.1"
    assert f"not at {host}: there is no key; make one with `router keys create" in caplog.text


def test_with_a_key_it_listens_where_it_was_told_also_once_the_key_is_revoked(settings, caplog):
    caplog.set_level(logging.WARNING)
    engine = open_store(settings.store.url)
    add_key(engine, "ci")
    settings = replace(settings, server=replace(settings.server, require_key=None))
    assert where(settings, "0.0.0.0") == "0.0.0.0"
    revoke_key(engine, "ci")  # nobody can get in now, which is as safe
    assert where(settings, "0.0.0.0") == "0.0.0.0"
    assert not caplog.records
    engine.dispose()


def test_a_gateway_that_is_open_to_all_on_purpose_is_warned_of(settings, caplog):
    engine = open_store(settings.store.url)
    add_key(engine, "ci")
    engine.dispose()
    settings = replace(settings, server=replace(settings.server, require_key=False))
    assert where(settings, "0.0.0.0") == "0.0.0.0"
    assert "can spend your money" in caplog.text
