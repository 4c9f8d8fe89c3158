"""One run: a nano model learns by one method under one seed, and what is to be known of it is written down."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from benchmarks.rl.policy import Replies, gradient, padded, sample
from fleet.tasks import DIFFICULTIES, generate
from router.verifiers import grade

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from benchmarks.rl.methods import Learned, Method
    from fleet.nano.engine import NanoModel
    from fleet.tasks import Split, Task

    Floats = NDArray[np.float64]
    Rows = NDArray[np.intp]

ANSWERS = 2  # to each held-out task
PROBES = 16  # further rollouts of a prompt, not learnt from, that tell how far its baseline is off
PROBED = 24  # prompts of a step that are probed


@dataclass(frozen=True)
class Setting:
    """What all runs share. `families` and `hardest` say which tasks; `rollouts` in all, `per_step` of them a step."""

    model: str = "nano-s"
    families: tuple[str, ...] = ("messages", "units")
    hardest: int = 3
    pool: int = 768
    held_out: int = 256
    rollouts: int = 10_240
    per_step: int = 256
    measure_every: int = 1_024  # rollouts
    learning_rate: float = 5e-4
    most_tokens: int = 16


@dataclass(frozen=True)
class Step:
    """One update. Norm of the gradient; mean reward in [0, 1] of its rollouts; `rollouts` so far, all counted."""

    rollouts: int
    prompts: int
    gradient: float
    reward: float


@dataclass(frozen=True)
class Measured:
    """
    The policy after `rollouts`: its mean reward in [0, 1] on held-out tasks.

    The other figures are of the step just made, before its update: mean squared errors of the baselines (rewards ±1)
    and of the predicted success rates (None where nothing was predicted), unbiased by fresh rollouts.
    """

    rollouts: int
    reward: float
    baseline_mse: float | None
    prior_mse: float | None


@dataclass(frozen=True)
class Run:
    """A finished run, with its seconds of CPU."""

    method: str
    seed: int
    steps: list[Step]
    measured: list[Measured]
    cpu_s: float


def tasks(setting: Setting, count: int, seed: int, split: Split) -> list[Task]:
    """`count` tasks of the setting's families, up to its hardest."""
    drawn = generate(
        count * len(DIFFICULTIES) // setting.hardest + len(DIFFICULTIES) * len(setting.families),
        seed,
        split,
        setting.families,
    )
    return [task for task in drawn if task.difficulty <= setting.hardest][:count]


class Policy:
    """The network being trained, its tasks, and how many rollouts it has made."""

    def __init__(self, model: NanoModel, setting: Setting, pool: Sequence[Task], seed: int) -> None:
        network = copy.deepcopy(model.network).requires_grad_(True)
        self.model = type(model)(model.name, network, model.chat, model.pieces)
        self.rollouts = 0
        self._setting, self._pool = setting, pool
        self._prompts = self._encoded(pool)
        self._luck = torch.Generator().manual_seed(seed)
        self._order = np.random.default_rng(seed)
        self._left: list[int] = []
        self._said: dict[int, list[NDArray[np.int64]]] = {}
        self._optimiser = torch.optim.AdamW(network.parameters(), lr=setting.learning_rate, weight_decay=0.0)

    def fresh(self, count: int) -> Rows:
        """As `Gather`."""
        if len(self._left) < count:  # a new epoch, which begins with others than those the old one ends with
            ending = set(self._left)
            coming = self._order.permutation(len(self._pool)).tolist()
            self._left += sorted(coming, key=ending.__contains__)
        taken, self._left = self._left[:count], self._left[count:]
        return np.array(taken, dtype=np.intp)

    def roll_out(self, prompts: Rows, counts: NDArray[np.int64]) -> list[Floats]:
        """As `Gather`; what was said is kept until `learn`."""
        replies, rewards = self._replies([self._pool[i] for i in prompts], counts, self._luck)
        self.rollouts += len(rewards)
        for place, of in enumerate(replies.of.tolist()):
            words = replies.tokens[place, : int(replies.lengths[place])].numpy()
            self._said.setdefault(int(prompts[of]), []).append(words)
        return np.split(2 * rewards - 1, np.cumsum(counts)[:-1])

    def learn(self, learned: Learned) -> float:
        """One update from what a method gathered; the gradient's norm before it."""
        said = [self._said[int(prompt)] for prompt in learned.prompts]
        self._said = {}
        norm = gradient(
            self.model.network, self._joined(learned.prompts, said), np.concatenate(learned.advantages)
        )
        self._optimiser.step()
        return norm

    def reward(self, held_out: Sequence[Task]) -> float:
        """Mean reward in [0, 1], a few replies to each task, the same luck every time."""
        counts = np.full(len(held_out), ANSWERS)
        _, rewards = self._replies(held_out, counts, torch.Generator().manual_seed(0))
        return float(rewards.mean())

    def probe(self, prompts: Rows) -> tuple[Floats, Floats]:
        """Mean rewards (N,), ±1, of fresh rollouts that count for nothing, and these means' sampling variances."""
        luck = torch.Generator().manual_seed(self.rollouts)
        _, rewards = self._replies([self._pool[i] for i in prompts], np.full(len(prompts), PROBES), luck)
        earned = (2 * rewards - 1).reshape(-1, PROBES)
        return earned.mean(1), earned.var(1, ddof=1) / PROBES

    def _encoded(self, asked: Sequence[Task]) -> dict[str, list[int]]:
        return {task.prompt: self.model.chat.encode([("user", task.prompt)]) for task in asked}

    def _replies(
        self, asked: Sequence[Task], counts: NDArray[np.int64], luck: torch.Generator
    ) -> tuple[Replies, Floats]:
        """Replies in the order of the tasks, and what each earned, 0 or 1. Tasks without any may be among them."""
        missing = [task for task in asked if task.prompt not in self._prompts]
        self._prompts |= self._encoded(missing)
        prompts = [self._prompts[task.prompt] for task in asked]
        replies = sample(self.model, prompts, counts, self._setting.most_tokens, luck)
        texts = replies.texts(self.model)
        of = (asked[i] for i in replies.of.tolist())
        earned = [grade(task.verifier, text, task.answer) for task, text in zip(of, texts, strict=True)]
        return replies, np.array(earned)

    def _joined(self, prompts: Rows, said: Sequence[Sequence[NDArray[np.int64]]]) -> Replies:
        """Everything said to some prompts, over all rounds, as one batch."""
        ids, lengths = padded([self._prompts[self._pool[i].prompt] for i in prompts])
        tokens, token_lengths = padded([words.tolist() for each in said for words in each])
        of = torch.arange(len(said)).repeat_interleave(torch.tensor([len(each) for each in said]))
        return Replies(ids, lengths, of, tokens, token_lengths)


def run(
    name: str,
    method: Method,
    policy: Policy,
    held_out: Sequence[Task],
    setting: Setting,
    seed: int,
    advance: Callable[[Measured], None],
) -> Run:
    """Train until the rollouts are spent. `advance` hears of every measurement."""
    started = time.process_time()
    steps: list[Step] = []
    measured = [Measured(0, policy.reward(held_out), None, None)]
    while policy.rollouts < setting.rollouts:
        learned = method.step(policy, setting.per_step)
        due = policy.rollouts >= len(measured) * setting.measure_every
        errors = _errors(policy, learned) if due else (None, None)
        norm = policy.learn(learned) if len(learned.prompts) else 0.0
        reward = (
            float((1 + np.concatenate(learned.rewards).mean()) / 2) if len(learned.prompts) else float("nan")
        )
        steps.append(Step(policy.rollouts, len(learned.prompts), norm, reward))
        if due:
            measured.append(Measured(policy.rollouts, policy.reward(held_out), *errors))
            advance(measured[-1])
    return Run(name, seed, steps, measured, time.process_time() - started)


def _errors(policy: Policy, learned: Learned) -> tuple[float | None, float | None]:
    """Mean squared errors of baselines and of priors, on the first few prompts of the step."""
    prompts = learned.prompts[:PROBED]
    if not len(prompts):
        return None, None
    means, noise = policy.probe(prompts)
    baseline = float(((learned.baselines[:PROBED] - means) ** 2 - noise).mean())
    if learned.priors is None:
        return baseline, None
    return baseline, float(((learned.priors[:PROBED] - (1 + means) / 2) ** 2 - noise / 4).mean())
