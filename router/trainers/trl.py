"""TRL's GRPOTrainer with V0's rollout budgets and V0.5's fused baseline. Needs `pip install 'v0-router[trl]'`.

    with Client("http://127.0.0.1:8000") as gateway:
        values = Remembering(GatewayValues(gateway, "run-1"))
        trainer = ScheduledGRPOTrainer(
            model, reward_funcs, args=GRPOConfig(...), train_dataset=dataset, values=values
        )
        trainer.train()

TRL's batch stays as large as its configuration says, `generation_batch_size` rollouts: the budget only shares them out
among its prompts, `num_generations` each on average. V0.5's further rounds would change its size, so there are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from trl import GRPOTrainer

from router.schedule import budget
from router.schedule.fusion import BINARY, Rule, Shrinkage, advantages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from router.schedule.own import Values

DEFAULT_RULE = Shrinkage(rewards=BINARY)


class ScheduledGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """
    GRPOTrainer, told by `values` how likely each prompt is to be solved.

    `allocate` shares a batch's rollouts out among its prompts, 2 to `high` each (`uniform`: as TRL does); advantages
    are (r − B)/σ̂ with the baseline of `rule` (V0.5, Eq. 9–10), whose `rewards` bound what reward functions may sum up
    to. One process: TRL may cut a prompt's group in two where there are more. TRL's own log of `reward_std`,
    `frac_reward_zero_std` and completions' advantages still supposes groups of `num_generations`.
    """

    def __init__(
        self,
        *args: Any,
        values: Values,
        rule: Rule = DEFAULT_RULE,
        allocate: budget.Policy = budget.greedy,
        high: int = budget.HIGH,
        **kwargs: Any,
    ) -> None:
        """Further arguments are GRPOTrainer's. Raises `ValueError` with more than one process."""
        super().__init__(*args, **kwargs)
        if self.accelerator.num_processes > 1:
            raise ValueError("rollouts can be allocated in one process only")
        self._values, self._rule, self._allocate, self._high = values, rule, allocate, high
        self._earned = torch.zeros(0)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """TRL's, (R, functions); their weighted sum is kept."""
        each: torch.Tensor = super()._calculate_rewards(*args, **kwargs)
        self._earned = (each * self.reward_weights.to(each.device)).nansum(dim=1)
        return each

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """TRL's, with the batch's rollouts allocated anew and the advantages replaced."""
        if not self.model.training:
            return super()._generate_and_score_completions(inputs)
        asked = inputs[:: self.num_generations]  # TRL repeats each prompt so often, one after another
        texts = [text_of(row["prompt"]) for row in asked]
        priors = np.asarray(self._values.predict(texts), dtype=float)
        counts = self._allocate(priors, len(inputs), low=min(2, self.num_generations), high=self._high)
        rows = [row for row, count in zip(asked, counts, strict=True) for _ in range(count)]
        output: dict[str, Any] = super()._generate_and_score_completions(rows)
        earned = np.split(self._earned.double().cpu().numpy(), np.cumsum(counts)[:-1])
        found = fused(earned, priors, self._rule)
        output["advantages"] = torch.as_tensor(np.concatenate(found)).to(output["advantages"])
        rates = [float(self._rule.rewards.rate_at(one.mean())) for one in earned]
        self._values.report(texts, rates, counts)
        return output


def fused(
    earned: Sequence[NDArray[np.float64]], priors: NDArray[np.float64], rule: Rule
) -> list[NDArray[np.float64]]:
    """
    Advantages of each prompt's rewards beside its fused baseline; `priors` (N,) are success rates.

    Raises `ValueError` for a reward outside the rule's range.
    """
    low, high = rule.rewards.low, rule.rewards.high
    everything = np.concatenate(earned)
    outside = everything[~((everything >= low) & (everything <= high))]
    if len(outside):
        raise ValueError(
            f"a rollout earned {outside[0]}, not from {low} to {high}: give a rule with the right rewards"
        )
    means, counts = np.array([one.mean() for one in earned]), np.array([len(one) for one in earned])
    baselines = rule.baseline(means, rule.rewards.mean_at(priors), counts)
    return [advantages(one, baseline, rule.rewards) for one, baseline in zip(earned, baselines, strict=True)]


def text_of(prompt: str | Sequence[Mapping[str, Any]]) -> str:
    """What V0 reads of a prompt of TRL's, plain or a chat: the last user turn."""
    if isinstance(prompt, str):
        return prompt
    said = [turn["content"] for turn in prompt if turn["role"] == "user"]
    if not said or not isinstance(said[-1], str):
        raise ValueError("a chat's last user turn should be a text")
    return said[-1]
