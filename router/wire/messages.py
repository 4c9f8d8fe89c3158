"""A request of Anthropic's Messages API as a chat request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from router.wire.fields import check_known, content, mapping, mappings, refused, string

if TYPE_CHECKING:
    from collections.abc import Iterator

SAME = ("model", "max_tokens", "stream", "temperature", "top_p", "top_k", "router")
TRANSLATED = ("messages", "system", "stop_sequences", "tools", "tool_choice", "thinking", "output_config")
# an opaque id, where a prompt is cached, which account pays: looked at, and nothing of the reply depends on them
BESIDE_THE_REPLY = ("metadata", "cache_control", "service_tier", "speed")
CACHING = "cache_control"
EFFORTS = ("low", "medium", "high", "xhigh", "max")
LOW_BUDGET, MEDIUM_BUDGET = 4096, 16384  # thinking tokens up to which an effort is low, medium


def to_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The chat request that asks the same. Raises `BadRequest` naming what chat cannot say."""
    check_known(body, (*SAME, *TRANSLATED, *BESIDE_THE_REPLY))
    chat = {name: body[name] for name in SAME if body.get(name) is not None}
    chat["messages"] = [*_system(body.get("system"), "system"), *_messages(body.get("messages"))]
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    chat |= _metadata(body.get("metadata")) | _pace(body)
    chat |= _tools(body.get("tools")) | _tool_choice(body.get("tool_choice"))
    return chat | _thinking(body.get("thinking")) | _output(body.get("output_config"))


def shows_thinking(body: dict[str, Any]) -> bool:
    """Whether the caller wants to see what the model thought."""
    thinking = body.get("thinking")
    return (
        isinstance(thinking, dict)
        and thinking.get("type") in ("enabled", "adaptive")
        and thinking.get("display") != "omitted"
    )


def _system(system: object, where: str) -> list[dict[str, Any]]:
    if not system:
        return []
    return [{"role": "system", "content": _texts(system, where)}]


def _texts(given: object, where: str) -> str:
    """The text of a string or of text blocks."""
    if isinstance(given, str):
        return given
    blocks = mappings(given, where)
    for i, block in enumerate(blocks):
        if block.get("type") != "text":
            raise refused(f"{where}[{i}].type", "must be text here")
    return "\n".join(_text(block, f"{where}[{i}]")["text"] for i, block in enumerate(blocks))


def _messages(given: object) -> Iterator[dict[str, Any]]:
    for i, message in enumerate(mappings(given, "messages")):
        where = f"messages[{i}]"
        check_known(message, ("role", "content"), f"{where}.")
        role, said = message.get("role"), message.get("content")
        if role == "system":
            yield from _system(said, f"{where}.content")
        elif role not in ("user", "assistant"):
            raise refused(f"{where}.role", "must be user, assistant or system")
        elif isinstance(said, str):
            yield {"role": role, "content": said}
        elif role == "user":
            yield from _user(mappings(said, f"{where}.content"), f"{where}.content")
        else:
            yield _assistant(mappings(said, f"{where}.content"), f"{where}.content")


def _user(blocks: list[dict[str, Any]], where: str) -> Iterator[dict[str, Any]]:
    """Tool results, each a message of its own, then the rest; pictures in results come with the rest."""
    parts: list[dict[str, Any]] = []
    for i, block in enumerate(blocks):
        place = f"{where}[{i}]"
        if block.get("type") == "tool_result":
            result, pictures = _tool_result(block, place)
            yield result
            parts += pictures
        else:
            parts.append(_part(block, place))
    if parts or not blocks:
        yield {"role": "user", "content": content(parts)}


def _tool_result(block: dict[str, Any], where: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    check_known(block, ("type", "tool_use_id", "content", "is_error", CACHING), f"{where}.")
    said = block.get("content")
    if said is None or isinstance(said, str):
        parts = [{"type": "text", "text": said or ""}]
    else:
        parts = [
            _part(each, f"{where}.content[{i}]") for i, each in enumerate(mappings(said, f"{where}.content"))
        ]
    text = "\n".join(part["text"] for part in parts if part["type"] == "text")
    if block.get("is_error"):
        text = f"Error: {text}"  # a chat's tool message cannot say so otherwise
    identity = string(block.get("tool_use_id"), f"{where}.tool_use_id")
    message = {"role": "tool", "tool_call_id": identity, "content": text}
    return message, [part for part in parts if part["type"] != "text"]


def _assistant(blocks: list[dict[str, Any]], where: str) -> dict[str, Any]:
    """What a model said. Its thinking is left out: signatures hold at one provider, and no chat API takes it."""
    texts, calls = [], []
    for i, block in enumerate(blocks):
        place, kind = f"{where}[{i}]", block.get("type")
        if kind == "text":
            texts.append(_text(block, place)["text"])
        elif kind == "tool_use":
            check_known(block, ("type", "id", "name", "input", "caller", CACHING), f"{place}.")
            function = {
                "name": string(block.get("name"), f"{place}.name"),
                "arguments": orjson.dumps(mapping(block.get("input"), f"{place}.input")).decode(),
            }
            identity = string(block.get("id"), f"{place}.id")
            calls.append({"id": identity, "type": "function", "function": function})
        elif kind not in ("thinking", "redacted_thinking"):
            raise refused(f"{place}.type", "must be text, tool_use or thinking in an assistant's message")
    said: dict[str, Any] = {"role": "assistant", "content": "\n".join(texts) if texts or not calls else None}
    return said | ({"tool_calls": calls} if calls else {})


def _part(block: dict[str, Any], where: str) -> dict[str, Any]:
    """A text, image or document block as a chat part."""
    kind = block.get("type")
    if kind == "text":
        return _text(block, where)
    if kind == "image":
        check_known(block, ("type", "source", CACHING), f"{where}.")
        return {"type": "image_url", "image_url": {"url": _address(block.get("source"), f"{where}.source")}}
    if kind == "document":
        check_known(block, ("type", "source", "title", CACHING), f"{where}.")
        source = mapping(block.get("source"), f"{where}.source")
        title = string(block.get("title") or "document", f"{where}.title")
        if source.get("type") == "text":
            return {"type": "text", "text": f"{title}\n{string(source.get('data'), f'{where}.source.data')}"}
        if source.get("type") == "base64":
            return {
                "type": "file",
                "file": {"filename": title, "file_data": _address(source, f"{where}.source")},
            }
        raise refused(f"{where}.source.type", "must be base64 or text")
    raise refused(f"{where}.type", "must be text, image, document or tool_result")


def _text(block: dict[str, Any], where: str) -> dict[str, Any]:
    check_known(block, ("type", "text", "citations", CACHING), f"{where}.")
    return {"type": "text", "text": string(block.get("text"), f"{where}.text")}


def _address(given: object, where: str) -> str:
    """Where a picture is: a URL, or the picture itself as one."""
    source = mapping(given, where)
    if source.get("type") == "url":
        return string(source.get("url"), f"{where}.url")
    if source.get("type") != "base64":
        raise refused(f"{where}.type", "must be base64 or url")
    data, media = (
        string(source.get("data"), f"{where}.data"),
        string(source.get("media_type"), f"{where}.media_type"),
    )
    return f"data:{media};base64,{data}"


def _tools(given: object) -> dict[str, Any]:
    if not given:
        return {}
    tools = []
    for i, tool in enumerate(mappings(given, "tools")):
        where = f"tools[{i}]"
        if tool.get("type") not in (None, "custom"):
            raise refused(f"{where}.type", "must be custom: Anthropic's own tools do not run here")
        known = ("type", "name", "description", "input_schema", "strict", "eager_input_streaming", CACHING)
        check_known(tool, known, f"{where}.")
        function: dict[str, Any] = {"name": string(tool.get("name"), f"{where}.name")}
        function |= {name: tool[name] for name in ("description", "strict") if tool.get(name) is not None}
        function["parameters"] = mapping(tool.get("input_schema"), f"{where}.input_schema")
        tools.append({"type": "function", "function": function})
    return {"tools": tools}


def _tool_choice(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    choice = mapping(given, "tool_choice")
    check_known(choice, ("type", "name", "disable_parallel_tool_use"), "tool_choice.")
    parallel = {"parallel_tool_calls": False} if choice.get("disable_parallel_tool_use") else {}
    match choice.get("type"):
        case "auto" | "none" as same:
            return {"tool_choice": same, **parallel}
        case "any":
            return {"tool_choice": "required", **parallel}
        case "tool":
            function = {"name": string(choice.get("name"), "tool_choice.name")}
            return {"tool_choice": {"type": "function", "function": function}, **parallel}
    raise refused("tool_choice.type", "must be auto, any, tool or none")


def _thinking(given: object) -> dict[str, Any]:
    """A thinking budget as an effort; a model that may think as it likes is told nothing."""
    if given is None:
        return {}
    thinking = mapping(given, "thinking")
    check_known(thinking, ("type", "budget_tokens", "display"), "thinking.")
    if thinking.get("type") in ("adaptive", "disabled"):
        return {}
    budget = thinking.get("budget_tokens")
    if thinking.get("type") != "enabled":
        raise refused("thinking.type", "must be enabled, adaptive or disabled")
    if type(budget) is not int:
        raise refused("thinking.budget_tokens", "must be an integer")
    return {
        "reasoning_effort": "low" if budget <= LOW_BUDGET else "medium" if budget <= MEDIUM_BUDGET else "high"
    }


def _output(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    wanted = mapping(given, "output_config")
    check_known(wanted, ("effort", "format"), "output_config.")
    fields: dict[str, Any] = {}
    if wanted.get("effort") is not None:
        if wanted["effort"] not in EFFORTS:
            raise refused("output_config.effort", f"must be one of {', '.join(EFFORTS)}")
        fields["reasoning_effort"] = wanted["effort"]
    if wanted.get("format") is not None:
        shape = mapping(wanted["format"], "output_config.format")
        check_known(shape, ("type", "schema"), "output_config.format.")
        if shape.get("type") != "json_schema":
            raise refused("output_config.format.type", "must be json_schema")
        schema = mapping(shape.get("schema"), "output_config.format.schema")
        named = {"name": "reply", "schema": schema, "strict": True}
        fields["response_format"] = {"type": "json_schema", "json_schema": named}
    return fields


def _metadata(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    metadata = mapping(given, "metadata")
    check_known(metadata, ("user_id",), "metadata.")
    return {} if metadata.get("user_id") is None else {"user": metadata["user_id"]}


def _pace(body: dict[str, Any]) -> dict[str, Any]:
    if body.get("speed") not in (None, "standard"):
        raise refused("speed", "must be standard")
    if body.get("service_tier") not in (None, "auto", "standard_only"):
        raise refused("service_tier", "must be auto or standard_only")
    return {"service_tier": "default"} if body.get("service_tier") == "standard_only" else {}
