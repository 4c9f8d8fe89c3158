"""Reading an API key, at call time, without ever showing it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from fleet.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleet.model import Model


def find_key(variable: str, environ: Mapping[str, str]) -> str | None:
    """The key in an environment variable; None when it is missing, blank, or cannot stand in a header."""
    key = environ.get(variable, "").strip()
    return key if key and key.isascii() and key.isprintable() else None


def read_key(model: Model) -> str | None:
    """
    The model's key from its environment variable; None when it names none.

    Raises UpstreamError(cause="key") for a key that `find_key` does not find: the HTTP library would quote an
    unusable one in its own complaint.
    """
    if model.api_key_env is None:
        return None
    key = find_key(model.api_key_env, os.environ)
    if key is None:
        raise UpstreamError(model.name, "key")
    return key


def blank(body: bytes, key: str | None) -> bytes:
    """The body with every quotation of the key blanked out."""
    return body.replace(key.encode(), b"[redacted]") if key else body
