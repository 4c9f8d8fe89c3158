"""Providers that speak OpenAI's API: one pooled client, and bytes passed on as they come."""

from __future__ import annotations

import ssl
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import certifi
import orjson

from fleet.errors import UpstreamError
from fleet.providers.catalog import OPENAI_COMPATIBLE, base_url
from fleet.providers.keys import blank, read_key
from fleet.providers.proxies import proxy_of
from fleet.upstream import Reply, request_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from fleet.errors import Cause
    from fleet.model import Model, Timeouts

_MAX_CONNECTIONS: Final = 1000
_IDLE_SECONDS: Final = 30.0
_DNS_SECONDS: Final = 30
_ERROR_BODY_BYTES: Final = 64 * 1024
_FAILURES: Final = (aiohttp.ClientError, TimeoutError, OSError)


class OpenAiCompatible:
    """
    Upstream for OpenAI, Groq, Ollama, vLLM and every other endpoint with the same API.

    aiohttp, since a call costs a fraction of httpx's CPU, and a stream's chunk less still. Proxies are taken from
    the environment when an address is first asked, certificates from certifi and the system.
    """

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._session: aiohttp.ClientSession | None = None

    async def chat(self, model: Model, body: Mapping[str, Any]) -> Reply:
        """See Upstream.chat."""
        return await self._post(model, "chat/completions", body)

    async def complete(self, model: Model, body: Mapping[str, Any]) -> Reply:
        """See Upstream.complete."""
        return await self._post(model, "completions", body)

    async def embed(self, model: Model, body: Mapping[str, Any]) -> Reply:
        """See Upstream.embed."""
        return await self._post(model, "embeddings", body)

    async def _post(self, model: Model, path: str, body: Mapping[str, Any]) -> Reply:
        address = base_url(model.target, model.api_base)
        if address is None:
            raise UpstreamError(model.name, "connect")
        key, proxy = read_key(model), proxy_of(address)
        try:
            response = await self._client.post(
                f"{address}/{path}",
                data=orjson.dumps(request_body(model, body)),
                headers=_sent_headers(key),
                timeout=_timeout(model.timeouts, self._timeouts),
                allow_redirects=False,
                ssl=_certificates() if address.startswith("https:") else True,
                proxy=proxy.url,
                proxy_auth=proxy.auth,
            )
        except (*_FAILURES, ValueError) as error:  # ValueError: an address that is none
            raise UpstreamError(model.name, _cause(error, before_reply=True)) from error
        if response.status >= 300:
            raise await _refusal(model, response, key)
        return Reply(response.status, _headers(response), _content(model, response), _closing(response))

    @property
    def _client(self) -> aiohttp.ClientSession:
        """The pool; it belongs to the event loop of the first call."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=_MAX_CONNECTIONS,
                    keepalive_timeout=_IDLE_SECONDS,
                    ttl_dns_cache=_DNS_SECONDS,
                ),
                # Bytes are passed on unread, so they must not be compressed for us alone.
                headers={"accept-encoding": "identity", "content-type": "application/json"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def aclose(self) -> None:
        """Close the pool."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _timeout(own: Timeouts | None, otherwise: Timeouts) -> aiohttp.ClientTimeout:
    """A model with timeouts has somebody who keeps them; then a plain reply may be silent while it is generated."""
    timeouts = own or otherwise
    silence = timeouts.read if own is None else max(own.read, own.first_byte)
    return aiohttp.ClientTimeout(
        total=None, connect=timeouts.connect, sock_connect=timeouts.connect, sock_read=silence
    )


def _sent_headers(key: str | None) -> dict[str, str]:
    """Who asks, and under which id."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    asked_as = request_id.get()
    if asked_as is not None:
        headers["x-request-id"] = asked_as
    return headers


def request_body(model: Model, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body to send: the provider's own model name, and a request for usage at the end of a stream."""
    sent = {**body, "model": model.remote_name}
    provider = OPENAI_COMPATIBLE.get(model.provider)
    if provider is not None and provider.renamed_max_tokens and model.api_base is None and "messages" in sent:
        limit = sent.pop("max_tokens", None)
        if limit is not None:
            sent.setdefault("max_completion_tokens", limit)
    if provider is not None and not provider.takes_stream_options:
        sent.pop("stream_options", None)
    elif sent.get("stream") is True:
        asked = sent.get("stream_options")
        sent["stream_options"] = {**(asked if isinstance(asked, dict) else {}), "include_usage": True}
    return sent


async def _content(model: Model, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except _FAILURES as error:
        raise UpstreamError(model.name, _cause(error, before_reply=False)) from error


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    """The headers that are true of the content, which is decoded where an upstream compresses unasked."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    if headers.pop("content-encoding", None) is not None:
        headers.pop("content-length", None)
    return headers


def _closing(response: aiohttp.ClientResponse) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        response.close()  # the connection with it, unless the reply has been read to its end

    return close


async def _refusal(model: Model, response: aiohttp.ClientResponse, key: str | None) -> UpstreamError:
    """The error for a status of 300 and above. A redirect is one too: no chat API redirects a POST."""
    read = bytearray()
    try:
        async for chunk in response.content.iter_any():
            read += chunk
            if len(read) >= _ERROR_BODY_BYTES:
                break
    except _FAILURES:
        pass  # the status says enough
    finally:
        response.close()
    body = blank(bytes(read), key)[:_ERROR_BODY_BYTES]
    return UpstreamError(model.name, "status", response.status, _headers(response), body)


def _cause(error: Exception, before_reply: bool) -> Cause:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "connect"  # nothing was sent yet: connecting, or waiting for a free connection, took too long
    if isinstance(error, TimeoutError):
        return "timeout"
    return "connect" if before_reply else "cut"
