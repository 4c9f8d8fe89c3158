"""GET /metrics: counts, costs and latencies for Prometheus."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from router.api.request import Caller, ServicesOf
from router.metrics import CONTENT_TYPE

api = APIRouter(tags=["metrics"])


@api.get("/metrics", response_class=Response)
async def metrics(built: ServicesOf, _key: Caller) -> Response:
    """Prometheus' text format. Takes a key where the other endpoints do: docs/operating.md."""
    return Response(await asyncio.to_thread(built.metrics.exposition), media_type=CONTENT_TYPE)
