"""Reading an API key, at call time, without ever showing it."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fleet.errors import UpstreamError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fleet.model import Model


def find_key(variable: str, environ: Mapping[str, str]) -> str | None:
    """The key in an environment variable; None when it is missing, blank, or cannot stand in a header."""
    return _usable(environ.get(variable, ""))


def find_key_in(path: str) -> str | None:
    """The key in a file, such as a mounted secret; None when there is none that `find_key` would find."""
    try:
        return _read_file(path, os.stat(path).st_mtime_ns)
    except (OSError, UnicodeDecodeError):
        return None


@lru_cache(maxsize=256)
def _read_file(path: str, _changed_ns: int) -> str | None:
    return _usable(Path(path).read_text(encoding="utf-8"))


def _usable(text: str) -> str | None:
    key = text.strip()
    return key if key and key.isascii() and key.isprintable() else None


def read_key(model: Model) -> str | None:
    """
    The model's key from its file, read again when that has changed, or environment variable; None when it names none.

    Raises UpstreamError(cause="key") for a key that `find_key` does not find: the HTTP library would quote an
    unusable one in its own complaint.
    """
    if model.api_key_file is not None:
        key = find_key_in(model.api_key_file)
    elif model.api_key_env is None:
        return None
    else:
        key = find_key(model.api_key_env, os.environ)
    if key is None:
        raise UpstreamError(model.name, "key")
    return key


def blank(body: bytes, key: str | None) -> bytes:
    """The body with every quotation of the key blanked out."""
    return body.replace(key.encode(), b"[redacted]") if key else body
