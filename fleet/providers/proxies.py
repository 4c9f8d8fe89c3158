"""The environment's proxies (HTTP_PROXY, HTTPS_PROXY, NO_PROXY), looked up once for each address.

aiohttp would look for a proxy, and for a password in ~/.netrc, before every request, in two threads: more than all else
that a call to a named model costs. And a password from there, beside our key, is refused.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from aiohttp import BasicAuth
from yarl import URL

if TYPE_CHECKING:
    from typing import Final

logger = logging.getLogger(__name__)

_ADDRESSES: Final = 1024


class Proxy(NamedTuple):
    """Where to send what goes to an address, and who we are there; both None without a proxy."""

    url: URL | None = None
    auth: BasicAuth | None = None


@lru_cache(maxsize=_ADDRESSES)
def proxy_of(address: str) -> Proxy:
    """The proxy on the way to an address, as the environment stands when it is first asked for."""
    parts = urlsplit(address)
    if not parts.hostname or proxy_bypass(parts.hostname):
        return Proxy()
    found = getproxies().get(parts.scheme)
    if not found:
        return Proxy()
    url = URL(found)
    if url.scheme == "https":
        logger.warning(
            "the proxy for %s wants TLS itself, which is not supported: it is not used", parts.scheme
        )
        return Proxy()
    auth = BasicAuth(url.user, url.password or "") if url.user else None
    return Proxy(url.with_user(None), auth)
