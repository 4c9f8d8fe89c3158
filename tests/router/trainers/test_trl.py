"""The adapter in TRL's real trainer, a nano model as policy; skipped where TRL is not installed."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

pytest.importorskip("trl", reason="needs the extra: pip install 'v0-router[trl]'")

import numpy as np
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import GRPOConfig

import fleet.nano
from fleet.tasks import generate
from router.client import AsyncClient
from router.schedule import fusion
from router.schedule.budget import greedy
from router.trainers.trl import ScheduledGRPOTrainer, fused, text_of
from router.verifiers import grade

ROOT = Path(__file__).parents[3]
MODEL = f"{fleet.nano.__path__[0]}/models/nano-s"


def foretold(prompts):
    return [0.5 + 0.4 * (len(prompt) % 2) for prompt in prompts]


class Known:
    """Predicts by the prompt; remembers what it is told."""

    def __init__(self):
        self.asked, self.told = [], []

    def predict(self, prompts):
        self.asked.append(list(prompts))
        return foretold(prompts)

    def report(self, prompts, rates, counts):
        self.told.append((list(prompts), rates, list(counts)))


def given(tmp_path):
    """A policy, its tasks as TRL takes them, and what grades them."""
    answers = {task.prompt: task for task in generate(24, 0, "train", ["units"])}

    def right(prompts, completions, **_):
        pairs = zip(prompts, completions, strict=True)
        graded = [(answers[text_of(prompt)], said[0]["content"]) for prompt, said in pairs]
        return [grade(task.verifier, said, task.answer) for task, said in graded]

    return {
        "model": AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32),
        "reward_funcs": right,
        "args": GRPOConfig(
            output_dir=str(tmp_path),
            per_device_train_batch_size=16,
            num_generations=4,
            max_completion_length=8,
            max_steps=3,
            learning_rate=1e-3,
            use_cpu=True,
            bf16=False,
            report_to=[],
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        ),
        "train_dataset": Dataset.from_list([{"prompt": [{"role": "user", "content": t}]} for t in answers]),
    }


def test_a_batch_is_shared_out_by_the_budget_and_learnt_from_with_the_fused_baseline(tmp_path, monkeypatch):
    values = Known()
    trainer = ScheduledGRPOTrainer(**given(tmp_path), values=values, high=8)
    batches = []
    inner = ScheduledGRPOTrainer._generate_and_score_completions

    def noting(self, inputs):
        output = inner(self, inputs)
        batches.append((len(inputs), self._earned.numpy().copy(), output["advantages"].numpy().copy()))
        return output

    monkeypatch.setattr(ScheduledGRPOTrainer, "_generate_and_score_completions", noting)
    before = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()

    assert len(batches) == len(values.asked) == len(values.told) == 3
    for (rows, earned, found), asked, (told, rates, rollouts) in zip(
        batches, values.asked, values.told, strict=True
    ):
        assert told == asked
        assert len(set(asked)) == 4
        priors = np.array(foretold(asked))
        counts = greedy(priors, rows, low=2, high=8)
        assert len(earned) == counts.sum() == 16
        assert rollouts == counts.tolist()
        groups = np.split(earned.astype(float), np.cumsum(counts)[:-1])
        assert rates == pytest.approx([one.mean() for one in groups])
        rule = fusion.Shrinkage(rewards=fusion.BINARY)
        baselines = [float(rule.baseline(g.mean(), p, len(g))) for g, p in zip(groups, priors, strict=True)]
        wanted = [fusion.advantages(g, b, fusion.BINARY) for g, b in zip(groups, baselines, strict=True)]
        assert found == pytest.approx(np.concatenate(wanted), abs=1e-5)
    assert any(len(set(greedy(np.array(foretold(asked)), 16, high=8))) > 1 for asked in values.asked)
    weights = dict(trainer.model.named_parameters())
    assert any(not torch.equal(weights[name], old) for name, old in before.items())


async def test_the_documented_trainer_trains_beside_a_gateway(serve, tmp_path):
    page = (ROOT / "docs" / "scheduler.md").read_text()
    (example,) = re.findall(r"```python\n(from trl import .*?)```", page, re.DOTALL)
    theirs, small = given(tmp_path), "args=GRPOConfig(num_generations=8, generation_batch_size=256)"
    assert small in example
    scope = {"model": theirs["model"], "solved": theirs["reward_funcs"], "dataset": theirs["train_dataset"]}
    scope["args"] = theirs["args"]
    async with serve() as (url, _):
        code = example.replace(small, "args=args").replace("http://127.0.0.1:8000", url)
        await asyncio.to_thread(exec, code, scope)
        async with AsyncClient(url) as gateway:
            (policy,) = await gateway.policies()
    assert scope["trainer"].state.global_step == 3
    assert (policy.id, policy.size) == ("run-1", 12)  # four prompts a batch


def test_a_reward_outside_the_range_is_named():
    with pytest.raises(ValueError, match=r"earned 2\.0, not from 0\.0 to 1\.0"):
        fused([np.array([0.0, 2.0])], np.array([0.5]), fusion.Shrinkage(rewards=fusion.BINARY))


def test_the_last_user_turn_is_what_is_valued():
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    assert text_of(turns) == "c"
    assert text_of("plain") == "plain"
    with pytest.raises(ValueError, match="last user turn"):
        text_of(turns[1:2])
