from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from router.cli import app
from router.value.ablation import CELLS, PLAIN, REFERENCE, AblationConfig, ablate, fit_prior, results
from router.value.adapter import AdapterConfig
from router.value.network import ValueNetwork, head_config
from router.value.protocol_tables import ablation_tables
from router.value.train import RecipeError
from tests.router.value.policy_source import WIDTH, policy_corpus

CONFIG = AblationConfig(
    steps=2,
    prior_steps=2,
    context=20,
    queries=8,
    trial_context=30,
    queries_of_adapter=WIDTH // 6,
    head={"hidden": 8},
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The whole ablation, two training steps a run, by both protocols."""
    out = tmp_path_factory.mktemp("ablation")
    corpus = policy_corpus(steps=(16, 64))
    list(ablate(out, corpus, out, CONFIG, [0], ["strict", "sequential"], ["connectors", "losses", "head"]))
    return corpus, out


def test_every_cell_and_plain_predictor_has_a_run_of_either_protocol(done):
    found = results(done[1], CONFIG)
    names = {cell.name for cell in CELLS} | set(PLAIN)
    assert len(CELLS) == 8 + 3 + 2
    for protocol in ("strict", "sequential"):
        assert {result.name for result in found if result.protocol == protocol} == names


def test_all_cells_answer_the_same_questions(done):
    asked = {
        (
            result.protocol,
            tuple((one.policy, one.kind, tuple(one.outcomes), one.prior) for one in result.valued),
        )
        for result in results(done[1])
    }
    assert len(asked) == 2  # one set for each protocol


def test_a_frozen_head_trains_the_connector_only_and_a_tuned_one_all(done):
    trained = {result.name: result.parameters for result in results(done[1])}
    frozen, tuned = (trained[f"residual_dynamic, intra+ce, {head}"] for head in ("frozen", "tuned"))
    adapter = AdapterConfig(input_width=WIDTH, queries=CONFIG.queries_of_adapter, alone=True)
    network = ValueNetwork(adapter, head_config(adapter, **CONFIG.head))
    assert frozen == sum(p.numel() for p in network.adapter.parameters())
    assert tuned == sum(p.numel() for p in network.parameters()) == trained[REFERENCE]


def test_a_second_call_makes_only_what_is_missing(done):
    corpus, out = done
    paths = sorted(out.glob("*/*/seed0.json"))
    paths[0].unlink()
    before = {path: path.stat().st_mtime_ns for path in paths[1:]}
    list(ablate(out, corpus, out, CONFIG, [0], ["strict", "sequential"], ["connectors", "losses", "head"]))
    assert paths[0].exists()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    with pytest.raises(RecipeError, match="made with other settings"):
        list(ablate(out, corpus, out, replace(CONFIG, steps=3), [0], ["strict"], ["losses"]))


def test_the_tables_show_every_row_with_intervals(done):
    text = ablation_tables(results(done[1], CONFIG), draws=3)
    for cell in CELLS:
        assert text.count(f"| {cell.name} |") == 3 + 2  # strict, aligned, stale; diagnostics but for stale
    assert "small@step64" in text
    assert "| share |" in text
    row = next(line for line in text.splitlines() if line.startswith("| mlp, intra+ce, fresh"))
    assert row.count("[") == 5


def test_the_prior_teaches_the_head_and_leaves_the_connector_alone():
    corpus = policy_corpus()
    adapter = AdapterConfig(input_width=WIDTH, queries=4, alone=True)
    torch.manual_seed(0)
    network = ValueNetwork(adapter, head_config(adapter, **CONFIG.head))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit_prior(network, corpus.pooled, CONFIG, seed=0)
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved
    assert all(name.startswith("head.") for name in moved)


@pytest.mark.parametrize(("option", "value"), [("--study", "backbones"), ("--protocol", "loose")])
def test_a_study_that_there_is_not_is_told_before_anything_is_read(tmp_path, option, value):
    command = ["ablate", "--data", str(tmp_path), "--out", str(tmp_path / "o"), option, value]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 2
    assert value in answer.output
