"""What a key may do and spend, through the whole gateway; where it counts, through the official SDKs."""

from __future__ import annotations

import asyncio

import anthropic
import openai
import orjson
import pytest

from router.config import Preset
from router.keys.limits import Limits
from router.store.keys import add_key, spent_by_day
from tests.router.fakes import Fails, Says, Scripted, model
from tests.router.running import ASK, events


def key(running, name="ci", **limits):
    """A key with these limits, as request headers."""
    _, secret = add_key(running.app.state.services.engine, name, Limits(**limits))
    return {"authorization": f"Bearer {secret}"}


async def test_rates_and_budgets_are_told_as_openais_sdk_expects(start, serve, settings):
    from router.store.engine import open_store

    engine = open_store(settings.store.url)
    _, rate = add_key(engine, "rate", Limits(requests_per_minute=1))
    _, poor = add_key(engine, "poor", Limits(day_usd=1e-9))
    engine.dispose()
    async with serve() as (url, upstream):
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=rate, max_retries=0) as client:
            first = await client.chat.completions.with_raw_response.create(model="weak", messages=ASK)
            assert float(first.headers["x-router-cost-usd"]) == pytest.approx(15e-6)
            assert first.headers["x-ratelimit-remaining-requests"] == "0"
            with pytest.raises(openai.RateLimitError) as limited:
                await client.chat.completions.create(model="weak", messages=ASK)
        assert limited.value.code == "rate_limit_exceeded"
        assert 0 < int(limited.value.response.headers["retry-after-ms"]) <= 60_000
        # the SDK would try twice more; a spent budget tells it not to
        sent = []

        async def seen(request):
            sent.append(request)

        http = openai.DefaultAsyncHttpxClient(event_hooks={"request": [seen]})
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=poor, http_client=http) as client:
            with pytest.raises(openai.RateLimitError) as spent:
                await client.chat.completions.create(model="auto", messages=ASK)
        assert spent.value.code == "insufficient_quota"
        assert (len(sent), len(upstream.asked)) == (1, 1)
        client = anthropic.AsyncAnthropic(base_url=url, api_key=rate, max_retries=0)
        async with client:
            with pytest.raises(anthropic.RateLimitError):
                await client.messages.create(model="weak", max_tokens=5, messages=ASK)


async def test_a_streams_cost_is_in_its_usage_chunk(serve):
    last = {}
    async with (
        serve({"middle": Says("one two", usage=None)}) as (url, _),
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client,
    ):
        for name in ("weak", "middle"):
            stream = await client.chat.completions.create(
                model=name, messages=ASK, stream=True, stream_options={"include_usage": True}
            )
            chunks = [chunk async for chunk in stream]
            assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
            assert chunks[-1].choices == []
            last[name] = chunks[-1].usage
    assert last["weak"].prompt_tokens == 10
    assert last["weak"].cost_usd == pytest.approx(15e-6)
    assert not hasattr(last["weak"], "estimated")
    assert last["middle"].estimated is True
    assert last["middle"].cost_usd > 0


async def test_the_other_protocols_tell_a_streams_cost_too(serve):
    async with serve({"weak": Says("one two")}) as (url, _):
        async with anthropic.AsyncAnthropic(base_url=url, api_key="none") as client:
            stream = await client.messages.create(model="weak", max_tokens=9, messages=ASK, stream=True)
            told = [event async for event in stream]
        usage = next(event.usage for event in told if event.type == "message_delta")
        assert usage.cost_usd == pytest.approx(15e-6)
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
            responses = [
                event async for event in await client.responses.create(model="weak", input="hi", stream=True)
            ]
        assert responses[-1].response.usage.cost_usd == pytest.approx(15e-6)


USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 500,
    "prompt_tokens_details": {"cached_tokens": 400, "cache_write_tokens": 100, "audio_tokens": 50},
    "completion_tokens_details": {"reasoning_tokens": 300, "audio_tokens": 20},
}


@pytest.mark.parametrize("stream", [False, True])
async def test_every_kind_of_token_is_recorded_and_charged(start, stream):
    from dataclasses import replace

    from fleet.model import Prices

    prices = Prices(1, 10, cached_input=0.1, cache_write=2, reasoning=5, audio_input=30, audio_output=60)
    fleet = (replace(model("dear", 1.0), prices=prices),)
    by_hand = (450 * 1 + 400 * 0.1 + 100 * 2 + 50 * 30 + 180 * 10 + 300 * 5 + 20 * 60) / 1e6
    async with start({"dear": Says(usage=USAGE)}, fleet=fleet) as running:
        reply = await running.chat(
            "dear", stream=stream, stream_options={"include_usage": True} if stream else None
        )
        row = await running.decision(reply.headers["x-router-decision"])
    told = (
        orjson.loads(events(reply)[-2])["usage"]["cost_usd"]
        if stream
        else float(reply.headers["x-router-cost-usd"])
    )
    assert row.cost_usd == pytest.approx(by_hand)
    assert told == pytest.approx(by_hand)
    kinds = (row.cached_tokens, row.cache_write_tokens, row.reasoning_tokens)
    assert kinds == (400, 100, 300)
    assert (row.audio_input_tokens, row.audio_output_tokens) == (50, 20)


async def test_what_was_spent_is_known_at_once_and_after_a_restart(start):
    async with start() as running:
        headers = key(running, total_usd=40e-6)
        assert (await running.chat("weak", max_tokens=5, headers=headers)).status_code == 200
        assert (await running.chat("weak", max_tokens=5, headers=headers)).status_code == 200
        mine = (await running.http.get("/v1/router/key", headers=headers)).json()
        assert mine["spent"]["total"]["cost_usd"] == pytest.approx(30e-6)
        assert mine["budgets"][0]["left_usd"] == pytest.approx(10e-6)
    async with start() as again:
        mine = (await again.http.get("/v1/router/key", headers=headers)).json()
        assert mine["spent"]["total"]["cost_usd"] == pytest.approx(30e-6)
        refused = await again.chat("weak", max_tokens=50, headers=headers)
        assert refused.json()["error"]["code"] == "insufficient_quota"
        assert not again.upstream.asked


async def test_requests_under_way_do_not_spend_a_budget_twice(start):
    async with start({"weak": Says(headers_after_s=60)}) as running:
        headers = key(running, total_usd=70e-6)  # of some 53 that one may cost
        first = asyncio.create_task(running.chat("weak", max_tokens=50, headers=headers))
        await running.upstream.thinking.wait()
        refused = await running.chat("weak", max_tokens=50, headers=headers)
        assert refused.json()["error"]["code"] == "insufficient_quota"
        running.upstream.script["weak"] = Says()
        assert (await running.chat("weak", max_tokens=5, headers=headers)).status_code == 200
        first.cancel()
        await asyncio.wait([first])
        account = running.app.state.services.book._accounts[1]
        assert (account.under_way, account.spending.reserved_usd) == (0, 0.0)
        assert (await running.chat("weak", max_tokens=50, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "scene", [Fails(500), Says(breaks_off=True), Says("a b c", breaks_off=True, after=2)]
)
async def test_whatever_its_end_a_request_leaves_nothing_reserved(start, scene):
    async with start({"weak": scene, "middle": scene, "strong": scene}) as running:
        headers = key(running, total_usd=1.0, concurrent=1, tokens_per_minute=10_000)
        for _ in range(2):
            await running.chat("weak", stream=True, headers=headers)
        account = running.app.state.services.book._accounts[1]
        assert (account.under_way, account.spending.reserved_usd) == (0, 0.0)


async def test_only_so_many_requests_of_a_key_are_under_way(start):
    async with start({"weak": Says(headers_after_s=60)}) as running:
        headers = key(running, concurrent=1)
        first = asyncio.create_task(running.chat("weak", headers=headers))
        await running.upstream.thinking.wait()
        refused = await running.chat("weak", headers=headers)
        first.cancel()
        await asyncio.wait([first])
        running.upstream.script["weak"] = Says()
        assert (await running.chat("weak", headers=headers)).status_code == 200
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert refused.headers["retry-after"] == "1"


async def test_auto_chooses_among_the_keys_models_and_named_ones_are_refused(start):
    async with start(beta=1.0) as running:
        await running.teach(strong=1, middle=0.5, weak=0)
        headers = key(running, models=("w*", "middle"))
        routed = await running.chat(headers=headers)
        named = await running.chat("strong", headers=headers)
        explained = await running.decision(routed.headers["x-router-decision"])
    assert routed.headers["x-router-model"] == "middle"
    assert (named.status_code, named.json()["error"]["code"]) == (403, "model_not_allowed")
    [strong] = [each for each in explained.candidates if each.model == "strong"]
    assert strong.excluded == "is not among the models of the key"


async def test_metrics_show_what_keys_have_spent_and_left(start):
    async with start() as running:
        headers = key(running, day_usd=1.0)
        await running.chat("weak", headers=headers)
        _, admin = add_key(running.app.state.services.engine, "boss", admin=True)
        shown = (await running.http.get("/metrics", headers={"authorization": f"Bearer {admin}"})).text
    found = dict(line.rsplit(" ", 1) for line in shown.splitlines() if line.startswith("v0_router_key_"))
    assert float(found['v0_router_key_spent_usd{key="ci",span="day"}']) == pytest.approx(15e-6)
    assert float(found['v0_router_key_budget_left_usd{key="ci",span="day"}']) == pytest.approx(1 - 15e-6)
    assert float(found['v0_router_key_under_way{key="ci"}']) == 0


async def test_explain_shows_a_key_its_own_choice(start):
    async with start(beta=1.0) as running:
        await running.teach(strong=1, middle=0.5, weak=0)
        headers = key(running, deny=("strong",), beta_max=0.9)
        told = await running.http.post(
            "/v1/router/explain", json={"model": "auto", "messages": ASK}, headers=headers
        )
    assert (told.json()["chosen"], told.json()["beta"]) == ("middle", 0.9)


async def test_a_stream_ends_with_done_also_where_its_upstream_keeps_the_connection_open(start):
    class Lingering(Scripted):
        async def chat(self, model, body):
            reply = await super().chat(model, body)
            content = reply.content

            async def lingering():
                async for chunk in content:
                    yield chunk
                await asyncio.sleep(60)

            reply.content = lingering()
            return reply

    async with start({"weak": Says("one two")}) as running:
        upstream = Lingering(running.upstream.script)
        running.gateway.fleet._upstreams["openai_compatible"] = upstream
        reply = await asyncio.wait_for(running.chat("weak", stream=True), 30)
        row = await running.decision(reply.headers["x-router-decision"])
    assert events(reply)[-1] == "[DONE]"
    assert (row.status, row.output_tokens) == (200, 5)
    assert "weak" in upstream.closed_at


async def test_beta_is_kept_within_the_keys_bounds_wherever_it_comes_from(start):
    async with start(beta=1.0) as running:
        headers = key(running, beta_min=0.2, beta_max=0.6)
        asked = await running.chat(headers=headers, router={"beta": 0})
        usual = await running.chat(headers=headers)
    assert (asked.headers["x-router-beta"], usual.headers["x-router-beta"]) == ("0.2", "0.6")


async def test_a_key_s_target_holds_where_neither_request_nor_preset_says_another(start):
    presets = {"cheap": Preset(beta=0.0), "narrow": Preset(exclude=("weak",))}
    async with start(beta=0.0, presets=presets, min_success=0.1) as running:
        await running.teach(strong=1, middle=0.6, weak=0.3)
        headers = key(running, min_success=0.5)
        chosen = {
            "file": await running.chat(),
            "key": await running.chat(headers=headers),
            "preset without either": await running.chat("narrow", headers=headers),
            "preset": await running.chat("cheap", headers=headers),
            "request's beta": await running.chat(headers=headers, router={"beta": 0}),
            "request's target": await running.chat(headers=headers, router={"min_success": 0.9}),
        }
    assert {
        who: (r.headers["x-router-model"], r.headers["x-router-reason"]) for who, r in chosen.items()
    } == {
        "file": ("weak", "min_success"),
        "key": ("middle", "min_success"),
        "preset without either": ("middle", "min_success"),
        "preset": ("weak", "best_score"),
        "request's beta": ("weak", "best_score"),
        "request's target": ("strong", "min_success"),
    }


async def test_a_paced_key_is_moved_also_where_the_file_has_a_target(start):
    async with start(beta=0.5, min_success=0.9) as running:
        await running.teach(strong=1, middle=0.6, weak=0.3)
        reply = await running.chat(headers=key(running, month_usd=1e3, pace=True))
    assert reply.headers["x-router-reason"] == "best_score"


async def test_a_request_costs_no_more_than_its_key_lets_one_cost(start):
    async with start(beta=1.0) as running:
        await running.teach(strong=1, middle=0.6, weak=0.3)
        headers = key(running, max_cost_usd=30e-6)
        routed = await running.chat(headers=headers)
        named = await running.chat("strong", headers=headers)
        looser = await running.chat(headers=headers, router={"max_cost_usd": 1})
    assert routed.headers["x-router-model"] == looser.headers["x-router-model"] == "weak"
    assert (named.status_code, named.json()["error"]["code"]) == (400, "no_candidate")
    assert "above max_cost_usd 3e-05" in named.json()["error"]["message"]


async def test_a_paced_key_s_beta_moves_with_what_is_left(start):
    async with start(beta=0.5) as running:
        await running.teach(strong=1, middle=0.6, weak=0.3)
        rich, poor = (
            key(running, name, month_usd=usd, pace=True) for name, usd in (("rich", 1e3), ("poor", 2e-3))
        )
        betas = {}
        for name, headers in (("rich", rich), ("poor", poor)):
            replies = [await running.chat(headers=headers, max_tokens=20) for _ in range(4)]
            betas[name] = [float(reply.headers["x-router-beta"]) for reply in replies]
    assert betas["rich"][-1] == 1.0
    assert betas["poor"][-1] == 0.0


async def test_a_reply_is_given_again_to_the_key_that_asked_for_it_and_costs_nothing(start):
    async with start() as running:
        mine, other, plain = (
            key(running, "mine", cache_ttl_s=60),
            key(running, "other", cache_ttl_s=60),
            key(running, "plain"),
        )
        first = await running.chat("weak", headers=mine)
        again = await running.chat("weak", headers=mine)
        assert [reply.headers["x-router-cache"] for reply in (first, again)] == ["miss", "hit"]
        assert again.content == first.content
        assert again.headers["x-router-cost-usd"] == "0"
        assert again.headers["x-router-reason"] == "cached"
        assert (await running.chat("weak", headers=other)).headers["x-router-cache"] == "miss"
        assert "x-router-cache" not in (await running.chat("weak", headers=plain)).headers
        fresh = await running.chat("weak", headers={**mine, "cache-control": "no-cache"})
        assert fresh.headers["x-router-cache"] == "miss"
        private = await running.chat("weak", user="x", headers={**mine, "cache-control": "no-store"})
        assert "x-router-cache" not in private.headers
        row = await running.decision(again.headers["x-router-decision"])
        spent = (await running.http.get("/v1/router/key", headers=mine)).json()["spent"]["total"]
    assert len(running.upstream.asked) == 5
    assert (row.reason, row.cost_usd, row.candidates) == ("cached", 0.0, ())
    assert (spent["requests"], spent["cost_usd"]) == (4, pytest.approx(45e-6))


async def test_a_stream_is_given_again_as_a_stream_and_its_usage_costs_nothing(start):
    async with start({"weak": Says("one two three")}) as running:
        headers = key(running, cache_ttl_s=60)
        asking = {"stream": True, "stream_options": {"include_usage": True}, "headers": headers}
        first, again = [await running.chat("weak", **asking) for _ in range(2)]
    assert again.headers["x-router-cache"] == "hit"
    assert again.headers["content-type"].startswith("text/event-stream")
    assert events(again)[:-2] == events(first)[:-2]
    costs = [orjson.loads(events(reply)[-2])["usage"]["cost_usd"] for reply in (first, again)]
    assert costs == [pytest.approx(15e-6), 0.0]
    assert len(running.upstream.asked) == 1


@pytest.mark.parametrize("scene", [Fails(500), Says("a b c", breaks_off=True, after=2)])
async def test_a_reply_that_did_not_come_to_its_end_is_not_given_again(start, scene):
    async with start({"weak": scene}) as running:
        headers = key(running, cache_ttl_s=60)
        await running.chat("weak", stream=True, headers=headers)
        await running.chat("weak", stream=True, headers=headers)
        assert len(running.gateway.cache) == 0


async def test_nothing_is_written_before_the_reply_and_spending_does_not_wait_for_v0(start, monkeypatch):
    from sqlalchemy import event

    monkeypatch.setattr("router.keys.book.SAVE_EVERY_S", 3600)
    async with start() as running:
        services = running.app.state.services
        headers = key(running, day_usd=1.0, requests_per_minute=100, concurrent=5)
        await services.book.refresh()
        running.scorer.gate.clear()  # V0 reads nothing: the decision waits for its embedding
        said = []
        event.listen(services.engine, "before_cursor_execute", lambda *a: said.append(a[2]))
        assert (await running.chat("weak", headers=headers)).status_code == 200
        assert said == []
        await services.book.save()
        spent = await asyncio.to_thread(spent_by_day, services.engine)
        running.scorer.gate.set()
    [(_, day)] = spent[1].items()
    assert day.cost_usd == pytest.approx(15e-6)
