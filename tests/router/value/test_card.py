from __future__ import annotations

import numpy as np
import pytest

from router.value.card import Measured, tables
from router.value.diagnostics import Valued
from router.value.evaluate import METRICS, Score


@pytest.fixture(scope="module")
def text():
    """Two sources of four models, contexts of 32 and 256; V0 knows the prompt, the others do not."""
    rng, scores = np.random.default_rng(0), []
    for source in ("one", "two"):
        for model in range(4):
            outcomes = (rng.random(60) < 0.2 + 0.2 * model).astype(np.float32)
            foretold = {
                "v0": (0.2 + 0.6 * outcomes + 0.1 * rng.standard_normal(60)).clip(0.01, 0.99),
                "v0-fleet": (0.1 + 0.8 * outcomes + 0.1 * rng.standard_normal(60)).clip(0.01, 0.99),
                "ridge": rng.random(60),
                "knn": rng.random(60),
                "mean": np.full(60, outcomes.mean()),
            }
            for size in (32, 256):
                for name, values in foretold.items():
                    found = {metric: function(values, outcomes) for metric, function in METRICS.items()}
                    kept = None
                    if size == 256 and name in {"v0", "mean"}:
                        prior, hard = 0.2 + 0.2 * model, rng.random(60)
                        kept = Valued(f"m{model}", "held out", values, outcomes, prior, hard, np.arange(60))
                    scores.append(Score(source, f"m{model}", name, size, 0, found, kept))
    return tables(Measured(scores, []))


def rows(text, title):
    section = text.split(f"### {title}")[1].split("###")[0]
    return [line for line in section.splitlines() if line.startswith("|")][2:]


@pytest.mark.parametrize(
    "title", ["Intra-context AUC", "Pairwise accuracy, soft", "Pairwise accuracy, strict"]
)
def test_v0_s_own_figures_and_its_lead_have_intervals(text, title):
    found = rows(text, title)
    assert [line.split(" | ")[0] for line in found] == ["| 32", "| 256"]
    assert all(line.count("[") == 4 for line in found)  # of V0 alone and beside a fleet
    assert all("vs v0" not in line for line in found)


def test_the_shortcut_is_shown_by_source_for_v0_and_the_context_s_mean(text):
    found = rows(text, "The shortcut I(Y;C), N=256")
    assert [line.split(" | ")[0] for line in found] == [
        "| one, mean",
        "| one, v0",
        "| two, mean",
        "| two, v0",
    ]
    prompt = [float(line.split(" | ")[2].split()[0]) for line in found]
    assert prompt[0] == pytest.approx(0, abs=1e-6)
    assert prompt[1] > 0.2
