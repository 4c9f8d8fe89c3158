"""Tasks sent through the official OpenAI client, graded and counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openai import AsyncOpenAI

from fleet.model import Model, Usage
from fleet.prices import cost_usd
from fleet.tasks import Task
from router.verifiers import grade

AT_ONCE = 16


@dataclass(frozen=True)
class Answer:
    """What became of one task: who answered, how right, for how many USD."""

    task: Task
    model: str
    score: float
    cost_usd: float
    decision_id: str


@dataclass(frozen=True)
class Line:
    """One way of choosing models, measured: accuracy in [0, 1], USD per 1,000 requests, share of every model."""

    name: str
    accuracy: float
    usd_per_1k: float
    shares: Mapping[str, float]


async def ask(
    client: AsyncOpenAI,
    tasks: Sequence[Task],
    fleet: Mapping[str, Model],
    model: str = "auto",
    beta: float | None = None,
    on_answer: Callable[[], None] | None = None,
) -> list[Answer]:
    """Send tasks to the gateway, several at once; the answers in the order of the tasks, at the fleet's prices."""
    room = asyncio.Semaphore(AT_ONCE)
    extra: dict[str, Any] = {} if beta is None else {"router": {"beta": beta}}

    async def one(task: Task) -> Answer:
        async with room:
            raw = await client.chat.completions.with_raw_response.create(
                model=model, messages=[{"role": "user", "content": task.prompt}], extra_body=extra
            )
        completion = raw.parse()
        answered_by = raw.headers["x-router-model"]
        usage = completion.usage
        cost = 0.0
        if usage is not None:
            counted = Usage(usage.prompt_tokens, usage.completion_tokens)
            cost = cost_usd(fleet[answered_by].prices, counted)
        score = grade(task.verifier, completion.choices[0].message.content or "", task.answer)
        if on_answer:
            on_answer()
        return Answer(task, answered_by, score, cost, raw.headers["x-router-decision"])

    return list(await asyncio.gather(*map(one, tasks)))


def line(name: str, answers: Sequence[Answer]) -> Line:
    """Answers, counted."""
    counts = Counter(answer.model for answer in answers)
    return Line(
        name,
        accuracy(answers),
        1000 * sum(answer.cost_usd for answer in answers) / len(answers),
        {model: count / len(answers) for model, count in counts.items()},
    )


def accuracy(answers: Sequence[Answer]) -> float:
    """Mean score."""
    return sum(answer.score for answer in answers) / len(answers)


def at_random(by_model: Mapping[str, Sequence[Answer]]) -> Line:
    """What a fair die would get: the mean over the models."""
    lines = [line(model, answers) for model, answers in by_model.items()]
    count = len(lines)
    return Line(
        "random",
        sum(each.accuracy for each in lines) / count,
        sum(each.usd_per_1k for each in lines) / count,
        {each.name: 1 / count for each in lines},
    )


def oracle(by_model: Mapping[str, Sequence[Answer]]) -> list[Answer]:
    """For every task the cheapest of the best answers; where nobody was right, the cheapest of all."""
    return [
        min(of_one_task, key=lambda answer: (-answer.score, answer.cost_usd))
        for of_one_task in zip(*by_model.values(), strict=True)
    ]


def by_domain(answers: Sequence[Answer]) -> dict[str, list[Answer]]:
    """Answers, by the domain of their task."""
    domains: dict[str, list[Answer]] = {}
    for answer in answers:
        domains.setdefault(answer.task.domain, []).append(answer)
    return domains
