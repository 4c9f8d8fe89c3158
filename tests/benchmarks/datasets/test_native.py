from __future__ import annotations

import json
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.datasets import collector, files
from benchmarks.outcomes import OutcomesError, read

PROMPTS = {"prompt_id": ["a", "b", "c"], "dataset": ["x", "x", "y"], "text": ["A" * 8, "B" * 12, "C"]}
OUTCOMES = {
    "prompt_id": ["a", "a", "b", "b", "c", "c"],
    "model": ["m", "n", "m", "n", "m", "n"],
    "score": [1.0, 0.5, 0.0, 1.0, 1.0, 0.0],
    "input_tokens": [10, 10, 20, 20, 5, 5],
    "output_tokens": [100, 200, 100, 200, 100, 200],
    "cost_usd": [0.01, 0.02, 0.01, 0.02, 0.01, 0.02],
}
MODELS = [
    {
        "model": "m",
        "params_b": 70,
        "active_params_b": 10,
        "price_in_per_mtok": 1.0,
        "price_out_per_mtok": 2.0,
    },
    {
        "model": "n",
        "params_b": 40,
        "active_params_b": None,
        "price_in_per_mtok": 3.0,
        "price_out_per_mtok": 4.0,
    },
]


def write(folder, prompts=None, outcomes=None, models=MODELS):
    folder.mkdir(exist_ok=True)
    pd.DataFrame({**PROMPTS, **(prompts or {})}).to_parquet(folder / "prompts.parquet")
    pd.DataFrame({**OUTCOMES, **(outcomes or {})}).to_parquet(folder / "outcomes.parquet")
    (folder / "models.json").write_text(json.dumps(models))
    return folder


def said(outcomes):
    return {f"{note.what}: {note.why}": note.count for note in outcomes.exclusions}


def test_a_native_folder_is_a_matrix_with_its_facts(tmp_path):
    outcomes = read(write(tmp_path / "tiny"))
    assert outcomes.name == "tiny"
    assert (outcomes.prompt_ids, outcomes.datasets) == (["a", "b", "c"], ["x", "x", "y"])
    assert outcomes.model_names == ["m", "n"]
    assert [model.parameters for model in outcomes.models] == [10, 40]
    np.testing.assert_array_equal(outcomes.scores, np.array([[1, 0.5], [0, 1], [1, 0]], dtype=np.float32))
    np.testing.assert_allclose(outcomes.costs, [[0.01, 0.02]] * 3)
    assert outcomes.cost_kind == "recorded"
    assert outcomes.exclusions == ()
    assert (outcomes.scores.dtype, outcomes.costs.dtype) == (np.float32, np.float64)


def test_without_recorded_costs_tokens_are_priced(tmp_path):
    outcomes = read(write(tmp_path / "tiny", outcomes={"cost_usd": [None] * 6}))
    assert outcomes.cost_kind == "tokens x price"
    assert outcomes.costs[0, 0] == pytest.approx((10 * 1 + 100 * 2) / 1e6)


def test_missing_costs_and_tokens_are_filled_in_and_said(tmp_path):
    outcomes = read(
        write(
            tmp_path / "tiny",
            outcomes={
                "cost_usd": [None, 0.02, 0.01, 0.02, 0.01, 0.02],
                "input_tokens": [None, 10, 20, 20, 5, 5],
                "output_tokens": [None, 200, 100, 200, 300, 200],
            },
        )
    )
    assert outcomes.cost_kind == "recorded"
    assert outcomes.costs[0, 0] == pytest.approx(
        (2 * 1 + 200 * 2) / 1e6
    )  # 8 characters; median of 100 and 300
    assert {why.split(": ", 1)[1]: count for why, count in said(outcomes).items()} == {
        "output tokens missing: the model's median": 1,
        "input tokens missing: a quarter of the characters": 1,
        "recorded cost missing: tokens × price": 1,
    }


def test_without_prices_sizes_stand_in_for_costs(tmp_path):
    sizes = [{"model": name, "params_b": size} for name, size in (("m", 10), ("n", 40))]
    with_tokens = read(write(tmp_path / "a", outcomes={"cost_usd": [None] * 6}, models=sizes))
    assert with_tokens.cost_kind == "parameter ratio x tokens"
    np.testing.assert_allclose(with_tokens.costs[1], [10 / 40 * 100, 200])
    without = {"cost_usd": [None] * 6, "output_tokens": [None] * 6}
    ratios = read(write(tmp_path / "b", outcomes=without, models=sizes))
    assert ratios.cost_kind == "parameter ratio"
    np.testing.assert_allclose(ratios.costs[1], [0.25, 1])


def test_without_anything_every_cost_is_zero_and_that_is_said(tmp_path):
    outcomes = read(write(tmp_path / "tiny", outcomes={"cost_usd": [None] * 6}, models=[]))
    assert outcomes.cost_kind == "none"
    assert not outcomes.costs.any()
    assert any("every cost is 0" in why for why in said(outcomes))


def test_a_model_whose_cost_nobody_knows_is_left_out_by_name(tmp_path):
    outcomes = read(write(tmp_path / "tiny", outcomes={"cost_usd": [None] * 6}, models=MODELS[:1]))
    assert outcomes.model_names == ["m"]
    assert any(why.startswith("models n: no cost") for why in said(outcomes))


def test_what_cannot_be_used_is_counted(tmp_path):
    outcomes = read(
        write(
            tmp_path / "tiny",
            prompts={
                "prompt_id": ["a", "b", "c", "d", "e", "f"],
                "dataset": ["x"] * 6,
                "text": ["A", "B", "A", "D", "", "F"],
            },
            outcomes={
                "prompt_id": ["a", "a", "c", "zzz", "f", "e"],
                "score": [1.0, 0.5, 0.0, 1.0, None, 0.0],
            },
            models=[*MODELS, {"model": "never asked"}],
        )
    )
    assert outcomes.prompt_ids == ["a"]
    assert said(outcomes) == {
        "prompts, with their outcomes: their text is that of an earlier prompt": 1,
        "prompts, with their outcomes: they have no text": 1,
        "outcomes: their prompt is not among the prompts": 1,
        "outcomes: they have no score": 1,
        "models: they have no outcome": 1,
        "prompts: they have no outcome": 3,
        "AUC and pairwise accuracy of m: every outcome is 1": 1,
        "AUC and pairwise accuracy of n: every outcome is 0.5": 1,
    }


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        (
            "outcomes",
            {"score": [1, 1, 1, 7.5, 1, 1]},
            r"outcomes\.parquet row 3: score 7\.5 is not in \[0, 1\]",
        ),
        ("outcomes", {"score": [1, 1, -0.1, 1, 1, 1]}, r"row 2: score -0\.1"),
        ("outcomes", {"score": ["1", "1", "good", "1", "1", "1"]}, r"row 2: score 'good' is not a number"),
        ("outcomes", {"cost_usd": [1, 1, 1, 1, -1, 1]}, r"row 4: cost -1"),
        ("outcomes", {"cost_usd": [None, pd.Timestamp(0)] * 3}, r"row 1: cost Timestamp\(.* is not a number"),
        ("outcomes", {"cost_usd": [1, 1, 1, 1, 1, np.inf]}, r"row 5: cost inf"),
        (
            "outcomes",
            {"prompt_id": ["a", "a", "b", "b", "a", "c"]},
            r"row 4: prompt 'a' and model 'm' came before",
        ),
        ("outcomes", {"model": ["m", "n", "m", None, "m", "n"]}, r"row 3: model is missing"),
        ("prompts", {"prompt_id": ["a", "b", "a"]}, r"prompts\.parquet row 2: prompt_id 'a' came before"),
        ("prompts", {"prompt_id": ["a", None, "c"]}, r"prompts\.parquet row 1: prompt_id is missing"),
    ],
)
def test_bad_rows_are_named_by_file_and_row(tmp_path, table, change, message):
    with pytest.raises(OutcomesError, match=message):
        read(write(tmp_path / "tiny", **{table: change}))


def test_rows_are_counted_over_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.datasets.files.BATCH_ROWS", 2)
    with pytest.raises(OutcomesError, match="row 3: score 2"):
        read(write(tmp_path / "tiny", outcomes={"score": [1.0, 1, 1, 2, 1, 1]}))


def test_long_texts_come_in_fewer_rows(tmp_path, monkeypatch):
    """Whatever the row groups are: here all rows are in one, as some writers leave them."""
    path = tmp_path / "prompts.parquet"
    texts = [f"{number} " + "long " * 200 for number in range(50)]
    pd.DataFrame({"prompt_id": range(50), "text": texts, "other": ["x" * 5000] * 50}).to_parquet(path)
    monkeypatch.setattr(files, "BATCH_BYTES", 10_000)
    batches = list(files.parquet_batches(path, ["prompt_id", "text"]))
    assert [text for _, frame in batches for text in frame["text"]] == texts
    assert 5 < len(batches) < 50
    assert [first for first, _ in batches] == [
        sum(len(f) for _, f in batches[:i]) for i in range(len(batches))
    ]
    (_, numbers), *others = files.parquet_batches(path, ["prompt_id"])
    assert (len(numbers), others) == (50, [])


def test_a_folder_is_no_file(tmp_path):
    folder = write(tmp_path / "tiny")
    (folder / "outcomes.parquet").unlink()
    (folder / "outcomes.parquet").mkdir()
    with pytest.raises(OutcomesError, match=r"outcomes\.parquet: is no file"):
        read(folder)


def test_missing_files_and_columns_are_named(tmp_path):
    folder = write(tmp_path / "tiny")
    pd.DataFrame({"prompt_id": ["a"], "text": ["A"]}).to_parquet(folder / "prompts.parquet")
    with pytest.raises(
        OutcomesError, match=r"prompts\.parquet: missing column dataset \(there are: prompt_id, text\)"
    ):
        read(folder)
    (folder / "prompts.parquet").unlink()
    with pytest.raises(OutcomesError, match=r"prompts\.parquet: does not exist"):
        read(folder)
    (folder / "prompts.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(OutcomesError, match="cannot be read as parquet"):
        read(folder)


def test_text_that_is_not_utf_8_is_named_by_row(tmp_path):
    folder = write(tmp_path / "tiny")
    raw = pa.array([b"fine", b"\xff\xfe", b"fine too"], pa.binary())
    broken = pa.StringArray.from_buffers(3, raw.buffers()[1], raw.buffers()[2])
    table = pa.table({"prompt_id": ["a", "b", "c"], "dataset": ["x"] * 3, "text": broken})
    pq.write_table(table, folder / "prompts.parquet")
    with pytest.raises(OutcomesError, match=r"prompts\.parquet row 1: text is not valid"):
        read(folder)


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ({"m": 1}, "not a list of models"),
        ([{"name": "m"}], "row 0: a model is an object with a name"),
        ([{"model": "m"}, {"model": "m"}], "row 1: model 'm' came before"),
        ([{"model": "m", "price_in_per_mtok": -1}], "row 0: price_in_per_mtok of 'm' is -1"),
        ([{"model": "m", "params_b": "7B"}], "row 0: params_b of 'm' is '7B'"),
    ],
)
def test_bad_facts_are_named(tmp_path, models, message):
    with pytest.raises(OutcomesError, match=message):
        read(write(tmp_path / "tiny", models=models))


def test_no_outcome_left_is_an_error_with_its_reasons(tmp_path):
    with pytest.raises(OutcomesError, match=r"no outcome is usable \(6 outcomes: they have no score\)"):
        read(write(tmp_path / "tiny", outcomes={"score": [None] * 6}))


def test_a_matrix_beyond_memory_is_refused_before_it_is_built(tmp_path, monkeypatch):
    monkeypatch.setattr(collector, "MEMORY_SHARE", 1e-12)
    with pytest.raises(OutcomesError, match="3 prompts by 1 models or more would take"):
        read(write(tmp_path / "tiny"))


def test_a_path_in_no_format_and_an_unknown_name_say_what_there_is(tmp_path, monkeypatch):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(OutcomesError, match="none of the formats that can be read"):
        read(tmp_path / "notes.txt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(
        OutcomesError, match=r"neither a path nor a dataset \(datasets: nano, generated, routerbench"
    ):
        read("nonsense")
    with pytest.raises(OutcomesError, match="router-bench fetch sprout"):
        read("sprout")
    assert "sprout" not in os.listdir(tmp_path)
