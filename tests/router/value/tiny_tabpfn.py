"""
A TabPFN small enough for tests, written by the tabpfn package in its own file format.

    python -m tests.router.value.tiny_tabpfn tests/router/value/assets/tiny-tabpfn-v2.ckpt

Trained by us, on random tasks alone, for a few minutes on one core: it learns in context, a little. It shares nothing
with Prior Labs' weights but the architecture, whose code is Apache-2.0.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tabpfn import ModelSpecs, TabPFNClassifier
from tabpfn.architectures import ARCHITECTURES
from tabpfn.constants import ModelVersion
from tabpfn.inference_config import InferenceConfig
from tabpfn.model_loading import save_tabpfn_model

ASSET = Path(__file__).parent / "assets" / "tiny-tabpfn-v2.ckpt"
V2 = {"emsize": 16, "nlayers": 2, "nhead": 2, "max_num_classes": 2}
V3 = {
    "max_num_classes": 2,
    "embed_dim": 16,
    "nlayers": 2,
    "icl_num_heads": 2,
    "dist_embed_num_blocks": 1,
    "dist_embed_num_heads": 2,
    "dist_embed_num_inducing_points": 8,
    "feat_agg_num_blocks": 1,
    "feat_agg_num_heads": 2,
    "feat_agg_num_cls_tokens": 2,
    "decoder_num_heads": 2,
    "decoder_head_dim": 8,
}
SMALL = {
    "tabpfn_v2": V2,
    "tabpfn_v2_5": {**V2, "num_thinking_rows": 4},
    "tabpfn_v2_6": {**V2, "num_thinking_rows": 4},
    "tabpfn_v3": V3,
    "tabpfn_v3_5": {**V3, "num_buckets": 8},
}
STEPS, TASKS = 2000, 8


def random_specs(architecture="tabpfn_v2", seed=0, **config):
    """A network of an architecture with random weights; the layers that begin at zero as well, so that it reads."""
    torch.manual_seed(seed)
    module = ARCHITECTURES[architecture]
    parsed, _ = module.parse_config({**SMALL[architecture], **config})
    network = module.get_architecture(parsed).eval()
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    version = ModelVersion.V2 if architecture == "tabpfn_v2" else ModelVersion.V2_5
    return ModelSpecs(network, parsed, InferenceConfig.get_default("multiclass", version))


def save(specs, path):
    """Write a network by the package's own function."""
    classifier = TabPFNClassifier(model_path=specs, device="cpu")
    classifier.get_inference_config()  # loads
    save_tabpfn_model(classifier, path)
    return path


def random_tasks(tasks, rows, features, generator):
    """Rows (R, B, F) and labels (R, B): the sign of a random mixture of a line and two hinges, over a random share."""

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    x = normal(rows, tasks, features)
    x = x + 0.7 * normal(rows, tasks, 1) * normal(
        1, tasks, features
    )  # columns that go together, as an adapter's do
    relevant = (torch.rand(1, tasks, features, generator=generator) < 0.4).float()
    relevant[..., 0] = 1
    line = (x * normal(1, tasks, features) * relevant).sum(-1)
    hinges = ((x * normal(1, tasks, features) * relevant).sum(-1).relu() for _ in range(2))
    score = line + sum(hinges) * torch.rand(1, tasks, generator=generator)
    score = score / score.std(0) + 0.3 * normal(rows, tasks)
    share = 0.2 + 0.6 * torch.rand(1, tasks, generator=generator)
    threshold = torch.stack([s.quantile(q) for s, q in zip(score.T, share[0], strict=True)])
    x = (x - x.mean(0)) / x.std(0)
    return x, (score > threshold).float()


def train(path, steps=STEPS):
    """Cross-entropy on the rows after a random cut."""
    torch.set_num_threads(1)
    specs = random_specs()
    network = specs.model.train()
    generator = torch.Generator().manual_seed(1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.1)
    recent = []
    for step in range(steps):
        features = int(torch.randint(2, 7, (), generator=generator))
        seen = int(torch.randint(8, 41, (), generator=generator))
        x, y = random_tasks(TASKS, seen + 16, features, generator)
        logits = network(x, y[:seen])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1)[:, :2], y[seen:].flatten().long())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        recent.append(loss.item())
        if step % 100 == 99:
            print(step + 1, sum(recent[-100:]) / 100, flush=True)
    network.eval()
    save(specs, path)


if __name__ == "__main__":
    train(Path(sys.argv[1]))
