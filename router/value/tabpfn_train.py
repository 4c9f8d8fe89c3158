"""
Training an adapter through a frozen TabPFN, as the paper does: only the adapter moves.

    python -m router.value.tabpfn_train --data FOLDER_OF_SOURCES --tabpfn WEIGHTS --out models/v0-tabpfn

Backbone and TabPFN stay as they are; gradients come from the head's logits, through TabPFN's table, into the features
of queries and context alike. The result is a folder that `TabpfnV0.load` takes. TabPFN v2's licence wants "TabPFN" in
the name of what is trained with it; the non-commercial ones bind what is trained with them too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import torch
import typer

from router.value.adapter import AdapterConfig, ResidualQueryAdapter
from router.value.backbone import Backbone
from router.value.episodes import EpisodeConfig, EpisodeSampler
from router.value.heads.tabpfn import TabpfnHead
from router.value.heads.tabpfn_weights import TabpfnWeights
from router.value.losses import composite_loss
from router.value.paper import save
from router.value.train import TrainConfig, load_corpus

if TYPE_CHECKING:
    from router.value.episodes import Episode

ADAPTER = AdapterConfig(queries=83, query_width=6)  # 498 features: what v2 reads, and what gradients pass
EPISODES = EpisodeConfig(policies=4, tokens=600, queries=16, most_context=128)


@dataclass(frozen=True)
class Step:
    """What one step did: its loss, and over how many policies. NaN and 0 where no context had both classes."""

    loss: float
    policies: int


class AdapterTraining:
    """An adapter on its way. One step is one episode; the same seed gives the same steps."""

    def __init__(self, config: TrainConfig, root: Path, cache: Path, weights: TabpfnWeights) -> None:
        """Raises `CorpusError` or `TabpfnError`, the second where the adapter is wider than gradients pass."""
        self.config, self._device = config, weights.device
        self._backbone = Backbone.load(config.backbone, weights.device)
        corpora = [load_corpus(root / name, config, self._backbone, cache) for name in config.sources]
        self._sampler = EpisodeSampler(corpora, config.episodes, config.seed)
        torch.manual_seed(config.seed)
        self.adapter = ResidualQueryAdapter(replace(config.adapter, input_width=self._backbone.width)).to(
            weights.device
        )
        self.head = TabpfnHead(weights, config.adapter.output_width)
        self._optimiser = torch.optim.AdamW(
            self.adapter.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.step = 0

    def advance(self) -> Step:
        """One optimiser step on one episode."""
        torch.manual_seed(self.config.seed * 1_000_003 + self.step)
        episode = self._sampler.draw(self.step)
        self.step += 1
        self.adapter.train()
        logits, labels, mask = self._forward(episode)
        if not len(logits):
            return Step(float("nan"), 0)
        loss = composite_loss(logits, labels, mask, self.config.alpha)
        self._optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.adapter.parameters(), self.config.clip)
        self._optimiser.step()
        return Step(loss.item(), len(logits))

    def save(self, folder: Path) -> None:
        """Write the adapter with the name and version of its backbone."""
        save(folder, self.adapter, self.config.backbone, self._backbone.version)

    def _forward(self, episode: Episode) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits, labels and mask (B, M) of the queries, for the policies whose context has both classes."""
        corpus, n = episode.corpus, episode.context
        assert corpus.states is not None  # the adapter reads them
        states, seen = corpus.states.batch(episode.rows, self.config.max_tokens)
        pooled = torch.from_numpy(corpus.pooled[episode.rows]).to(self._device)
        features = self.adapter(states.to(self._device), seen.to(self._device), pooled)  # (N+M, D)
        labels = torch.from_numpy(episode.labels).to(self._device)
        mask = torch.from_numpy(episode.mask).to(self._device)
        found, kept = [], []
        for policy in range(len(labels)):
            known = mask[policy, :n]
            outcomes = labels[policy, :n][known]
            if 0 < int((outcomes >= 0.5).sum()) < len(outcomes):
                found.append(self.head.logits(features[n:], features[:n][known], outcomes))
                kept.append(policy)
        logits = torch.stack(found) if found else features.new_zeros((0, len(features) - n))
        return logits, labels[kept, n:], mask[kept, n:]


def train(
    data: Annotated[Path, typer.Option(help="The folder that holds the sources.")],
    tabpfn: Annotated[Path, typer.Option(help="TabPFN's weights.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    sources: Annotated[list[str], typer.Option("--source", help="A folder below data; repeat it.")],
    steps: Annotated[int, typer.Option(min=1)] = 2000,
    learning_rate: Annotated[float, typer.Option()] = 2e-4,
    seed: Annotated[int, typer.Option()] = 0,
    device: Annotated[str, typer.Option()] = "cpu",
    accept_licence: Annotated[str | None, typer.Option(help="As in router.yaml.")] = None,
    cache: Annotated[Path, typer.Option(help="Token states, computed once.")] = Path(".cache/states"),
) -> None:
    """Train an adapter of 83×6 features under TabPFN."""
    from rich.progress import track

    config = TrainConfig(
        sources=tuple(sources),
        steps=steps,
        learning_rate=learning_rate,
        weight_decay=0.01,
        seed=seed,
        adapter=ADAPTER,
        episodes=EPISODES,
    )
    training = AdapterTraining(config, data, cache, TabpfnWeights.load(tabpfn, device, accept_licence))
    recent: list[float] = []
    for number in track(range(steps), description="train an adapter under TabPFN"):
        done = training.advance()
        recent += [done.loss] if done.policies else []
        if (number + 1) % 100 == 0:
            typer.echo(f"step {number + 1}: loss {sum(recent[-100:]) / max(1, len(recent[-100:])):.4f}")
            training.save(out)
    training.save(out)
    typer.echo(f"wrote {out}; value: {{head: tabpfn, weights: {out}, tabpfn: {{weights: {tabpfn}}}}}")


if __name__ == "__main__":
    typer.run(train)
