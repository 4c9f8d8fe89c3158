"""Profiling sends each probe once, grades it, reports it, and never spends more than it may."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from fleet.model import Prices
from fleet.tasks import generate
from router.probes import BadProbes, Graded, Journal, Probe, load_probes
from router.profile import ProfileStopped, estimate, profile
from router.profile_command import Options, run

PROBES = [Probe(f"What is {n} + 1?", str(n + 1), "number") for n in range(20)]
PRICES = Prices(input=1.0, output=10.0)


class FakeGateway:
    """Answers sums, right up to 14; remembers what it was asked and told."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.feedback: list[dict[str, Any]] = []
        self.failing: dict[str, list[int]] = {}  # path -> statuses to give before it works
        self.in_flight = self.most_in_flight = 0
        self.rows = 7
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self.chat)
        self.app.post("/v1/feedback")(self.told)
        self.app.post("/v1/router/explain")(self.explain)

    def _failure(self, path: str) -> JSONResponse | None:
        if not self.failing.get(path):
            return None
        error = {"error": {"message": "not now", "type": "x", "param": None, "code": None}}
        return JSONResponse(error, self.failing[path].pop(0), {"retry-after": "0"})

    async def chat(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.asked.append(body)
        failure = self._failure("chat")
        if failure:
            return failure
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(0.002)
        self.in_flight -= 1
        words = body["messages"][0]["content"].split()
        if words[:2] != ["What", "is"] or words[3:] != ["+", "1?"]:
            return JSONResponse({"error": {"message": "too hard"}}, 400)
        n = int(words[2])
        reply = str(n + 1 if n < 14 else n)
        choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110}
        return JSONResponse({"choices": [choice], "usage": usage}, headers={"x-router-decision": f"dec_{n}"})

    async def told(self, request: Request) -> JSONResponse:
        failure = self._failure("feedback")
        if failure:
            return failure
        self.feedback.append(await request.json())
        return JSONResponse({"id": len(self.feedback)})

    async def explain(self) -> dict[str, Any]:
        return {"candidates": [{"model": "sage", "rows": self.rows}]}


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(gateway.app), base_url="http://gateway"
    ) as client:
        yield client


async def test_every_probe_is_asked_pinned_graded_and_reported(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    seen: list[Graded] = []
    report = await profile(client, "sage", PROBES, prices=PRICES, on_graded=seen.append)
    assert {body["model"] for body in gateway.asked} == {"sage"}
    assert sorted(body["messages"][0]["content"] for body in gateway.asked) == sorted(
        p.prompt for p in PROBES
    )
    assert {f["decision_id"]: f["score"] for f in gateway.feedback} == {
        f"dec_{n}": float(n < 14) for n in range(20)
    }
    assert {f["source"] for f in gateway.feedback} == {"verifier"}
    assert report.mean_score == 0.7
    assert report.cost_usd == pytest.approx(20 * (10 * 1.0 + 100 * 10.0) / 1e6)
    assert len(seen) == len(report.graded) == 20
    assert report.left == 0
    assert not report.failures


async def test_no_more_probes_are_in_flight_than_allowed(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    await profile(client, "sage", PROBES, concurrency=3)
    assert 1 < gateway.most_in_flight <= 3


async def test_what_was_graded_before_is_not_sent_again(
    client: httpx.AsyncClient, gateway: FakeGateway, tmp_path: Path
) -> None:
    journal = Journal(tmp_path, "here", "sage")
    first = await profile(client, "sage", PROBES[:12], journal=journal)
    with journal.path.open("a") as file:
        file.write('{"probe": "cut off by a cra')
    second = await profile(client, "sage", PROBES, journal=journal)
    assert len(first.graded) == 12
    assert (len(second.resumed), len(second.graded)) == (12, 8)
    assert max(Counter(body["messages"][0]["content"] for body in gateway.asked).values()) == 1
    assert second.mean_score == 0.7


async def test_a_probe_whose_feedback_was_not_acknowledged_is_sent_again(
    client: httpx.AsyncClient, gateway: FakeGateway, tmp_path: Path
) -> None:
    journal = Journal(tmp_path, "here", "sage")
    gateway.failing["feedback"] = [422]
    first = await profile(client, "sage", PROBES[:1], journal=journal)
    second = await profile(client, "sage", PROBES[:1], journal=journal)
    assert [failure.reason for failure in first.failures] == ["/v1/feedback answered 422: not now"]
    assert len(second.graded) == 1


def test_journals_of_other_models_and_gateways_are_others(tmp_path: Path) -> None:
    paths = {Journal(tmp_path, g, m).path for g in ("one", "two") for m in ("a/b", "a_b")}
    assert len(paths) == 4
    assert all(path.parent == tmp_path / ".router-profile" for path in paths)


async def test_passing_trouble_is_waited_out(client: httpx.AsyncClient, gateway: FakeGateway) -> None:
    gateway.failing = {"chat": [429, 503, 500], "feedback": [409, 503]}
    report = await profile(client, "sage", PROBES[:4], concurrency=1, pause_s=0.001)
    assert len(report.graded) == 4
    assert len(gateway.asked) == 7


async def test_a_bad_request_costs_one_probe_and_no_more(
    client: httpx.AsyncClient, gateway: FakeGateway
) -> None:
    gateway.failing = {"chat": [400]}
    report = await profile(client, "sage", PROBES, concurrency=1)
    assert [failure.probe for failure in report.failures] == PROBES[:1]
    assert len(report.graded) == 19
    assert report.left == 0


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_refusal_that_will_not_pass_stops_at_once(
    client: httpx.AsyncClient, gateway: FakeGateway, status: int
) -> None:
    gateway.failing = {"chat": [status] * 99}
    with pytest.raises(ProfileStopped, match=f"{status}: not now"):
        await profile(client, "sage", PROBES, concurrency=2)
    assert len(gateway.asked) <= 2


async def test_endless_trouble_stops_in_the_end(client: httpx.AsyncClient, gateway: FakeGateway) -> None:
    gateway.failing = {"chat": [500] * 999}
    with pytest.raises(ProfileStopped, match="10 probes in a row"):
        await profile(client, "sage", PROBES, pause_s=0.0001)


async def test_an_address_where_nothing_answers_stops_in_the_end() -> None:
    async with httpx.AsyncClient(base_url="http://127.0.0.1:9") as client:
        with pytest.raises(ProfileStopped, match="ConnectError"):
            await profile(client, "sage", PROBES, pause_s=0.0001)


async def test_a_stranger_is_not_taken_for_the_gateway() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"choices": []}))
    async with httpx.AsyncClient(transport=transport, base_url="http://other") as client:
        with pytest.raises(ProfileStopped, match="names no decision"):
            await profile(client, "sage", PROBES)


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_the_spending_cap_holds(client: httpx.AsyncClient, concurrency: int) -> None:
    each = (10 + 100 * 10) / 1e6
    cap = 0.0085  # room for eight
    report = await profile(client, "sage", PROBES, prices=PRICES, max_usd=cap, concurrency=concurrency)
    assert report.capped
    assert report.cost_usd is not None
    assert report.cost_usd <= cap
    assert len(report.graded) == pytest.approx(report.cost_usd / each)
    assert len(report.graded) >= 1
    assert report.left == 20 - len(report.graded)


async def test_a_cap_without_prices_is_a_mistake(client: httpx.AsyncClient) -> None:
    with pytest.raises(ValueError, match="needs prices"):
        await profile(client, "sage", PROBES, max_usd=1.0)


def test_the_estimate_uses_the_lengths_seen_so_far() -> None:
    blind = estimate(PROBES[:10], PRICES)
    assert blind.output_tokens == 10 * 256
    seen = [Graded("x", "d", 1.0, 10, written, None) for written in (50, 150)]
    better = estimate(PROBES[:10], PRICES, seen)
    assert better.output_tokens == 10 * 100
    assert better.cost_usd == pytest.approx((better.input_tokens * 1.0 + 1000 * 10.0) / 1e6)
    assert estimate(PROBES, None).cost_usd is None


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_all_bad_lines_of_a_probe_file_are_reported_together(tmp_path: Path) -> None:
    good = {"prompt": "p", "answer": "a", "verifier": "exact"}
    rows = [
        good,
        "{not json",
        {**good, "verifier": "nmber"},
        "",
        {"prompt": "p"},
        {**good, "answer": 5},
        {**good, "verifier": "regex", "answer": "("},
        "[1]",
    ]
    path = write(tmp_path / "probes.jsonl", rows)
    with pytest.raises(BadProbes) as caught:
        load_probes(path)
    problems = caught.value.problems
    assert [problem.split(": ")[0] for problem in problems] == [f"{path}:{n}" for n in (2, 3, 5, 6, 7, 8)]
    assert "known: exact, number" in problems[1]
    assert "lacks answer, verifier" in problems[2]


def test_extra_keys_and_repetitions_in_a_probe_file_are_ignored(tmp_path: Path) -> None:
    row = {"prompt": "p", "answer": "a", "verifier": "exact"}
    path = write(tmp_path / "probes.jsonl", [row, {**row, "note": "x"}, {**row, "answer": "b"}])
    assert [probe.answer for probe in load_probes(path)] == ["a", "b"]


def test_a_missing_or_empty_probe_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(BadProbes, match="No such file"):
        load_probes(tmp_path / "nowhere.jsonl")
    with pytest.raises(BadProbes, match="holds no probes"):
        load_probes(write(tmp_path / "probes.jsonl", [""]))


# The command


@pytest.fixture
def served(gateway: FakeGateway) -> Iterator[str]:
    """The fake gateway on a real port."""
    server = uvicorn.Server(uvicorn.Config(gateway.app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


def options(tmp_path: Path, gateway: str | None, **more: Any) -> Options:
    rows = [{"prompt": p.prompt, "answer": p.answer, "verifier": p.verifier} for p in PROBES]
    given = {
        "model": "sage",
        "probes": write(tmp_path / "probes.jsonl", rows),
        "tasks": 30,
        "config": tmp_path / "router.yaml",
        "gateway": gateway,
        "concurrency": 4,
        "max_usd": None,
        "key_env": "ROUTER_API_KEY",
        "yes": True,
        "fresh": False,
    }
    return Options(**{**given, **more})


def config(tmp_path: Path) -> None:
    (tmp_path / "router.yaml").write_text(
        "fleet:\n  - {name: sage, target: replay/sage, prices: {input: 1, output: 10}}\n"
    )


def test_the_command_announces_the_cost_profiles_and_tells(
    tmp_path: Path, served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config(tmp_path)
    assert run(options(tmp_path, served)) == 0
    told = capsys.readouterr().out
    assert "20 probes for sage: about 80 tokens in, 5,120 out, about $0.0513" in told
    assert "20 graded in" in told
    assert "mean score 0.700, $0.0202" in told


def test_the_command_resumes_starts_afresh_and_notices_an_emptied_store(
    tmp_path: Path, served: str, gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    config(tmp_path)
    run(options(tmp_path, served))
    run(options(tmp_path, served))
    assert len(gateway.asked) == 20
    assert "20 probes were graded before" in capsys.readouterr().out
    run(options(tmp_path, served, fresh=True))
    assert len(gateway.asked) == 40
    gateway.rows = 0
    run(options(tmp_path, served))
    assert len(gateway.asked) == 60


def test_the_command_says_how_far_the_cap_let_it_come(
    tmp_path: Path, served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config(tmp_path)
    assert run(options(tmp_path, served, max_usd=0.0085, concurrency=1)) == 0
    assert "the cap of $0.0085 was reached with 12 probes left" in capsys.readouterr().out


def test_without_yes_and_without_a_terminal_nothing_is_spent(
    tmp_path: Path, served: str, gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    config(tmp_path)
    assert run(options(tmp_path, served, yes=False)) == 2
    assert not gateway.asked
    assert "--yes" in capsys.readouterr().err


def test_what_cannot_begin_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config(tmp_path)
    bad = write(tmp_path / "bad.jsonl", ["{", "["])
    assert run(options(tmp_path, "", probes=bad)) == 2
    assert f"{bad}:1: is not JSON" in capsys.readouterr().err
    assert run(options(tmp_path, None, model="abacus")) == 2
    assert "has no model 'abacus'; it has sage" in capsys.readouterr().err
    assert run(options(tmp_path, "http://elsewhere", model="abacus", max_usd=1.0)) == 2
    assert "--max-usd needs the prices" in capsys.readouterr().err


def test_without_a_probe_file_the_built_in_tasks_are_sent(
    tmp_path: Path, served: str, gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    config(tmp_path)
    assert run(options(tmp_path, served, probes=None)) == 1  # the fake knows sums only
    assert "30 probes for sage" in capsys.readouterr().out
    assert gateway.asked
    assert {body["messages"][0]["content"] for body in gateway.asked} <= {
        task.prompt for task in generate(30, 0, "profile")
    }


def test_a_refused_run_ends_with_what_the_gateway_said(
    tmp_path: Path, served: str, gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    config(tmp_path)
    gateway.failing = {"chat": [401] * 99}
    assert run(options(tmp_path, served)) == 1
    assert "stopped: /v1/chat/completions answered 401: not now" in capsys.readouterr().err
