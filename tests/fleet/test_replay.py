"""The simulated fleet is honest about being one, really attempts its tasks, and speaks OpenAI's wire format."""

from __future__ import annotations

import time
from collections import defaultdict
from random import Random
from typing import Any

import orjson
import pytest

from fleet.errors import UpstreamError
from fleet.model import Model, Prices
from fleet.prices import cost_usd
from fleet.replay import REPLAY_MODELS, Replay, tokens
from fleet.scripted.attempt import attempt
from fleet.scripted.mind import Abilities, Mind
from fleet.scripted.models import EVERYTHING
from fleet.tasks import DIFFICULTIES, DOMAINS, FAMILIES, generate
from fleet.upstream import Upstream
from fleet.usage import ReplyReader
from router.verifiers import grade

FIVE = [name for name in REPLAY_MODELS if name != "surveyor"]
SAMPLE = generate(len(FAMILIES) * len(DIFFICULTIES) * 5, seed=23, split="test")
LIMITLESS = Abilities(
    EVERYTHING, digits=99, factor_digits=99, precision=15, steps=999, span=99, rows=99, letters=99, care=1.0
)


def model(name: str) -> Model:
    return Model(name, f"replay/{name}", Prices(1, 2))


def body(prompt: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}], **more}


async def ask(name: str, prompt: str, **more: Any) -> dict[str, Any]:
    reply = await Replay(pace=0).chat(model(name), body(prompt, **more))
    answered: dict[str, Any] = orjson.loads(b"".join([chunk async for chunk in reply.content]))
    return answered


def text(answered: dict[str, Any]) -> str:
    content: str = answered["choices"][0]["message"]["content"]
    return content


@pytest.fixture(scope="module")
def scores() -> dict[str, list[float]]:
    """Every model's grade on every task of the sample."""
    graded = defaultdict(list)
    for name, scripted in REPLAY_MODELS.items():
        for task in SAMPLE:
            tried = attempt(task.prompt, Mind(scripted.abilities, Random(f"{name}\n{task.prompt}")))
            graded[name].append(grade(task.verifier, tried.answer or "", task.answer))
    return graded


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_a_mind_without_limits_solves_every_task_from_its_text_alone() -> None:
    for task in SAMPLE:
        tried = attempt(task.prompt, Mind(LIMITLESS, Random(0)))
        assert grade(task.verifier, tried.answer or "", task.answer) == 1.0, (task, tried)


def test_a_mind_that_knows_nothing_mostly_bluffs_and_sometimes_admits_it() -> None:
    tried = [attempt(task.prompt, Mind(Abilities(frozenset()), Random(n))) for n, task in enumerate(SAMPLE)]
    right = [grade(task.verifier, a.answer or "", task.answer) for task, a in zip(SAMPLE, tried, strict=True)]
    assert all(a.lost for a in tried)
    assert mean(right) < 0.12
    admitted = mean([float(a.answer == "I don't know") for a in tried])
    assert 0.1 < admitted < 0.6


def test_the_oracle_is_well_above_the_best_model_and_that_well_above_the_cheapest(
    scores: dict[str, list[float]],
) -> None:
    best = max(FIVE, key=lambda name: mean(scores[name]))
    oracle = mean([max(scores[name][i] for name in FIVE) for i in range(len(SAMPLE))])
    assert best == "sage"
    assert oracle > mean(scores[best]) + 0.05
    assert mean(scores[best]) > mean(scores["tally"]) + 0.40


def test_no_model_is_best_in_every_domain(scores: dict[str, list[float]]) -> None:
    winners = set()
    for domain in DOMAINS:
        members = [i for i, task in enumerate(SAMPLE) if task.domain == domain]
        winners.add(max(FIVE, key=lambda name: mean([scores[name][i] for i in members])))
    assert len(winners) >= 4


def test_the_sixth_model_opens_up_a_domain(scores: dict[str, list[float]]) -> None:
    members = [i for i, task in enumerate(SAMPLE) if task.domain == "dates and units"]
    before = max(mean([scores[name][i] for i in members]) for name in FIVE)
    assert mean([scores["surveyor"][i] for i in members]) > before + 0.15
    assert mean(scores["surveyor"]) < 0.5


def test_difficult_tasks_go_wrong_more_often(scores: dict[str, list[float]]) -> None:
    by_difficulty = [
        mean([scores["sage"][i] for i, task in enumerate(SAMPLE) if task.difficulty == d])
        for d in DIFFICULTIES
    ]
    assert by_difficulty[0] > 0.85
    assert by_difficulty[0] > by_difficulty[2] > by_difficulty[4]


async def test_the_reply_on_the_wire_holds_what_the_attempt_found() -> None:
    for task in SAMPLE[:60]:
        for name in FIVE:
            tried = attempt(
                task.prompt, Mind(REPLAY_MODELS[name].abilities, Random(f"{name}\n{task.prompt}"))
            )
            reply = text(await ask(name, task.prompt))
            assert grade(task.verifier, reply, task.answer) == grade(
                task.verifier, tried.answer or "", task.answer
            ), (reply, task)


async def test_a_reply_says_that_it_is_simulated_and_counts_its_tokens() -> None:
    answered = await ask("sage", "What is 48 + 59?")
    assert answered["system_fingerprint"] == "simulated"
    assert answered["object"] == "chat.completion"
    assert answered["model"] == "sage"
    assert answered["choices"][0]["finish_reason"] == "stop"
    usage = answered["usage"]
    assert usage["prompt_tokens"] == tokens("What is 48 + 59?") == 4
    assert usage["completion_tokens"] == tokens(text(answered))
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_dearer_models_write_more_and_cost_much_more() -> None:
    replies = {name: await ask(name, "What is 48 + 59?") for name in ("tally", "scholar", "sage")}
    written = {name: reply["usage"]["completion_tokens"] for name, reply in replies.items()}
    assert written["tally"] < written["scholar"] < written["sage"]
    costs = {}
    for name, reply in replies.items():
        reader = ReplyReader(stream=False, hide_usage=False)
        reader.feed(orjson.dumps(reply))
        reader.finish()
        assert reader.usage is not None
        costs[name] = cost_usd(REPLAY_MODELS[name].prices, reader.usage)
    assert costs["sage"] > 50 * costs["tally"]


async def test_whatever_is_no_task_gets_an_honest_sentence() -> None:
    for prompt in (
        "Write a poem about autumn.",
        "",
        "x" * 50_000,
        "Solve it = ?",
        "What is the capital of France?",
    ):
        assert "scripted model" in text(await ask("sage", prompt)) or "don't know" in text(
            await ask("sage", prompt)
        )


async def test_the_same_prompt_gets_the_same_reply_unless_it_is_asked_warmly() -> None:
    task = next(task for task in SAMPLE if task.family == "swaps" and task.difficulty == 5)
    assert len({text(await ask("scholar", task.prompt)) for _ in range(5)}) == 1
    assert len({text(await ask("scholar", task.prompt, temperature=1.5)) for _ in range(25)}) > 1
    assert len({text(await ask("scholar", task.prompt, temperature=1.5, seed=7)) for _ in range(5)}) == 1


async def test_a_stream_is_openais_and_says_the_same_word_by_word() -> None:
    prompt = "What is 48 + 59?"
    reply = await Replay(pace=0).chat(
        model("sage"), body(prompt, stream=True, stream_options={"include_usage": True})
    )
    events = [chunk async for chunk in reply.content]
    assert reply.headers["content-type"] == "text/event-stream"
    assert events[-1] == b"data: [DONE]\n\n"
    chunks = [orjson.loads(event.removeprefix(b"data: ")) for event in events[:-1]]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    said = [c["choices"][0]["delta"].get("content", "") for c in chunks[:-1]]
    assert len([word for word in said if word]) > 10
    whole = await ask("sage", prompt)
    assert "".join(said) == text(whole)
    assert chunks[-1]["usage"] == whole["usage"]


async def test_a_stream_carries_usage_even_when_nobody_asked() -> None:
    reply = await Replay(pace=0).chat(model("tally"), body("What is 48 + 59?", stream=True))
    chunks = [orjson.loads(c[6:]) async for c in reply.content if not c.endswith(b"[DONE]\n\n")]
    assert chunks[-1]["usage"]["completion_tokens"] == 1
    assert "usage" not in chunks[0]


async def test_max_tokens_and_stop_cut_a_reply() -> None:
    cut = await ask("sage", "What is 48 + 59?", max_tokens=5)
    assert cut["choices"][0]["finish_reason"] == "length"
    assert cut["usage"]["completion_tokens"] == 5
    stopped = await ask("sage", "What is 48 + 59?", stop=["carefully"])
    assert text(stopped) == "Let me work through this "


async def test_content_parts_and_earlier_turns_are_understood() -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": [{"type": "text", "text": "What is 48 + 59?"}]},
    ]
    reply = await Replay(pace=0).chat(model("tally"), {"messages": messages})
    assert text(orjson.loads(b"".join([chunk async for chunk in reply.content]))) == "107"


async def test_bad_requests_and_unknown_models_are_refused_as_openai_would() -> None:
    for asked, name, status in (
        (body("hi"), "abacus", 404),
        ({"messages": []}, "sage", 400),
        ({"messages": "hi"}, "sage", 400),
        (body("hi", n=2), "sage", 400),
    ):
        with pytest.raises(UpstreamError) as caught:
            await Replay(pace=0).chat(model(name), asked)
        assert caught.value.status == status
        assert orjson.loads(caught.value.body)["error"]["code"]


async def test_dear_models_take_longer() -> None:
    started = time.perf_counter()
    await Replay().chat(model("sage"), body("What is 48 + 59?"))
    assert time.perf_counter() - started >= 0.03


def test_it_is_an_upstream() -> None:
    upstream: Upstream = Replay()
    assert upstream


@pytest.mark.parametrize(
    "prompt",
    [
        "```python\nx = 9\nwhile x > 0:\n    x = x * x\nprint(x)\n```",
        "```python\nprint(sum(range(1000000000)))\n```",
        "```python\nwhile 1 > 0:\n    pass\nprint(1)\n```",
        "```python\ndef f(x):\n    return f(x)\nprint(f(1))\n```",
        "Multiply " + "9" * 2900 + " by 3",
        "a-" * 1490,
        "1, " * 990,
        "Solve for x: 0x = 0",
    ],
)
def test_a_strange_prompt_neither_hangs_nor_raises(prompt: str) -> None:
    started = time.perf_counter()
    attempt(prompt, Mind(LIMITLESS, Random(1)))
    assert time.perf_counter() - started < 10
