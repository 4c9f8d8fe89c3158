"""A request of OpenAI's Responses API as a chat request. Stateless: what needs a stored response is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.wire.fields import check_known, content, mapping, mappings, refused, string

if TYPE_CHECKING:
    from collections.abc import Iterator

SAME = (
    *("model", "stream", "temperature", "top_p", "top_logprobs", "parallel_tool_calls", "service_tier"),
    *("user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "router"),
)
TRANSLATED = (
    "input",
    "instructions",
    "max_output_tokens",
    "tools",
    "tool_choice",
    "text",
    "reasoning",
    "include",
)
# stored with a response, or about how a stream is sent: nothing of the reply depends on them
BESIDE_THE_REPLY = ("metadata", "stream_options")
STATEFUL = ("previous_response_id", "conversation", "background", "prompt")
LOGPROBS, ENCRYPTED = "message.output_text.logprobs", "reasoning.encrypted_content"
ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
PART_KINDS = ("input_text", "output_text", "text", "refusal", "input_image", "input_file", "input_audio")


def to_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The chat request that asks the same. Raises `BadRequest` naming what chat cannot say."""
    _check_stateless(body)
    given = {name: value for name, value in body.items() if name not in ("store", "truncation", *STATEFUL)}
    check_known(given, (*SAME, *TRANSLATED, *BESIDE_THE_REPLY))
    chat = {name: body[name] for name in SAME if body.get(name) is not None}
    chat["messages"] = [*_instructions(body.get("instructions")), *_input(body.get("input"))]
    if body.get("max_output_tokens") is not None:
        chat["max_tokens"] = body["max_output_tokens"]
    chat |= _tools(body.get("tools")) | _tool_choice(body.get("tool_choice"))
    chat |= _text(body.get("text")) | _reasoning(body.get("reasoning"))
    if _wants_logprobs(body):
        chat["logprobs"] = True
    return chat


def _check_stateless(body: dict[str, Any]) -> None:
    for name in STATEFUL:
        if body.get(name):
            raise refused(
                name, "is not supported: the gateway keeps no responses; send the conversation as input"
            )
    if body.get("store"):
        raise refused("store", "must be false or left out: the gateway keeps no responses")
    if body.get("truncation") not in (None, "disabled"):
        raise refused("truncation", "must be disabled: a conversation that does not fit is not cut")


def _instructions(given: object) -> list[dict[str, Any]]:
    return [] if given is None else [{"role": "system", "content": string(given, "instructions")}]


def _input(given: object) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list) or not given:
        raise refused("input", "must be a string or a list of at least one item")
    return list(_messages(mappings(given, "input")))


def _messages(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Messages of chat. Calls that follow each other, or an assistant's words, are one message with them."""
    said: dict[str, Any] | None = None  # what the assistant is saying
    for i, item in enumerate(items):
        where = f"input[{i}]"
        kind = item.get("type", "message")
        if kind == "reasoning":
            continue  # it is sealed for the provider that it came from, and chat has no place for it
        if kind == "function_call":
            said = said or {"role": "assistant", "content": None}
            said.setdefault("tool_calls", []).append(_call(item, where))
            continue
        if said is not None:
            yield said
            said = None
        if kind == "message":
            message = _message(item, where)
            if message["role"] == "assistant":
                said = message
            else:
                yield message
        elif kind == "function_call_output":
            yield from _output(item, where)
        else:
            raise refused(
                f"{where}.type", "must be message, function_call, function_call_output or reasoning"
            )
    if said is not None:
        yield said


def _message(item: dict[str, Any], where: str) -> dict[str, Any]:
    check_known(item, ("type", "id", "status", "role", "content", "phase"), f"{where}.")
    role, said = item.get("role"), item.get("content")
    if not isinstance(role, str) or role not in ROLES:
        raise refused(f"{where}.role", f"must be one of {', '.join(ROLES)}")
    if isinstance(said, str):
        return {"role": ROLES[role], "content": said}
    parts = [
        _part(each, f"{where}.content[{j}]") for j, each in enumerate(mappings(said, f"{where}.content"))
    ]
    return {"role": ROLES[role], "content": content(parts)}


def _part(part: dict[str, Any], where: str) -> dict[str, Any]:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            check_known(part, ("type", "text", "annotations", "logprobs"), f"{where}.")
            return {"type": "text", "text": string(part.get("text"), f"{where}.text")}
        case "refusal":
            return {"type": "text", "text": string(part.get("refusal"), f"{where}.refusal")}
        case "input_image":
            check_known(part, ("type", "image_url", "detail"), f"{where}.")
            image = {"url": string(part.get("image_url"), f"{where}.image_url")}
            detail = part.get("detail")
            return {"type": "image_url", "image_url": image | ({"detail": detail} if detail else {})}
        case "input_file":
            check_known(part, ("type", "filename", "file_data"), f"{where}.")
            name = string(part.get("filename") or "document", f"{where}.filename")
            data = string(part.get("file_data"), f"{where}.file_data")
            return {"type": "file", "file": {"filename": name, "file_data": data}}
        case "input_audio":
            check_known(part, ("type", "input_audio"), f"{where}.")
            return {
                "type": "input_audio",
                "input_audio": mapping(part.get("input_audio"), f"{where}.input_audio"),
            }
    raise refused(f"{where}.type", f"must be one of {', '.join(PART_KINDS)}")


def _call(item: dict[str, Any], where: str) -> dict[str, Any]:
    check_known(item, ("type", "id", "status", "call_id", "name", "arguments"), f"{where}.")
    function = {name: string(item.get(name), f"{where}.{name}") for name in ("name", "arguments")}
    return {"id": string(item.get("call_id"), f"{where}.call_id"), "type": "function", "function": function}


def _output(item: dict[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """A tool's result; its pictures follow as a user's, since a chat's tool message holds text."""
    check_known(item, ("type", "id", "status", "call_id", "output"), f"{where}.")
    given, pictures = item.get("output"), []
    if not isinstance(given, str):
        parts = [
            _part(each, f"{where}.output[{j}]") for j, each in enumerate(mappings(given, f"{where}.output"))
        ]
        given = "\n".join(part["text"] for part in parts if part["type"] == "text")
        pictures = [part for part in parts if part["type"] != "text"]
    yield {"role": "tool", "tool_call_id": string(item.get("call_id"), f"{where}.call_id"), "content": given}
    if pictures:
        yield {"role": "user", "content": pictures}


def _tools(given: object) -> dict[str, Any]:
    if not given:
        return {}
    tools = []
    for i, tool in enumerate(mappings(given, "tools")):
        where = f"tools[{i}]"
        if tool.get("type") != "function":
            raise refused(f"{where}.type", "must be function: OpenAI's own tools do not run here")
        check_known(tool, ("type", "name", "description", "parameters", "strict"), f"{where}.")
        function: dict[str, Any] = {"name": string(tool.get("name"), f"{where}.name")}
        function |= {
            name: tool[name] for name in ("description", "parameters", "strict") if tool.get(name) is not None
        }
        tools.append({"type": "function", "function": function})
    return {"tools": tools}


def _tool_choice(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    if isinstance(given, str):
        return {"tool_choice": given}
    choice = mapping(given, "tool_choice")
    if choice.get("type") != "function":
        raise refused("tool_choice.type", "must be function")
    function = {"name": string(choice.get("name"), "tool_choice.name")}
    return {"tool_choice": {"type": "function", "function": function}}


def _text(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    text = mapping(given, "text")
    check_known(text, ("format", "verbosity"), "text.")
    fields = {"verbosity": text["verbosity"]} if text.get("verbosity") is not None else {}
    if text.get("format") is None:
        return fields
    shape = mapping(text["format"], "text.format")
    match shape.get("type"):
        case "text":
            return fields
        case "json_object":
            return fields | {"response_format": {"type": "json_object"}}
        case "json_schema":
            known = ("name", "schema", "strict", "description")
            check_known(shape, ("type", *known), "text.format.")
            named = {name: shape[name] for name in known if shape.get(name) is not None}
            return fields | {"response_format": {"type": "json_schema", "json_schema": named}}
    raise refused("text.format.type", "must be text, json_object or json_schema")


def _reasoning(given: object) -> dict[str, Any]:
    """An effort. A summary that is asked for cannot be made, and the model's own reasoning is told in full."""
    if given is None:
        return {}
    reasoning = mapping(given, "reasoning")
    check_known(reasoning, ("effort", "summary", "generate_summary"), "reasoning.")
    return {} if reasoning.get("effort") is None else {"reasoning_effort": reasoning["effort"]}


def _wants_logprobs(body: dict[str, Any]) -> bool:
    include = body.get("include")
    if include is None:
        return bool(body.get("top_logprobs"))
    if not isinstance(include, list):
        raise refused("include", "must be a list")
    for each in include:
        if each not in (LOGPROBS, ENCRYPTED):
            raise refused("include", f"must be of {LOGPROBS} and {ENCRYPTED}")
    return LOGPROBS in include or bool(body.get("top_logprobs"))
