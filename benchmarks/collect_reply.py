"""What a model said to one call of `router-bench collect`: its choices, or why there are none."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from fleet.errors import UpstreamError
from fleet.usage import ReplyReader

if TYPE_CHECKING:
    from fleet.model import Model, Usage
    from fleet.upstream import Reply

_CODE = re.compile(r"[a-z][a-z_]{2,50}")


@dataclass(frozen=True)
class Said:
    """One choice: its text, what it used as far as the upstream said, and why it ended."""

    text: str
    usage: Usage | None
    finish: str | None


async def read(model: Model, reply: Reply) -> list[Said]:
    """A whole reply's choices. Raises UpstreamError where it breaks off or is no completion."""
    reader = ReplyReader(stream=False, hide_usage=False)
    try:
        body = b"".join([reader.feed(chunk) async for chunk in reply.content])
        reader.finish()
    finally:
        await reply.aclose()
    try:
        choices = orjson.loads(body)["choices"]
        contents = [choice["message"].get("content") for choice in choices]
        ends = [choice.get("finish_reason") for choice in choices]
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        contents = ends = []
    if not contents:
        raise UpstreamError(model.name, "status", 502, body=body)
    return [
        Said(content if isinstance(content, str) else "", usage, end if isinstance(end, str) else None)
        for content, usage, end in zip(contents, _shares(reader.usage, len(contents)), ends, strict=True)
    ]


def _shares(usage: Usage | None, choices: int) -> list[Usage | None]:
    """What each choice used: the whole prompt, and its part of the tokens written, which is told for all together."""
    if usage is None or choices == 1:
        return [usage] * choices
    parts = "output_tokens", "reasoning_tokens", "audio_output_tokens"
    return [
        replace(usage, **{part: (getattr(usage, part) + place) // choices for part in parts})
        for place in range(choices)
    ]


def why(error: UpstreamError) -> str:
    """Why there was no reply: the status and the error's code, never its text, which may quote the prompt."""
    try:
        details = orjson.loads(error.body)["error"]
        code = str(details.get("code") or details.get("type") or "")
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        code = ""
    return f"{error} ({code})" if _CODE.fullmatch(code) else str(error)
