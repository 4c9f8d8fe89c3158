"""Collecting asks every model everything once, keeps what it has, and never spends more than it may."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest

from benchmarks.collect import Plan, Purse, collect
from benchmarks.collect_command import Options, fixed, run
from benchmarks.collect_folder import facts, write
from benchmarks.collect_journal import NAME, Call, Journal
from benchmarks.collect_questions import Question, Source
from benchmarks.outcomes import read
from benchmarks.settings import SettingsError
from fleet.errors import UpstreamError
from fleet.fleet import Fleet
from fleet.model import Model, Prices, Timeouts
from fleet.upstream import Reply
from router.value.corpus import read_source
from tests.fleet.serving import Provider, serve

PRICES = Prices(input=100, output=1000)  # USD per million: a call of 10 and 9 tokens costs 0.01
SOURCE = Source("sums.jsonl")


def question(n: int, **more: Any) -> Question:
    text = f"What is {n} + 1?"
    messages = [{"role": "user", "content": text}]
    return Question(**{"id": f"q{n}", "dataset": "sums", "messages": messages, "text": text,
                       "answer": str(n + 1), "verifier": "number", **more})  # fmt: skip


def model(name: str, prices: Prices = PRICES) -> Model:
    return Model(name, f"openai/{name}", prices, api_base="http://localhost:1/v1")


class Fake:
    """An upstream that adds one. `say` changes a reply, `fail` is raised in front of one; both by call number."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.say: Callable[[str, int], str | None] = lambda name, n: None
        self.fail: Callable[[str, int], UpstreamError | None] = lambda name, n: None
        self.usage: dict[str, int] | None = {"prompt_tokens": 10, "completion_tokens": 9}
        self.pause = 0.0
        self.in_flight: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def chat(self, model: Model, body: Any) -> Reply:
        number = len(self.bodies[model.name])
        self.bodies[model.name].append(body)
        self.in_flight[model.name] += 1
        self.most[model.name] = max(self.most[model.name], self.in_flight[model.name])
        try:
            await asyncio.sleep(self.pause)
        finally:
            self.in_flight[model.name] -= 1
        failure = self.fail(model.name, number)
        if failure:
            raise failure
        said = self.say(model.name, number)
        if said is None:
            said = str(int(body["messages"][-1]["content"].split()[2]) + 1)
        if said.startswith("{"):
            return Reply(200, {}, _bytes(said.encode()))
        choices = [
            {"index": n, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for n, text in enumerate(said.split(";")[: body.get("n", 1)])
        ]
        return Reply(200, {}, _bytes(orjson.dumps({"choices": choices, "usage": self.usage})))

    async def aclose(self) -> None:
        pass


async def _bytes(body: bytes) -> AsyncIterator[bytes]:
    yield body


def refusal(status: int, code: str = "", **headers: str) -> UpstreamError:
    return UpstreamError(
        "m", "status", status, headers, orjson.dumps({"error": {"code": code, "message": "?"}})
    )


class Bench:
    """A folder and a fake fleet to fill it from."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.upstream = Fake()
        self.models = [model("a"), model("b")]
        self.questions = [question(n) for n in range(6)]
        self.stopped: dict[str, str] = {}

    def plan(self, **changes: Any) -> Plan:
        return replace(Plan(self.questions, self.models, concurrency=3), **changes)

    def open(self, plan: Plan) -> Journal:
        return Journal.open(self.out, fixed(SOURCE, plan), {m.name: facts(m) for m in plan.models}, "now")

    def run(self, halt: asyncio.Event | None = None, **changes: Any) -> pd.DataFrame:
        """Collect and write; the outcomes as they are on disk."""
        plan = self.plan(**changes)
        fleet = Fleet(plan.models, {"openai_compatible": self.upstream})
        journal = self.open(plan)
        try:
            self.stopped = asyncio.run(collect(plan, fleet, journal, halt=halt, pause_s=0.001))
            write(
                self.out, plan.questions, plan.models, plan.samples, journal, self.stopped, {"tasks": "sums"}
            )
        finally:
            journal.close()
        return pd.read_parquet(self.out / "outcomes.parquet")

    @property
    def calls(self) -> int:
        return sum(map(len, self.upstream.bodies.values()))

    @property
    def readme(self) -> str:
        return (self.out / "README.md").read_text()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "out")


def test_every_model_is_asked_everything_and_graded(bench: Bench) -> None:
    bench.upstream.say = lambda name, n: "no idea" if name == "b" and n % 2 else None
    outcomes = bench.run()
    assert len(outcomes) == 12
    assert outcomes.groupby("model")["score"].mean().to_dict() == {"a": 1.0, "b": 0.5}
    assert set(outcomes["cost_usd"]) == {0.01}
    assert set(outcomes["output_tokens"]) == {9}
    matrix = read(bench.out)
    assert matrix.cost_kind == "recorded"
    assert [m.input_price for m in matrix.models] == [100, 100]
    assert read_source(bench.out).scores.shape == (6, 2)
    assert "Nothing: every pair is there." in bench.readme


def test_a_score_is_the_mean_over_the_samples(bench: Bench) -> None:
    bench.upstream.say = lambda name, n: (
        "7" if name == "a" and n % 5 < 2 else None
    )  # one lane: five calls a prompt
    outcomes = bench.run(samples=5, concurrency=1, temperature=0.8, sampling_seed=40, max_tokens=20)
    assert outcomes.groupby("model")["score"].first().to_dict() == {"a": pytest.approx(0.6), "b": 1.0}
    sent = bench.upstream.bodies["a"][:5]
    assert [body["seed"] for body in sent] == [40, 41, 42, 43, 44]
    assert {(body["temperature"], body["max_tokens"]) for body in sent} == {(0.8, 20)}
    assert "temperature" not in Plan([], []).body(bench.questions[0])


def test_one_call_may_ask_for_several_samples(bench: Bench) -> None:
    bench.questions = bench.questions[:1]
    bench.upstream.say = lambda name, n: "1;7;1;1"
    outcomes = bench.run(samples=6, concurrency=1, sampling_seed=40, per_call=4)
    sent = bench.upstream.bodies["a"]
    assert [(body.get("n"), body["seed"]) for body in sent] == [(4, 40), (2, 44)]
    assert outcomes["score"].tolist() == [pytest.approx(4 / 6)] * 2
    rows = [json.loads(line) for line in (bench.out / NAME).read_text().splitlines()[1:]]
    of_a = sorted(
        (row["sample"], row["output_tokens"], row["input_tokens"]) for row in rows if row["model"] == "a"
    )
    assert [sample for sample, _, _ in of_a] == list(range(6))
    assert sum(tokens for _, tokens, _ in of_a) == 9 + 9, "what a call wrote is told for all of its choices"
    assert {read for _, _, read in of_a} == {10}
    assert outcomes["cost_usd"].tolist() == [pytest.approx((6 * 10 * 100 + 18 * 1000) / 1e6 / 6)] * 2


def test_a_model_that_knows_one_choice_alone_says_so_and_can_go_on_without(bench: Bench) -> None:
    bench.run(samples=2, per_call=2)
    assert "answered 1 of 2 choices: --samples-per-call 1" in bench.readme
    assert len(bench.run(samples=2)) == 12
    assert bench.calls == 24


def test_no_model_has_more_calls_at_once_than_it_may(bench: Bench) -> None:
    bench.upstream.pause = 0.002
    bench.run(samples=3, concurrency=4)
    assert bench.upstream.most == {"a": 4, "b": 4}


def test_the_cap_holds_and_a_higher_one_goes_on(bench: Bench) -> None:
    bench.upstream.pause = 0.001
    outcomes = bench.run(cap_usd=0.055, concurrency=8, max_tokens=9)
    assert bench.calls == len(outcomes) == 5, "five calls of 0.01 fit, with as many in flight as there may be"
    assert set(bench.stopped.values()) == {"the spending cap was reached"}
    assert "the spending cap was reached" in bench.readme
    assert read(bench.out).scores.shape[0] <= 6
    again = bench.run(cap_usd=0.055, max_tokens=9)
    assert bench.calls == 5, "what earlier runs spent counts"
    assert len(again) == 5
    assert len(bench.run(cap_usd=0.2, max_tokens=9)) == 12
    assert bench.calls == 12


def test_calls_of_unknown_cost_are_charged_as_expected_and_recorded_as_unknown(bench: Bench) -> None:
    bench.upstream.usage = None
    outcomes = bench.run(cap_usd=0.055, max_tokens=9)
    assert 0 < bench.calls <= 6
    assert outcomes["cost_usd"].isna().all()
    assert outcomes["output_tokens"].isna().all()


async def test_a_purse_waits_for_calls_in_flight_before_it_gives_up() -> None:
    purse = Purse(1.0)
    assert await purse.reserve(0.8)
    waiting = asyncio.create_task(purse.reserve(0.5))
    await asyncio.sleep(0)
    assert not waiting.done()
    await purse.settle(0.8, 0.2)
    assert await waiting
    await purse.settle(0.5, 0.5)
    assert not await purse.reserve(0.4)
    assert purse.empty


def test_what_may_pass_is_asked_again(bench: Bench) -> None:
    errors = {0: refusal(503), 1: refusal(429, **{"retry-after": "0"}), 2: UpstreamError("a", "timeout")}
    bench.upstream.fail = lambda name, n: errors.get(n) if name == "a" else None
    outcomes = bench.run(concurrency=1)
    assert len(outcomes) == 12
    assert len(bench.upstream.bodies["a"]) == 9


def test_failures_are_left_out_with_their_reason_and_asked_again_by_the_next_run(bench: Bench) -> None:
    broken = True

    def fail(name: str, n: int) -> UpstreamError | None:
        asked = bench.upstream.bodies[name][n]["messages"][0]["content"]
        return refusal(500, "overloaded") if broken and name == "b" and " 3 " in asked else None

    bench.upstream.fail = fail
    outcomes = bench.run(concurrency=1)
    assert set(outcomes[outcomes["prompt_id"] == "q3"]["model"]) == {"a"}, "never scored 0"
    assert "| b | 1 | m answered 500 (overloaded) |" in bench.readme
    broken = False
    assert len(bench.run(concurrency=1)) == 12
    assert "Nothing: every pair is there." in bench.readme


def test_a_model_that_only_fails_is_given_up_and_the_others_go_on(bench: Bench) -> None:
    bench.questions = [question(n) for n in range(40)]
    bench.upstream.fail = lambda name, n: refusal(500) if name == "b" else None
    outcomes = bench.run(concurrency=2)
    assert set(outcomes["model"]) == {"a"}
    assert len(outcomes) == 40
    assert bench.stopped["b"].startswith("10 prompts in a row failed; the last: m answered 500")


def test_a_prompt_that_is_refused_is_not_asked_again_for_its_other_samples(bench: Bench) -> None:
    bench.upstream.fail = lambda name, n: (
        refusal(400, "context_length_exceeded") if name == "b" and not n else None
    )
    outcomes = bench.run(samples=3, concurrency=1)
    assert len(bench.upstream.bodies["b"]) == 1 + 5 * 3
    assert Counter(outcomes["model"]) == {"a": 6, "b": 5}
    assert "(context_length_exceeded)" in bench.readme


def test_what_a_model_cannot_do_is_never_sent(bench: Bench) -> None:
    picture = [
        {"role": "user", "content": [{"type": "text", "text": "What is 9 + 1?"}, {"type": "image_url"}]}
    ]
    bench.questions.append(question(9, messages=picture))
    bench.models[1] = replace(bench.models[1], context_window=3)
    bench.run()
    assert len(bench.upstream.bodies["a"]) == 6
    assert "| a | 1 | lacks vision |" in bench.readme
    assert "context window of 3 tokens is too small" in bench.readme


def test_an_empty_reply_is_graded_and_counted_and_what_is_no_completion_is_asked_again(bench: Bench) -> None:
    odd = {("a", 0): "", ("b", 0): '{"error": {"message": "out of memory"}}', ("b", 1): '{"choices": []}'}
    bench.upstream.say = lambda name, n: odd.get((name, n))
    outcomes = bench.run(concurrency=1)
    assert outcomes[outcomes["model"] == "b"]["score"].tolist() == [1] * 6
    assert len(bench.upstream.bodies["b"]) == 8
    assert outcomes[outcomes["model"] == "a"]["score"].tolist() == [0, 1, 1, 1, 1, 1]
    assert "| a | openai/a | 100, 1000 | 6 | 0.833 | 0.01 | 9.0 | 1 | 0 |" in bench.readme


def test_nothing_is_asked_twice_and_a_line_that_was_cut_counts_for_nothing(bench: Bench) -> None:
    bench.run()
    before = bench.calls
    assert len(bench.run()) == 12
    assert bench.calls == before
    journal = bench.out / NAME
    journal.write_bytes(journal.read_bytes()[:-20])
    assert len(bench.run()) == 12
    assert bench.calls == before + 1
    assert len(bench.run()) == 12, "the half line did not spoil what was added after it"
    assert bench.calls == before + 1


def test_a_changed_setting_is_refused_and_says_what_changed(bench: Bench) -> None:
    bench.run(temperature=0.8)
    with pytest.raises(SettingsError, match=r"temperature was 0\.8, is 1\.0.*another --out"):
        bench.run(temperature=1.0)
    with pytest.raises(SettingsError, match="samples was 1, is 2"):
        bench.run(temperature=0.8, samples=2)
    bench.questions = bench.questions[:-1]
    with pytest.raises(SettingsError, match=r"tasks was .*6 prompts.*5 prompts"):
        bench.run(temperature=0.8)


def test_a_changed_price_is_refused_and_a_new_model_joins(bench: Bench) -> None:
    bench.run()
    dearer = [replace(bench.models[0], prices=Prices(1, 2)), bench.models[1]]
    with pytest.raises(SettingsError, match=r"a has changed.*price_in_per_mtok was 100, is 1"):
        bench.run(models=dearer)
    outcomes = bench.run(models=[bench.models[1], model("c")])
    assert Counter(outcomes["model"]) == {"a": 6, "b": 6, "c": 6}
    assert [m["model"] for m in json.loads((bench.out / "models.json").read_text())] == ["a", "b", "c"]
    assert len(bench.run()) == 18


def test_two_runs_cannot_write_to_one_folder(bench: Bench) -> None:
    journal = bench.open(bench.plan())
    with pytest.raises(SettingsError, match="another run is writing"):
        bench.open(bench.plan())
    journal.close()
    bench.open(bench.plan()).close()


def test_halting_waits_for_calls_in_flight_and_keeps_them(bench: Bench) -> None:
    halt = asyncio.Event()
    bench.upstream.pause = 0.01
    bench.upstream.say = lambda name, n: halt.set()  # type: ignore[func-returns-value]
    outcomes = bench.run(halt=halt)
    assert len(outcomes) == bench.calls == 6
    assert "not asked yet" in bench.readme


def test_a_journal_gives_back_what_was_added(tmp_path: Path) -> None:
    call = Call("q – 1", "a", 0, 0.5, 3, None, 1e-9, "length", True)
    journal = Journal.open(tmp_path, {}, {"a": {}}, "now")
    journal.add(call)
    journal.close()
    journal = Journal.open(tmp_path, {}, {"a": {}}, "later")
    assert journal.calls == {call.key: call}
    assert (journal.started, journal.spent) == ("now", 1e-9)
    journal.close()


async def ask_providers(
    provider: Provider, models: list[Model], out: Path
) -> tuple[str, dict[str, str], Any]:
    """The address of the provider, why models stopped, and what was written."""
    async with serve(provider) as address:
        models = [replace(each, api_base=f"{address}/v1", api_key_env="SOME_KEY") for each in models]
        plan = Plan([question(n) for n in range(4)], models, concurrency=1)
        journal = Journal.open(out, fixed(SOURCE, plan), {m.name: facts(m) for m in models}, "now")
        fleet = Fleet.open(models, Timeouts())
        stopped = await collect(plan, fleet, journal)
        await fleet.aclose()
        journal.close()
        return address, stopped, write(out, plan.questions, models, 1, journal, stopped, {})


def test_real_providers_that_refuse_are_left_out_and_keys_stay_out_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret-123")
    provider, models = Provider(), [model(name) for name in ("fine", "missing", "verbose")]
    address, stopped, summaries = asyncio.run(ask_providers(provider, models, tmp_path))
    assert stopped == {
        "missing": "missing answered 404 (model_not_found)",
        "verbose": "verbose answered 401",
    }
    assert (summaries["fine"].pairs, summaries["fine"].accuracy) == (4, 0.0), "Forty-two is wrong four times"
    assert summaries["missing"].left_out == {"missing answered 404 (model_not_found)": 4}
    assert len(provider.bodies) == 6, "who is not let in does not knock again"
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    for secret in ("sk-secret", "SOME_KEY", address):
        assert secret.encode() not in written


ROUTER_YAML = """\
fleet:
  - {name: scholar, target: replay/scholar}
  - {name: sage, target: replay/sage}
"""


def command(out: Path, config: Path, tasks: int = 60) -> list[str]:
    started = "from benchmarks.cli import app; app()"
    asked = ["collect", "--fleet", str(config), "--tasks", f"procedural:{tasks}", "--out", str(out)]
    return [
        sys.executable,
        "-c",
        started,
        *asked,
        "--samples",
        "2",
        "--temperature",
        "1",
        "--concurrency",
        "1",
    ]


def interrupt(out: Path, config: Path, number: signal.Signals) -> int:
    """Start a collection, send it a signal once it has got somewhere, and wait for its end."""
    journal = out / NAME
    begun = len(journal.read_bytes().splitlines()) if journal.exists() else 0
    with subprocess.Popen(
        command(out, config), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as running:
        deadline = time.monotonic() + 60
        while not journal.exists() or len(journal.read_bytes().splitlines()) < begun + 12:
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.01)
        running.send_signal(number)
    return running.returncode


def test_a_run_that_is_interrupted_or_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    config, out = tmp_path / "router.yaml", tmp_path / "out"
    config.write_text(ROUTER_YAML)
    assert interrupt(out, config, signal.SIGINT) == 130
    assert 0 < read_source(out).scores.shape[0] <= 60, "what was finished is written"
    kept = set((out / NAME).read_text().splitlines())
    assert interrupt(out, config, signal.SIGKILL) == -signal.SIGKILL
    lines = (out / NAME).read_text().splitlines()
    assert kept < set(lines)
    assert run(Options(config, Source("procedural:60"), out, samples=2, temperature=1.0)) == 0
    rows = [json.loads(line) for line in (out / NAME).read_text().splitlines() if line.endswith("}")]
    calls = Counter((row["prompt"], row["model"], row["sample"]) for row in rows if "prompt" in row)
    assert len(calls) == 60 * 2 * 2
    assert set(calls.values()) == {1}, "no call was made twice"
    matrix = read(out)
    assert matrix.scores.shape == (60, 2)
    assert "SIMULATED" in (out / "README.md").read_text()


def test_money_is_not_spent_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "router.yaml"
    target = (
        "{name: a, target: hosted_vllm/a, api_base: 'http://localhost:1/v1', prices: {input: 1, output: 1}}"
    )
    config.write_text(f"fleet: [{target}]\n")
    assert run(Options(config, Source("procedural:3"), tmp_path / "out")) == 2
    captured = capsys.readouterr()
    assert "3 prompts x 1 models x 1: 3 calls" in captured.out
    assert "--yes" in captured.err


def test_mistakes_are_said_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "router.yaml"
    config.write_text(ROUTER_YAML)
    for options, said in (
        (Options(tmp_path / "none.yaml", Source("procedural:3"), tmp_path / "out"), "none.yaml"),
        (Options(config, Source("procedural:many"), tmp_path / "out"), "procedural:300"),
        (Options(config, Source("procedural:3", families="sum"), tmp_path / "out"), "did you mean 'sums'"),
        (Options(config, Source("procedural:3", split="dev"), tmp_path / "out"), "no split is called 'dev'"),
        (Options(config, Source("procedural:3"), tmp_path / "out", models="sagge"), "did you mean 'sage'"),
        (Options(config, Source(str(tmp_path / "none.jsonl")), tmp_path / "out"), "none.jsonl: No such file"),
    ):
        assert run(options) == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
