"""`router explain`: what `auto` would do with a prompt, from a running gateway or from one of our own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from router.app import create_app

if TYPE_CHECKING:
    from collections.abc import Mapping

    from router.config import Settings

PATH = "/v1/router/explain"
PATIENCE_S = 60.0


class ExplainFailed(Exception):  # noqa: N818
    """The gateway refused to explain; says why."""


async def explain(
    settings: Settings, prompt: str, beta: float | None = None, url: str | None = None
) -> dict[str, Any]:
    """
    A prompt's dry run: the JSON of POST /v1/router/explain.

    Asks the gateway at `url` or, without one, a gateway made for this question, with the settings' store.
    Raises `ExplainFailed`.
    """
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": prompt}]}
    if beta is not None:
        body["router"] = {"beta": beta}
    if url is not None:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S) as client:
            return await _ask(client, body)
    app = create_app(replace(settings, server=replace(settings.server, require_key=False)))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=PATIENCE_S) as client,
    ):
        return await _ask(client, body)


async def _ask(client: httpx.AsyncClient, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        reply = await client.post(PATH, json=body)
        answer: dict[str, Any] = reply.json()
    except (httpx.HTTPError, ValueError) as error:
        raise ExplainFailed(f"{client.base_url} gave no answer: {type(error).__name__}") from None
    if reply.status_code != 200:
        raise ExplainFailed(answer.get("error", {}).get("message", f"status {reply.status_code}"))
    return answer


def explain_table(answer: Mapping[str, Any]) -> Table:
    """The answer for the terminal, one row a candidate, the chosen one marked."""
    timings = answer["timings_ms"]
    shown = {
        "embed": timings["backbone"] + timings["adapter"],
        "head": timings["head"],
        "decide": timings["decide"],
    }
    spent = ", ".join(f"{part} {ms:.2f} ms" for part, ms in shown.items())
    table = Table(
        title=Text(f"{answer['chosen']} ({answer['reason']})"),  # Text: a name in brackets is no markup
        caption=Text(f"beta {answer['beta']:g}; {spent}"),
        box=SIMPLE,
    )
    table.add_column("model")
    for heading in ("value", "expected USD", "cost", "score", "rows"):
        table.add_column(heading, justify="right")
    table.add_column("excluded", overflow="fold")
    for each in answer["candidates"]:
        chosen = each["model"] == answer["chosen"]
        cells = (
            f"{'→ ' if chosen else '  '}{each['model']}",
            _number(each["value"], ".3f"),
            _number(each["expected_cost_usd"], ".6f"),
            _number(each["cost_norm"], ".3f"),
            _number(each["score"], ".3f"),
            _number(each["rows"], "d"),
            each["excluded"] or "",
        )
        table.add_row(*map(Text, cells), style="bold" if chosen else None)
    return table


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
