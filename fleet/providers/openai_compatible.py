"""Providers that speak OpenAI's API: one pooled client, and bytes passed on as they come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx
import orjson

from fleet.errors import UpstreamError
from fleet.providers.catalog import OPENAI_COMPATIBLE, base_url
from fleet.providers.keys import blank, read_key
from fleet.upstream import Reply, request_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from fleet.errors import Cause
    from fleet.model import Model, Timeouts

_MAX_CONNECTIONS: Final = 1000
_MAX_IDLE: Final = 200
_IDLE_SECONDS: Final = 30.0
_ERROR_BODY_BYTES: Final = 64 * 1024


class OpenAiCompatible:
    """Upstream for OpenAI, Groq, Ollama, vLLM and every other endpoint with the same API."""

    def __init__(self, timeouts: Timeouts, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._client = httpx.AsyncClient(
            transport=transport,
            limits=httpx.Limits(
                max_connections=_MAX_CONNECTIONS,
                max_keepalive_connections=_MAX_IDLE,
                keepalive_expiry=_IDLE_SECONDS,
            ),
            timeout=httpx.Timeout(timeouts.read, connect=timeouts.connect, pool=timeouts.connect),
            # Bytes are passed on unread, so they must not be compressed for us alone.
            headers={"accept-encoding": "identity", "content-type": "application/json"},
            follow_redirects=False,
        )

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
        key = read_key(model)
        request = self._client.build_request(
            "POST",
            f"{address}/{path}",
            content=orjson.dumps(request_body(model, body)),
            headers=_sent_headers(key),
        )
        try:
            response = await self._client.send(request, stream=True)
        except httpx.RequestError as error:
            raise UpstreamError(model.name, _cause(error, before_reply=True)) from error
        if response.status_code >= 300:
            raise await _refusal(model, response, key)
        return Reply(response.status_code, _headers(response), _content(model, response), response.aclose)

    async def aclose(self) -> None:
        """Close the pool."""
        await self._client.aclose()


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


async def _content(model: Model, response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in _chunks(response):
            yield chunk
    except httpx.RequestError as error:
        raise UpstreamError(model.name, _cause(error, before_reply=False)) from error


def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """The bytes as they come; decoded only where an upstream compresses although it was asked not to."""
    return response.aiter_bytes() if "content-encoding" in response.headers else response.aiter_raw()


def _headers(response: httpx.Response) -> dict[str, str]:
    """The headers that are true of what `_chunks` yields."""
    headers = dict(response.headers)
    if headers.pop("content-encoding", None) is not None:
        headers.pop("content-length", None)
    return headers


async def _refusal(model: Model, response: httpx.Response, key: str | None) -> UpstreamError:
    """The error for a status of 300 and above. A redirect is one too: no chat API redirects a POST."""
    read = bytearray()
    try:
        async for chunk in _chunks(response):
            read += chunk
            if len(read) >= _ERROR_BODY_BYTES:
                break
    except httpx.RequestError:
        pass  # the status says enough
    finally:
        await response.aclose()
    body = blank(bytes(read), key)[:_ERROR_BODY_BYTES]
    return UpstreamError(model.name, "status", response.status_code, _headers(response), body)


def _cause(error: httpx.RequestError, before_reply: bool) -> Cause:
    if isinstance(error, httpx.TimeoutException):
        # Nothing was sent yet when connecting (or waiting for a free connection) took too long.
        return "connect" if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout) else "timeout"
    return "connect" if before_reply else "cut"
