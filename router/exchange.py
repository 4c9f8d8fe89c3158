"""
One request as an ASGI response: it starts with the decision and ends with the row that records it.

Written as its own response, since the client may leave at any moment: while we decide, while the upstream
thinks, between two chunks. Whenever that is, the upstream is let go at once and the decision is recorded.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import orjson
from starlette.responses import Response

from router.call import with_headers
from router.decide import after_failures
from router.ended import Routing, saved_usd
from router.errors import GatewayError, NoCandidate, NotReady, UpstreamFailed
from router.leaving import until_the_client_leaves
from router.ledger import NO_VERSION, prompt_row
from router.store.rows import CandidateRow, DecisionRow
from router.till import Till
from router.wire.errors import error_body
from router.wire.stream import Retelling

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from starlette.types import Receive, Scope, Send

    from router.call import Call
    from router.decide import Decision
    from router.gateway import Gateway, Routed
    from router.keys.account import Admission
    from router.relay import Relay

T = TypeVar("T")

CLIENT_LEFT = 499
BROKEN_OFF = 502


class Exchange(Response):
    """
    A call on its way through the gateway, and what is known of it so far.

    The status it records is the client's, except that a client which left counts as 499 and a stream which
    broke off as 502.
    """

    def __init__(self, gateway: Gateway, call: Call, admission: Admission | None) -> None:
        super().__init__()
        self._till = Till(gateway, admission)
        key_id = self._till.key_id
        self.id = f"dec_{secrets.token_hex(12)}"
        self._gateway = gateway
        self._call = replace(call, caller=key_id)
        self._key_id = key_id
        self._store_prompts = gateway.settings.store.store_prompts
        self._created_at = time.time()
        self._started = time.perf_counter()
        self._decided_ms = 0.0
        self._upstream_s = 0.0
        self._first_byte_ms: float | None = None
        self._failed: dict[str, str] = {}
        self._routed: Routed | None = None
        self._relay: Relay | None = None
        self._streaming = False
        self._retelling: Retelling | None = None
        self._status = CLIENT_LEFT
        self._path = self._request_id = ""
        self._scope: Scope = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._path, self._request_id = scope["path"], scope.get("request_id", "")
        self._call = with_headers(self._call, scope["headers"])
        self._scope = scope
        try:
            with until_the_client_leaves(receive, send) as (leaving, sending):
                try:
                    await self._answer(sending)
                except asyncio.CancelledError:
                    if not leaving.cancel_called:
                        await self._break_off(sending)  # the gateway ends, and cannot wait any longer
                    raise
        finally:
            scope["status"] = self._status
            try:
                self._record()
            finally:
                self._till.leave()
                if self._relay is not None:
                    await self._relay.aclose()

    async def _answer(self, send: Send) -> None:
        try:
            try:
                self._call = self._till.enter(self._call, self._scope["headers"])
                remembered = await self._till.remembered(self._call)
                if remembered is None:
                    self._routed = await self._gateway.route(self._call)
                    self._till.reserve(self._call, self._routed)
            except NoCandidate as error:
                self._till.refused(error)
                raise
            finally:
                self._decided_ms = self._elapsed_ms()
            if remembered is None:
                assert self._routed is not None
                self._gateway.opened(self.id, self._call, self._routed)
                self._relay = await self._upstream(self._gateway.call(self._call, self._routed, self._failed))
            else:
                self._routed, self._relay = remembered
                self._gateway.ledger.open(self.id)
            await self._forward(send, self._relay)
        except GatewayError as error:
            self._status = error.status
            self._scope["error"] = type(error).__name__
            body = error_body(error, self._path, self._request_id)
            await self._send_whole(send, error.status, error.headers, body)
        except Exception:
            self._status = 500
            raise

    async def _forward(self, send: Send, relay: Relay) -> None:
        if relay.reader.completion_id is not None:
            self._gateway.ledger.name(self.id, relay.reader.completion_id)
        self._first_byte_ms = self._elapsed_ms()
        if not relay.stream:
            whole = [chunk async for chunk in relay.chunks()]  # all here already: `prime` waited for them
            body = self._translated(b"".join(whole), relay)
            assert self._routed is not None
            await self._till.count(self._routed, relay)
            self._status = relay.status
            await self._send_whole(send, relay.status, relay.headers, body)
            return
        relay.last_words = self._last_words
        await _start(send, relay.status, {**relay.headers, **self._till.headers, **self._decision_headers()})
        retelling = self._retelling = Retelling(self._call.wire.story()) if self._call.wire else None
        self._streaming = True
        chunks = relay.chunks()
        while (chunk := await self._upstream(anext(chunks, None))) is not None:
            told = retelling.feed(chunk) if retelling else chunk
            await send({"type": "http.response.body", "body": told, "more_body": True})
            if retelling is not None and retelling.failed:
                break
        self._status = BROKEN_OFF if relay.cut or (retelling and retelling.failed) else relay.status
        await send({"type": "http.response.body", "body": b""})

    async def _break_off(self, send: Send) -> None:
        """Tell the client that the gateway ends before its reply did."""
        error = NotReady("the gateway is shutting down")
        self._status, self._scope["error"] = error.status, type(error).__name__
        if self._streaming:
            event = b"\n\ndata: " + error.body() + b"\n\n"
            told = self._retelling.feed(event) if self._retelling else event
            await send({"type": "http.response.body", "body": told})
        elif self._first_byte_ms is None:
            body = error_body(error, self._path, self._request_id)
            await self._send_whole(send, error.status, error.headers, body)

    async def _last_words(self) -> bytes:
        """The usage chunk of a stream that came to its end, for a client that asked for one."""
        assert self._routed is not None
        assert self._relay is not None
        bill = await self._till.count(self._routed, self._relay)
        return b"" if self._call.hide_usage else bill.event(self._relay.reader)

    def _translated(self, body: bytes, relay: Relay) -> bytes:
        """A whole reply in the caller's protocol."""
        if self._call.wire is None:
            return body
        try:
            return orjson.dumps(self._call.wire.whole(orjson.loads(body)))
        except (ValueError, AttributeError):  # no JSON, or none that is a chat completion
            raise UpstreamFailed(relay.model, f"{relay.model} sent a reply that cannot be read") from None

    async def _send_whole(self, send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
        ours = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            **self._till.headers,
            **self._decision_headers(),
        }
        await _start(send, status, {**headers, **ours})
        await send({"type": "http.response.body", "body": body})

    def _decision_headers(self) -> dict[str, str]:
        """What the client learns of the decision, once there is one."""
        decision = self._decision()
        if decision is None:
            return {}
        return {
            "x-router-decision": self.id,
            "x-router-model": decision.chosen,
            "x-router-beta": f"{decision.beta:g}",
            "x-router-reason": decision.reason,
            "x-router-decision-ms": f"{self._decided_ms:.2f}",
        }

    def _decision(self) -> Decision | None:
        """The decision as far as it has come."""
        if self._routed is None:
            return None
        decision = self._routed.decision
        return after_failures(decision, self._failed, self._answering(decision), self._routed.exploration)

    def _answering(self, decision: Decision) -> str:
        """Whose answer the client got; else whose error; else, where it left early, who was being asked."""
        if self._relay is not None:
            return self._relay.model
        if self._status != CLIENT_LEFT:
            return next(reversed(self._failed), decision.chosen)
        order = (decision.chosen, *decision.fallbacks)
        return next((name for name in order if name not in self._failed), order[-1])

    async def _upstream(self, waiting: Awaitable[T]) -> T:
        """Wait for an upstream, and count how long."""
        began = time.perf_counter()
        try:
            return await waiting
        finally:
            self._upstream_s += time.perf_counter() - began

    def _elapsed_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1e3

    def _record(self) -> None:
        """Leave the facts in the scope and hand the row over; without a decision there is none."""
        latency_ms = self._elapsed_ms()
        routed, decision = self._routed, self._decision()
        if routed is None or decision is None:
            self._scope["routing"] = Routing(
                self._call.operation, self._call.stream, decide_ms=self._decided_ms
            )
            return
        bill = self._till.count_now(routed, self._relay)
        usage = bill.usage
        if usage is not None and self._status < 400 and not self._till.cached:
            self._gateway.answered(routed, decision.chosen, usage)
        model = routed.models[decision.chosen]
        reading = routed.reading
        row = DecisionRow(
            id=self.id,
            created_at=self._created_at,
            prompt=prompt_row(
                routed.features.text,
                routed.features.input_tokens,
                stored=self._store_prompts,
                version=reading.version if reading else NO_VERSION,
                embedding=reading.embedding if reading else None,
            ),
            beta=decision.beta,
            chosen=decision.chosen,
            target=model.target,
            reason=decision.reason,
            propensity=decision.propensity,
            candidates=tuple(
                CandidateRow(each.model, each.value, each.cost, each.score, each.excluded)
                for each in decision.candidates
            ),
            status=self._status,
            completion_id=self._relay.reader.completion_id if self._relay else None,
            stream=self._call.stream,
            input_tokens=usage.input_tokens if usage else None,
            output_tokens=usage.output_tokens if usage else None,
            cached_tokens=usage.cached_tokens if usage else None,
            usage_estimated=usage is not None and usage.estimated,
            cost_usd=bill.cost_usd,
            cache_write_tokens=usage.cache_write_tokens if usage else None,
            reasoning_tokens=usage.reasoning_tokens if usage else None,
            audio_input_tokens=usage.audio_input_tokens if usage else None,
            audio_output_tokens=usage.audio_output_tokens if usage else None,
            latency_ms=latency_ms,
            first_byte_ms=self._first_byte_ms,
            key_id=self._key_id,
        )
        self._gateway.ledger.close(
            row,
            text=routed.features.text,
            # what vectors are asked for says nothing about the worth of an answer
            embed=reading is None
            and self._relay is not None
            and not self._till.cached
            and self._call.operation != "embeddings",
        )
        self._till.settle(row, self._relay)
        self._scope["routing"] = self._facts(row, decision)

    def _facts(self, row: DecisionRow, decision: Decision) -> Routing:
        reader = self._relay.reader if self._relay else None
        values = {each.model: each.value for each in decision.candidates}
        return Routing(
            operation=self._call.operation,
            stream=row.stream,
            decision_id=row.id,
            asked=self._call.model,
            model=row.chosen,
            target=row.target,
            reason=row.reason,
            beta=row.beta,
            value=values.get(row.chosen),
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            cached_tokens=row.cached_tokens,
            usage_estimated=row.usage_estimated,
            cost_usd=row.cost_usd,
            saved_usd=saved_usd(decision, row.cost_usd) if row.status < 400 else None,
            completion_id=row.completion_id,
            finish_reason=reader.finish_reason if reader else None,
            decide_ms=self._decided_ms,
            upstream_ms=self._upstream_s * 1e3,
            failed=tuple(self._failed.items()),
        )


async def _start(send: Send, status: int, headers: Mapping[str, str]) -> None:
    raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
