"""Whatever JSON comes, a translation gives a chat request that routing can read, or names what is wrong."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from router.call import understand
from router.errors import BadRequest
from router.features import extract
from router.wire import messages, responses

WORDS = """
    model messages input system instructions role content type text user assistant developer tool_use tool_result
    image source base64 url data media_type document thinking enabled budget_tokens tools name input_schema custom
    tool_choice tool any output_config format json_schema schema effort metadata user_id stop_sequences max_tokens
    function function_call function_call_output call_id arguments output parameters include reasoning store
    input_text input_image image_url input_file output_text refusal top_logprobs stream tool_use_id id is_error
    message auto title router beta
""".split()  # noqa: SIM905  (a table of words reads better)
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False, allow_infinity=False)
WORD = st.sampled_from(WORDS)
ANYTHING = st.recursive(
    SCALARS | WORD | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=5),
    max_leaves=25,
)
BLOCK = st.dictionaries(WORD, ANYTHING, max_size=5)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.lists(BLOCK)}
)


def bodies(protocol, conversation):
    """Bodies with fields that a protocol has, of any content, and a conversation."""
    known = (*protocol.SAME, *protocol.TRANSLATED, *protocol.BESIDE_THE_REPLY)
    fields = st.dictionaries(st.sampled_from(known), ANYTHING, max_size=3)
    turns = st.lists(TURN | BLOCK, min_size=1, max_size=3) | ANYTHING
    return st.builds(lambda body, said: body | {"model": "auto", conversation: said}, fields, turns)


def check(translate, body):
    try:
        call = understand(translate(body), None)
    except BadRequest:
        return
    assert extract(call.body).input_tokens >= 0
    assert orjson.dumps(call.body)


@given(bodies(messages, "messages"))
def test_any_message_request_is_translated_or_refused(body):
    check(messages.to_chat, body)


@given(bodies(responses, "input"))
def test_any_response_request_is_translated_or_refused(body):
    check(responses.to_chat, body)
