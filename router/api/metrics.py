"""GET /metrics: counts, costs and latencies for Prometheus."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response

from router.api.describe import STRING, replied
from router.api.request import Overseer, ServicesOf
from router.metrics import CONTENT_TYPE

api = APIRouter(tags=["metrics"])


@api.get("/metrics", openapi_extra=replied(STRING, kind="text/plain"), response_class=Response)
async def metrics(built: ServicesOf, _admin: Overseer) -> Response:
    """Prometheus' text format. Takes an admin key where the other endpoints take a key: docs/operating.md."""
    return Response(await asyncio.to_thread(built.metrics.exposition), media_type=CONTENT_TYPE)
