from __future__ import annotations

import json

import pytest

from benchmarks import results
from benchmarks.outcomes import OutcomesError


def a_router(**changed):
    point = results.Point(
        beta=1.0, accuracy=0.5, accuracy_interval=(0.4, 0.6), cost=1.0, cost_interval=None, regret=0.1,
        share={"a": 1.0},
    )  # fmt: skip
    return results.RouterResult(
        learns=True, points=[point], accuracy=0.5, cost=1.0, aiq=0.4, hypervolume=0.3, seeds=[0], **changed
    )


def some_results(**changed):
    facts = {
        "title": "tiny, all models",
        "fleet": ["a", "b"],
        "cost_kind": "recorded",
        "cost_unit": "USD a prompt",
        "cost_range": (0.5, 1.0),
        "test_prompts": [20],
        "few_solve": [5],
        "v0": None,
        "routers": {"umr": a_router()},
        "references": {"best-single": a_router()},
        "complete": True,
        "provenance": results.Provenance(
            created="2026-01-01T00:00:00+00:00", command="router-bench sweep", git_commit=None, versions={},
            machine={}, wall_s=1.0, peak_mb=1.0,
        ),
        "data": [],
        "split": "prompts",
        "seeds": [0],
        "betas": [1.0],
        "test_size": 0.2,
        "context_size": 256,
        **changed,
    }  # fmt: skip
    return results.Results(**facts)


def test_written_and_read_again(tmp_path):
    made = some_results()
    results.write(made, tmp_path)
    assert results.read(tmp_path) == made
    assert results.read(tmp_path / "results.json") == made
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]


def test_a_figure_that_does_not_exist_is_null(tmp_path):
    results.write(some_results(routers={"umr": a_router(auc=float("nan"))}), tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["routers"]["umr"]["auc"] is None
    assert results.known(float("inf")) is None
    assert results.known_interval((0.0, float("nan"))) is None


def test_what_is_no_result_is_refused_by_name(tmp_path):
    file = tmp_path / "results.json"
    with pytest.raises(OutcomesError, match=r"results\.json: cannot be read"):
        results.read(tmp_path)
    for content, said in (
        ("{", "is not JSON"),
        ("[]", "schema version None"),
        ('{"schema_version": 99}', "schema version 99"),
        ('{"schema_version": 1}', "Field required"),
    ):
        file.write_text(content)
        with pytest.raises(OutcomesError, match=said):
            results.read(tmp_path)
