"""POST /v1/chat/completions, through the whole gateway."""

from __future__ import annotations

import orjson
import pytest

from tests.router.fakes import Fails, Says, model
from tests.router.running import ASK, events


async def test_auto_is_served_by_the_best_score_and_the_headers_say_so(start):
    async with start(beta=1.0) as running:
        await running.teach(strong=1, middle=0.5, weak=0)
        reply = await running.chat()
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"]["content"] == "four"
    assert reply.headers["x-router-model"] == "strong"
    assert reply.headers["x-router-reason"] == "best_score"
    assert reply.headers["x-router-beta"] == "1"
    assert reply.headers["x-router-decision"].startswith("dec_")
    assert float(reply.headers["x-router-decision-ms"]) > 0
    assert reply.headers["x-request-id"].startswith("req_")


async def test_beta_of_the_request_wins_over_the_settings(start):
    async with start(beta=1.0) as running:
        await running.teach(strong=1, middle=0.5, weak=0)
        by_body = await running.chat(router={"beta": 0})
        by_header = await running.chat(headers={"x-router-beta": "0"})
    assert by_body.headers["x-router-model"] == by_header.headers["x-router-model"] == "weak"


async def test_feedback_changes_the_next_decision(start):
    async with start(beta=0.9) as running:
        await running.teach(strong=0.6, middle=0.5, weak=0.5)
        before = await running.chat()
        await running.teach(weak=1, strong=0)
        after = await running.chat()
    assert (before.headers["x-router-model"], after.headers["x-router-model"]) == ("strong", "weak")


async def test_weighted_contexts_are_read_for_the_requests_beta(start):
    async with start(combine="weighted", beta=1.0) as running:
        await running.teach(strong=1, middle=0.5, weak=0)
        dear = await running.chat()
        cheap = await running.chat(router={"beta": 0})
    assert (dear.headers["x-router-model"], cheap.headers["x-router-model"]) == ("strong", "weak")


async def test_the_upstream_gets_the_callers_fields_without_ours(start):
    async with start() as running:
        await running.chat(router={"beta": 1}, temperature=0.1, vendor_field={"a": [1]})
        [(_, body)] = running.upstream.asked
    assert "router" not in body
    assert (body["temperature"], body["vendor_field"]) == (0.1, {"a": [1]})


async def test_an_allow_list_limits_the_choice(start):
    async with start() as running:
        reply = await running.chat(router={"models": ["middle"]})
        unknown = await running.chat(router={"models": ["middle", "none"]})
    assert reply.headers["x-router-model"] == "middle"
    assert unknown.status_code == 400
    assert unknown.json()["error"]["param"] == "router.models"


async def test_models_that_cannot_serve_the_request_are_not_asked(start):
    fleet = (model("blind", 1.0), model("seeing", 9.0, abilities=frozenset({"vision"})))
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
    async with start(fleet=fleet, beta=0.0) as running:
        reply = await running.chat(messages=picture)
        row = await running.decision(reply.headers["x-router-decision"])
    assert reply.headers["x-router-model"] == "seeing"
    assert {c.model: c.excluded for c in row.candidates} == {"seeing": None, "blind": "lacks vision"}


async def test_when_no_model_is_able_the_error_names_every_reason(start):
    fleet = (model("blind", 1.0), model("short", 1.0, context_window=2))
    async with start(fleet=fleet) as running:
        reply = await running.chat(tools=[{"type": "function"}], max_tokens=50)
        assert not running.upstream.asked
        assert not running.scorer.read
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (400, "no_candidate", "invalid_request_error")
    assert "blind: lacks tools" in error["message"]
    assert "short: " in error["message"]


async def test_exploration_reaches_every_model_and_records_its_propensity(start):
    async with start(exploration=1.0) as running:
        replies = [await running.chat() for _ in range(40)]
        rows = [await running.decision(reply.headers["x-router-decision"]) for reply in replies]
    assert {row.chosen for row in rows} == {"strong", "middle", "weak"}
    assert {row.reason for row in rows} == {"explored"}
    assert {round(row.propensity, 6) for row in rows} == {round(1 / 3, 6)}


async def test_a_named_model_goes_straight_through_and_is_recorded_with_its_embedding(start):
    async with start() as running:
        reply = await running.chat("middle")
        row = await running.decision(reply.headers["x-router-decision"])
    assert (row.chosen, row.reason, row.propensity) == ("middle", "pinned", 1.0)
    assert [c.model for c in row.candidates] == ["middle"]
    assert row.prompt.version == "fake-1"
    assert row.prompt.embedding is not None
    assert row.prompt.text is None


async def test_a_named_model_is_not_kept_waiting_by_the_value_model(start):
    async with start() as running:
        running.scorer.gate.clear()
        reply = await running.chat("middle")
        assert reply.status_code == 200
        running.scorer.gate.set()


async def test_the_prompt_is_stored_only_where_the_operator_asked(start, settings):
    from dataclasses import replace

    async with start(store=replace(settings.store, store_prompts=True)) as running:
        reply = await running.chat()
        row = await running.decision(reply.headers["x-router-decision"])
    assert row.prompt.text == "two and two?"


async def test_usage_becomes_cost_and_is_recorded_under_the_completions_id(start):
    async with start() as running:
        reply = await running.chat("strong")
        row = await running.decision(reply.json()["id"])
    assert row.id == reply.headers["x-router-decision"]
    assert (row.input_tokens, row.output_tokens, row.status, row.stream) == (10, 5, 200, False)
    assert row.cost_usd == pytest.approx(15 * 10.0 / 1e6)
    assert 0 < row.first_byte_ms <= row.latency_ms


async def test_without_usage_the_cost_is_estimated(start):
    async with start({"strong": Says("x" * 40, usage=None)}) as running:
        reply = await running.chat("strong")
        row = await running.decision(reply.json()["id"])
    assert row.input_tokens == 3
    assert 10 <= row.output_tokens <= 13
    assert row.cost_usd > 0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "failure",
    [
        Fails(503),
        Fails(429),
        Fails(408),
        Fails(401),
        Fails(None, b"", cause="connect"),
        Fails(None, b"", cause="timeout"),
    ],
    ids=["503", "429", "408", "401", "connect", "timeout"],
)
async def test_a_model_that_fails_is_replaced_by_the_next_in_rank(start, failure, stream):
    async with start({"weak": failure}, beta=0.0) as running:
        reply = await running.chat(stream=stream)
        row = await running.decision(reply.headers["x-router-decision"])
    assert reply.status_code == 200
    assert [name for name, _ in running.upstream.asked] == ["weak", "middle"]
    assert reply.headers["x-router-model"] == row.chosen == "middle"
    assert row.reason == reply.headers["x-router-reason"] == "fallback"
    assert row.target == "openai/middle"
    [weak] = [c for c in row.candidates if c.model == "weak"]
    assert weak.excluded.startswith("failed: ")


async def test_a_refusal_of_the_request_itself_is_passed_on_and_nobody_else_is_asked(start):
    body = b'{"error":{"message":"bad temperature","type":"invalid_request_error","param":"temperature","code":"x"}}'
    async with start({"weak": Fails(400, body)}, beta=0.0) as running:
        reply = await running.chat()
        row = await running.decision(reply.headers["x-router-decision"])
    assert (reply.status_code, reply.content) == (400, body)
    assert [name for name, _ in running.upstream.asked] == ["weak"]
    assert (row.status, row.chosen, row.cost_usd) == (400, "weak", None)


async def test_a_named_model_that_fails_is_not_replaced_and_its_retry_after_is_passed_on(start):
    async with start({"weak": Fails(429, headers={"retry-after": "7", "x-secret": "s"})}) as running:
        reply = await running.chat("weak")
    assert reply.status_code == 429
    assert reply.headers["retry-after"] == "7"
    assert "x-secret" not in reply.headers
    assert reply.json()["error"]["code"] == "busy"
    assert len(running.upstream.asked) == 1


async def test_when_everybody_fails_the_last_error_is_the_answer(start):
    script = {"weak": Fails(503), "middle": Fails(500), "strong": Fails(None, b"", cause="timeout")}
    async with start(script, beta=0.0) as running:
        reply = await running.chat(stream=True)
        row = await running.decision(reply.headers["x-router-decision"])
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "upstream_timeout")
    assert reply.headers["x-router-model"] == row.chosen == "strong"
    assert row.status == 504
    assert all(c.excluded for c in row.candidates)


async def test_an_upstreams_error_page_is_put_into_the_envelope(start):
    async with start({"weak": Fails(502, b"<html>nginx</html>")}) as running:
        reply = await running.chat("weak")
    assert reply.status_code == 502
    assert reply.json()["error"]["type"] == "upstream_error"


async def test_our_key_refused_upstream_is_not_shown_as_the_callers(start):
    async with start({"weak": Fails(401, b'{"error": {"message": "Incorrect API key sk-abc"}}')}) as running:
        reply = await running.chat("weak")
    assert reply.status_code == 502
    assert "sk-abc" not in reply.text
    assert reply.headers["x-should-retry"] == "false"


async def test_a_plain_reply_that_breaks_off_falls_back(start):
    async with start({"weak": Says(breaks_off=True)}, beta=0.0) as running:
        reply = await running.chat()
    assert (reply.status_code, reply.headers["x-router-model"]) == (200, "middle")
    assert running.upstream.closed_at.keys() == {"weak", "middle"}


async def test_a_stream_passes_word_by_word_and_hides_usage_that_was_not_asked_for(start):
    async with start({"weak": Says("one two three")}) as running:
        reply = await running.chat("weak", stream=True)
        row = await running.decision(reply.headers["x-router-decision"])
    assert reply.headers["content-type"].startswith("text/event-stream")
    *chunks, done = events(reply)
    assert done == "[DONE]"
    words = [orjson.loads(chunk)["choices"][0]["delta"].get("content") for chunk in chunks]
    assert words == ["", "one ", "two ", "three ", None]
    assert (row.input_tokens, row.output_tokens, row.stream) == (10, 5, True)


async def test_a_stream_shows_usage_that_was_asked_for(start):
    async with start() as running:
        reply = await running.chat("weak", stream=True, stream_options={"include_usage": True})
    last = orjson.loads(events(reply)[-2])
    assert (last["choices"], last["usage"]["prompt_tokens"]) == ([], 10)


@pytest.mark.parametrize(
    "scene",
    [Says(breaks_off=True), Says(error_event={"message": "overloaded", "code": 529})],
    ids=["cut", "error"],
)
async def test_a_stream_that_fails_before_its_first_word_falls_back(start, scene):
    async with start({"weak": scene}, beta=0.0) as running:
        reply = await running.chat(stream=True)
    assert reply.headers["x-router-model"] == "middle"
    assert events(reply)[-1] == "[DONE]"
    assert "overloaded" not in reply.text


async def test_an_error_event_before_the_first_word_is_an_error_reply_when_nobody_is_left(start):
    async with start({"weak": Says(error_event={"message": "overloaded", "code": "busy"})}) as running:
        reply = await running.chat("weak", stream=True)
    assert (reply.status_code, reply.json()["error"]["message"]) == (502, "overloaded")


@pytest.mark.parametrize(
    "scene",
    [
        Says("one two three", breaks_off=True, after=2),
        Says("one two three", error_event={"message": "overloaded"}, after=2),
    ],
    ids=["cut", "error"],
)
async def test_a_stream_that_fails_later_ends_in_an_error_event_and_not_in_done(start, scene):
    async with start({"weak": scene}, beta=0.0) as running:
        reply = await running.chat(stream=True)
        row = await running.decision(reply.headers["x-router-decision"])
    assert reply.headers["x-router-model"] == "weak"
    *before, last = events(reply)
    assert len(before) == 3
    assert orjson.loads(last)["error"]["message"]
    assert "[DONE]" not in reply.text
    assert (row.status, row.chosen, row.output_tokens, row.usage_estimated) == (502, "weak", 2, True)


async def test_a_finished_stream_without_done_is_given_one(start):
    async with start({"weak": Says(done=False)}) as running:
        reply = await running.chat("weak", stream=True)
    assert events(reply)[-1] == "[DONE]"


async def test_an_unknown_model_is_404(start):
    async with start() as running:
        reply = await running.chat("gpt-9")
    assert reply.status_code == 404
    assert reply.json()["error"]["code"] == "model_not_found"
    assert reply.json()["error"]["param"] == "model"


async def test_a_body_beyond_the_limit_is_413_announced_or_not(start):
    async def unannounced():
        for _ in range(40):
            yield b" " * 2**16

    async with start() as running:
        announced = await running.http.post("/v1/chat/completions", content=b" " * (2**20 + 1))
        chunked = await running.http.post("/v1/chat/completions", content=unannounced())
    assert announced.status_code == chunked.status_code == 413
    assert announced.json()["error"]["code"] == "request_too_large"


async def test_malformed_requests_are_400_in_the_envelope(start):
    async with start() as running:
        broken = await running.http.post("/v1/chat/completions", content=b"{")
        empty = await running.chat(messages=[])
        beta = await running.chat(router={"beta": 2})
    assert [reply.status_code for reply in (broken, empty, beta)] == [400, 400, 400]
    assert [reply.json()["error"]["param"] for reply in (broken, empty, beta)] == [
        None,
        "messages",
        "router.beta",
    ]


async def test_a_callers_request_id_comes_back_unless_it_cannot_stand_in_a_header(start):
    async with start() as running:
        kept = await running.chat(headers={"x-request-id": "abc-1"})
        replaced = await running.chat(headers={"x-request-id": "x" * 500})
        two_words = await running.chat(headers={"x-request-id": "abc status=200"})
    assert kept.headers["x-request-id"] == "abc-1"
    assert replaced.headers["x-request-id"].startswith("req_")
    assert two_words.headers["x-request-id"].startswith("req_")


async def test_a_bug_is_a_500_that_shows_and_logs_no_inside(start, caplog):
    async with start() as running:

        async def broken(text, contexts):
            raise RuntimeError(f"cannot read {text}")

        running.scorer.score = broken
        reply = await running.chat()
    assert reply.status_code == 500
    assert reply.headers["x-request-id"] in reply.json()["error"]["message"]
    assert ASK[0]["content"] not in reply.text + caplog.text
    assert "RuntimeError" in caplog.text
