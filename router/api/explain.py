"""POST /v1/router/explain: what `auto` would do with a chat request, and why; nothing is called."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request

from router.api.chat import MESSAGES
from router.api.describe import INTEGER, NUMBER, STRING, described, fields, many, maybe
from router.api.request import Caller, ServicesOf, raw_body
from router.call import read
from router.decide import normalised
from router.till import with_terms

api = APIRouter(tags=["explain"])

CANDIDATE = fields(
    model=STRING,
    value=maybe(NUMBER),
    expected_cost_usd=maybe(NUMBER),
    cost_norm=maybe(NUMBER),
    score=maybe(NUMBER),
    rows=maybe(INTEGER),
    excluded=maybe(STRING),
)
TOLD = fields(
    beta=NUMBER,
    cost_scale=NUMBER,
    chosen=STRING,
    reason=STRING,
    candidates=many(CANDIDATE),
    timings_ms=fields(total=NUMBER),
)
EXPLAIN = described(("model", "messages"), MESSAGES, TOLD, streams=False, routed=False)


@api.post("/v1/router/explain", openapi_extra=EXPLAIN)
async def explain(request: Request, built: ServicesOf, key: Caller) -> dict[str, Any]:
    """
    Every candidate's value, expected cost in USD, normalised cost, score and rows of context, in rank.

    A request that names its model is chosen as named, with the candidates shown as `auto` would see them.
    `timings_ms` says where the time went.
    """
    call = read(await raw_body(request), request.headers.get("x-router-beta"))
    if key is not None and not key.admin:
        call = with_terms(call, built.book.admission(key), built.gateway)
    started = time.perf_counter()
    routed = await built.gateway.route(call, dry=True)
    total = (time.perf_counter() - started) * 1e3
    decision, reading = routed.decision, routed.reading
    named = call.model in routed.models
    assert reading is not None  # a dry run always reads the prompt
    return {
        "beta": decision.beta,
        "cost_scale": reading.cost_scale,
        "chosen": call.model if named else decision.chosen,
        "reason": "pinned" if named else decision.reason,
        "candidates": [
            {
                "model": each.model,
                "value": each.value,
                "expected_cost_usd": each.cost,
                "cost_norm": None if each.cost is None else normalised(each.cost, reading.cost_scale),
                "score": each.score,
                "rows": reading.rows.get(each.model),
                "excluded": each.excluded,
            }
            for each in decision.candidates
        ],
        "timings_ms": {**reading.timings, "total": total},
    }
