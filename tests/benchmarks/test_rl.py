"""The reinforcement learning bench: its sampler, its gradient, what each method asks for, and runs that go on."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.rl import command as rl_command
from benchmarks.rl import methods, policy
from benchmarks.rl.command import Bench, RlError, file_of, load
from benchmarks.rl.methods import METHODS, Budget, DynamicSampling, Fused, Grpo, PreviousEpoch, V0Values
from benchmarks.rl.report import compare, needed, table, write
from benchmarks.rl.run import Measured, Policy, Run, Setting, Step, tasks
from fleet.nano.engine import load_fleet
from router.schedule import fusion
from router.schedule.budget import greedy
from router.schedule.rounds import start

SMALL = Setting(pool=24, held_out=8, rollouts=64, per_step=32, measure_every=32, families=("units",))


@pytest.fixture(scope="module")
def model():
    return load_fleet(files("fleet.nano") / "models" / "nano-s")["nano-s"]


@pytest.fixture(scope="module")
def replies(model):
    prompts = [
        model.chat.encode([("user", text)]) for text in ("How many cm are 3 m?", "Sort: b a", "2 + 2?")
    ]
    return policy.sample(model, prompts, [5, 0, 9], 12, torch.Generator().manual_seed(1)), prompts


def whole(model, replies, prompts, i):
    """The log-probability of one reply from one pass over prompt and reply."""
    prompt, said = prompts[int(replies.of[i])], replies.tokens[i, : replies.lengths[i]]
    ids = torch.cat((torch.tensor(prompt), said))[None]
    shares = torch.log_softmax(model.network.logits(model.network(ids)), -1)[0]
    return shares[len(prompt) - 1 : -1].gather(1, said[:, None]).sum()


def test_prompts_get_as_many_replies_as_were_asked(model, replies):
    drawn, _ = replies
    assert Counter(drawn.of.tolist()) == {0: 5, 2: 9}
    assert len(drawn.texts(model)) == 14
    for words, length in zip(drawn.tokens, drawn.lengths.tolist(), strict=True):
        ended = (words == model.chat.end).nonzero()
        assert length == (int(ended[0]) + 1 if len(ended) else 12)


def test_replies_are_drawn_from_the_model(model):
    prompt = model.chat.encode([("user", "How many cm are 3 m?")])
    drawn = policy.sample(model, [prompt], [4000], 1, torch.Generator().manual_seed(0))
    shares = torch.softmax(model.network.logits(model.network(torch.tensor([prompt])))[0, -1], -1)
    found = torch.bincount(drawn.tokens[:, 0], minlength=len(shares)) / 4000
    assert float((found - shares).abs().max()) < 0.03


def test_probabilities_are_those_of_whole_sequences(model, replies):
    drawn, prompts = replies
    found = policy.log_probabilities(model.network, drawn)
    for i in range(len(drawn.of)):
        assert float(found[i]) == pytest.approx(float(whole(model, drawn, prompts, i)), abs=1e-3)


def test_the_gradient_is_the_policy_gradient_though_equal_replies_are_read_once(model, replies):
    drawn, prompts = replies
    advantages = np.random.default_rng(0).normal(size=14)
    advantages[3] = 0.0
    model.network.requires_grad_(True)
    norm = policy.gradient(model.network, drawn, advantages, rows=4)
    found = {name: weight.grad.clone() for name, weight in model.network.named_parameters()}
    model.network.zero_grad()
    loss = -sum(float(a) * whole(model, drawn, prompts, i) for i, a in enumerate(advantages)) / 14
    loss.backward()
    for name, weight in model.network.named_parameters():
        assert torch.allclose(found[name], weight.grad, atol=1e-4), name
    assert norm == pytest.approx(float(torch.cat([g.flatten() for g in found.values()]).norm()), rel=1e-4)
    model.network.zero_grad()
    model.network.requires_grad_(False)


class Pool:
    """Prompts in order; a prompt's success rate is its number over 100."""

    def __init__(self):
        self.asked, self.draw, self.at = [], np.random.default_rng(0), 0

    def fresh(self, count):
        self.at += count
        return np.arange(self.at - count, self.at) % 100

    def roll_out(self, prompts, counts):
        self.asked.append(dict(zip(prompts.tolist(), np.asarray(counts).tolist(), strict=True)))
        return [2.0 * (self.draw.random(n) < i / 100) - 1 for i, n in zip(prompts, counts, strict=True)]


class Right:
    """Predicts what is so."""

    def __init__(self):
        self.told = {}

    def predict(self, prompts):
        return prompts / 100

    def report(self, prompts, rates, counts):
        self.told |= dict(
            zip(prompts.tolist(), zip(rates.tolist(), counts.tolist(), strict=True), strict=True)
        )


def test_grpo_gives_every_prompt_a_group():
    pool = Pool()
    learned = Grpo(4).step(pool, 64)
    assert pool.asked == [dict.fromkeys(range(16), 4)]
    for rewards, found in zip(learned.rewards, learned.advantages, strict=True):
        wanted = np.zeros(4) if rewards.std() == 0 else (rewards - rewards.mean()) / rewards.std(ddof=1)
        assert found == pytest.approx(wanted, abs=1e-3)


def test_dynamic_sampling_learns_from_mixed_groups_alone_and_pays_for_all():
    pool = Pool()
    learned = DynamicSampling(group=4).step(pool, 64)
    assert len(pool.asked) > 1
    assert len(learned.prompts) <= 16
    assert all(one.min() < one.max() for one in learned.rewards)


def test_a_budget_is_v0s_on_the_predictions_and_outcomes_are_reported():
    pool, values = Pool(), Right()
    learned = Budget(values).step(pool, 256)
    [asked] = pool.asked
    assert list(asked.values()) == greedy(np.arange(64) / 100, 256, high=methods.BUDGET_HIGH).tolist()
    assert values.told == {
        int(p): ((1 + r.mean()) / 2, len(r)) for p, r in zip(learned.prompts, learned.rewards, strict=True)
    }


def test_fused_rounds_are_the_librarys_and_the_number_of_prompts_follows_their_cost():
    pool, values = Pool(), Right()
    method = Fused(values, fusion.Shrinkage())
    learned = method.step(pool, 256)
    assert len(learned.prompts) == 32
    first = pool.asked[0]
    assert set(first.values()) == {4}
    state = start(learned.prompts / 100)
    given = [0] * 32
    for asked in pool.asked:
        assert state.allocation.tolist() == list(asked.values())
        earned = [r[g : g + n] for r, g, n in zip(learned.rewards, given, asked.values(), strict=True)]
        given = [g + n for g, n in zip(given, asked.values(), strict=True)]
        state = state.report(earned)
    assert state.done
    assert learned.baselines == pytest.approx(state.baselines)
    assert np.concatenate(learned.advantages) == pytest.approx(np.concatenate(state.advantages()))
    assert method.taken == pytest.approx(0.8 * 8 + 0.2 * np.mean(given))


def test_uniform_fused_rounds_make_four_rollouts_each_and_no_more():
    pool, values = Pool(), Right()
    method = Fused(values, fusion.Shrinkage(), methods.UNIFORM)
    for _ in range(2):
        learned = method.step(pool, 256)
        assert len(learned.prompts) == 64
    assert [set(asked.values()) for asked in pool.asked] == [{4}, {4}]
    means, priors = np.array([r.mean() for r in learned.rewards]), 2 * (learned.prompts / 100) - 1
    assert learned.baselines == pytest.approx(fusion.Shrinkage().baseline(means, priors, 4))


def test_the_previous_epoch_knows_what_it_saw():
    values = PreviousEpoch(4)
    assert values.predict(np.arange(4)).tolist() == [0.5] * 4
    values.report(np.array([1, 2]), np.array([0.2, 0.6]), np.array([4, 4]))
    assert values.predict(np.array([0, 1, 2])) == pytest.approx([0.4, 0.2, 0.6])


def test_v0_reads_the_newest_512_outcomes():
    class Told:
        def fit_context(self, rows, labels):
            self.rows, self.labels = rows[:, 0].tolist(), labels.tolist()
            return self

        def value(self, rows, contexts):
            return np.full((len(rows), 1), 0.25)

    told = Told()
    values = V0Values(told, np.arange(600, dtype=np.float32)[:, None])
    assert values.predict(np.arange(3)).tolist() == [0.25] * 3
    assert told.rows == []
    values.report(np.arange(600), np.linspace(0, 1, 600), np.full(600, 4))
    values.predict(np.arange(3))
    assert told.rows == list(range(88, 600))


def test_a_stream_of_prompts_goes_through_the_pool_and_repeats_none_in_a_step(model):
    pool = tasks(SMALL, SMALL.pool, 1, "train")
    assert len(pool) == 24
    assert {task.difficulty for task in pool} == {1, 2, 3}
    learner = Policy(model, SMALL, pool, 0)
    seen = [learner.fresh(7).tolist() for _ in range(24)]
    assert all(len(set(some)) == 7 for some in seen)
    assert set(Counter(i for some in seen for i in some).values()) == {7}


def test_runs_go_on_where_they_stopped_and_are_the_same_again(tmp_path, monkeypatch):
    said = []
    names = ("grpo-4", "budget-previous")
    Bench(tmp_path / "a", SMALL, None, said.append).run(names, [0, 1])
    runs = [load(file_of(tmp_path / "a", name, seed)) for name in names for seed in (0, 1)]
    assert len(said) == 8
    for one in runs:
        assert [each.rollouts for each in one.measured] == [0, 32, 64]
        assert one.steps[-1].rollouts == 64
    file_of(tmp_path / "a", "grpo-4", 1).unlink()
    said.clear()
    Bench(tmp_path / "a", SMALL, None, said.append).run(names, [0, 1])
    assert len(said) == 2
    again = load(file_of(tmp_path / "a", "grpo-4", 1))
    assert again.measured == runs[1].measured
    assert [one.gradient for one in again.steps] == pytest.approx(
        [one.gradient for one in runs[1].steps], rel=1e-3
    )
    with pytest.raises(RlError, match="another setting"):
        Bench(tmp_path / "a", replace(SMALL, learning_rate=1.0), None, said.append)
    with pytest.raises(RlError, match="no nano model is called 'nano-nobody'"):
        Bench(tmp_path / "b", replace(SMALL, model="nano-nobody"), None, said.append)
    assert set(METHODS) > set(names)
    assert rl_command.SETTING in {path.name for path in (tmp_path / "a").iterdir()}


def test_what_others_are_compared_with_cannot_be_left_out(tmp_path):
    found = CliRunner().invoke(app, ["rl", "--out", str(tmp_path / "runs"), "--methods", "grpo-4"])
    assert found.exit_code == 2
    assert "grpo-16 is what the others" in found.output
    assert not (tmp_path / "runs").exists()


def curve(method, seed, slope, noise=0.0):
    draw = np.random.default_rng(seed)
    at = range(0, 10_001, 500)
    measured = [Measured(n, 0.2 + slope * n / 10_000 + noise * draw.normal(), 0.1, None) for n in at]
    return Run(method, seed, [Step(n, 8, 1.0, 0.5) for n in at if n], measured, 1.0)


def test_a_method_that_learns_twice_as_fast_needs_half_the_rollouts(tmp_path):
    runs = [curve("grpo-16", seed, 0.1, 0.002) for seed in range(5)]
    runs += [curve("v0.5", seed, 0.2, 0.002) for seed in range(5)]
    runs += [curve("grpo-4", seed, 0.05, 0.002) for seed in range(5)]
    lines = {line.method: line for line in compare(runs)}
    assert lines["v0.5"].needed.value == pytest.approx(0.5, abs=0.05)
    assert lines["v0.5"].needed.high < 0.7
    assert lines["v0.5"].gain.low > 0.03
    assert lines["grpo-4"].reached == 0
    assert np.isinf(lines["grpo-4"].needed.value)
    assert lines["grpo-16"].gain.value == 0
    text = write(runs, tmp_path / "figures", tmp_path)
    assert text == table(compare(runs))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"rl.png", "rl.svg"}
    assert len(json.loads((tmp_path / "summary.json").read_text())) == 3


def test_where_a_curve_first_is_at_the_target():
    at = np.array([0.0, 10.0, 20.0])
    assert needed(np.array([0.0, 0.5, 1.0]), 0.75, at) == 0.75
    assert needed(np.array([0.8, 0.5, 1.0]), 0.75, at) == 0
    assert np.isinf(needed(np.array([0.0, 0.5, 0.6]), 0.75, at))
