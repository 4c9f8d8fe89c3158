"""A chat reply as OpenAI's Responses API tells it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleet.usage import parse_usage
from router.wire.parts import Part, Stream, Unreadable, ours, read_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from router.wire.parts import Step
    from router.wire.stream import Event

LONGEST_REPLY = 32 << 20  # characters: the last event repeats the whole reply, so it is kept until then
_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED = (
    *("instructions", "max_output_tokens", "metadata", "reasoning", "service_tier", "temperature", "text"),
    *("top_logprobs", "top_p", "user", "safety_identifier", "prompt_cache_key"),
)


@dataclass(frozen=True)
class Responses:
    """The Responses protocol, for one request, whose settings a response repeats."""

    request: Mapping[str, Any]

    def whole(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """See Wire."""
        reply = read_whole(completion)
        status, details = _status(reply.finish_reason)
        output = [
            _item(part, f"{_PREFIXES[part.kind]}_{secrets.token_hex(12)}", status) for part in reply.parts
        ]
        usage = _usage(completion.get("usage"))
        return self.response(completion, status, output=output, usage=usage, incomplete_details=details)

    def story(self) -> ResponsesStory:
        """See Wire."""
        return ResponsesStory(self)

    def response(self, completion: Mapping[str, Any], status: str, **fields: Any) -> dict[str, Any]:
        """A response in some state. Its id is the upstream's, so that feedback can name it."""
        request = self.request
        parallel, choice = request.get("parallel_tool_calls"), request.get("tool_choice")
        return {
            "id": str(completion.get("id") or f"resp_{secrets.token_hex(12)}"),
            "object": "response",
            "created_at": completion.get("created") or int(time.time()),
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": str(completion.get("model") or ""),
            "output": [],
            "parallel_tool_calls": True if parallel is None else parallel,
            "tool_choice": "auto" if choice is None else choice,
            "tools": [{"parameters": None, "strict": None, **tool} for tool in request.get("tools") or ()],
            "usage": None,
            "store": False,
            "previous_response_id": None,
            "truncation": "disabled",
            **{name: request.get(name) for name in _ECHOED},
            **fields,
        }


class ResponsesStory:
    """response.created and in_progress, every item from its adding to its end, then the response as a whole."""

    def __init__(self, wire: Responses) -> None:
        self._wire = wire
        self._stream = Stream()
        self._head: dict[str, Any] | None = None
        self._output: list[dict[str, Any]] = []
        self._item_id = ""
        self._characters = 0
        self._sequence = -1

    def read(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """See Story."""
        if self._head is None:
            self._head = {name: chunk.get(name) for name in ("id", "created", "model")}
            self._head = self._wire.response(self._head, "in_progress")
            yield self._event("response.created", response=self._head)
            yield self._event("response.in_progress", response=self._head)
        for step in self._stream.read(chunk):
            yield from self._tell(step)

    def end(self) -> Iterator[Event]:
        """See Story."""
        if self._head is None:
            yield from self.read({})
        status, details = _status(self._stream.finish_reason)
        for step in self._stream.end():
            yield from self._tell(step, status)
        usage = _usage(self._stream.usage)
        yield self._last(f"response.{status}", status, usage=usage, incomplete_details=details)

    def fail(self, error: Mapping[str, Any]) -> Iterator[Event]:
        """See Story."""
        message, code = str(error.get("message") or "the model failed"), error.get("code")
        code = code if isinstance(code, str) else "server_error"
        yield self._event("error", code=code, message=message, param=None)
        if self._head is not None:
            known = code if code in ("server_error", "rate_limit_exceeded") else "server_error"
            yield self._last("response.failed", "failed", error={"code": known, "message": message})

    def _event(self, kind: str, **fields: Any) -> Event:
        self._sequence += 1
        return {"type": kind, "sequence_number": self._sequence, **fields}

    def _last(self, kind: str, status: str, **fields: Any) -> Event:
        assert self._head is not None
        return self._event(kind, response={**self._head, "status": status, "output": self._output, **fields})

    def _tell(self, step: Step, status: str = "completed") -> Iterator[Event]:
        part = step.part
        place = {"item_id": self._item_id, "output_index": len(self._output)}
        if part.kind != "tool":
            place["content_index"] = 0
        name = _EVENTS[part.kind]
        match step.verb:
            case "begin":
                yield from self._begin(part)
            case "add":
                self._characters += len(step.text)
                if self._characters > LONGEST_REPLY:
                    raise Unreadable("it is too long")
                part.text += step.text
                part.logprobs += step.logprobs
                logprobs = {"logprobs": _logprobs(step.logprobs)} if part.kind == "text" else {}
                yield self._event(f"{name}.delta", **place, delta=step.text, **logprobs)
            case "end":
                said: dict[str, Any] = {_SAID[part.kind]: part.text}
                if part.kind == "text":
                    said["logprobs"] = _logprobs(part.logprobs)
                elif part.kind == "tool":
                    said["name"] = part.name
                yield self._event(f"{name}.done", **place, **said)
                if part.kind != "tool":
                    yield self._event("response.content_part.done", **place, part=_content(part))
                item = _item(part, self._item_id, status)
                yield self._event("response.output_item.done", output_index=len(self._output), item=item)
                self._output.append(item)

    def _begin(self, part: Part) -> Iterator[Event]:
        self._item_id = f"{_PREFIXES[part.kind]}_{secrets.token_hex(12)}"
        index = len(self._output)
        item = _item(part, self._item_id, "in_progress")
        if part.kind != "tool":
            item["content"] = []
        yield self._event("response.output_item.added", output_index=index, item=item)
        if part.kind != "tool":
            place = {"item_id": self._item_id, "output_index": index, "content_index": 0}
            yield self._event("response.content_part.added", **place, part=_content(part))


_PREFIXES = {"reasoning": "rs", "text": "msg", "refusal": "msg", "tool": "fc"}
_EVENTS = {
    "reasoning": "response.reasoning_text",
    "text": "response.output_text",
    "refusal": "response.refusal",
    "tool": "response.function_call_arguments",
}
_SAID = {"reasoning": "text", "text": "text", "refusal": "refusal", "tool": "arguments"}


def _item(part: Part, identity: str, status: str) -> dict[str, Any]:
    if part.kind == "tool":
        call = {"call_id": part.id, "name": part.name, "arguments": part.text}
        return {"id": identity, "type": "function_call", "status": status, **call}
    if part.kind == "reasoning":
        return {
            "id": identity,
            "type": "reasoning",
            "summary": [],
            "content": [_content(part)],
            "status": status,
        }
    return {
        "id": identity,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [_content(part)],
    }


def _content(part: Part) -> dict[str, Any]:
    if part.kind == "reasoning":
        return {"type": "reasoning_text", "text": part.text}
    if part.kind == "refusal":
        return {"type": "refusal", "refusal": part.text}
    return {"type": "output_text", "text": part.text, "annotations": [], "logprobs": _logprobs(part.logprobs)}


def _logprobs(given: Any) -> list[dict[str, Any]]:
    """Chat's log-probabilities; null lists become empty ones."""
    return [
        {**each, "bytes": each.get("bytes") or [], "top_logprobs": each.get("top_logprobs") or []}
        for each in given
        if isinstance(each, dict)
    ]


def _status(finish_reason: str | None) -> tuple[str, dict[str, str] | None]:
    reason = _INCOMPLETE.get(finish_reason or "")
    return ("completed", None) if reason is None else ("incomplete", {"reason": reason})


def _usage(counted: object) -> dict[str, Any] | None:
    usage = parse_usage(counted)
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
        **ours(counted),
    }
