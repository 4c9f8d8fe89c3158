"""A provider's key from a file."""

from __future__ import annotations

import os

import pytest

from fleet.errors import UpstreamError
from fleet.model import Model, Prices
from fleet.providers.keys import find_key_in, read_key


@pytest.fixture
def file(tmp_path):
    return tmp_path / "secret"


def asked(file):
    return Model("m", "openai/m", Prices(1, 1), api_key_file=str(file))


def test_a_key_is_read_again_when_its_file_changes(file):
    file.write_text("sk-one\n")
    assert read_key(asked(file)) == "sk-one"
    file.write_text("sk-two\n")
    os.utime(file, ns=(1, 1))
    assert read_key(asked(file)) == "sk-two"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"sk-\xff", "sk-é".encode(), b"two\nlines"])
def test_a_file_without_a_usable_key_is_an_error_that_does_not_quote_it(file, content):
    if content is not None:
        file.write_bytes(content)
    assert find_key_in(str(file)) is None
    with pytest.raises(UpstreamError, match="has no usable API key") as caught:
        read_key(asked(file))
    assert "sk-" not in str(caught.value)
