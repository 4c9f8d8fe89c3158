"""Each reader on a tiny file of ours in exactly its format."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pandas as pd
import pytest

from benchmarks.datasets import recognise
from benchmarks.outcomes import OutcomesError, read

ROUTERBENCH = {
    "sample_id": ["a.1", "a.2", "b.1"],
    "prompt": ["['One?']", "['First turn.', 'Second turn.']", "[not a list"],
    "eval_name": ["a", "a", "b"],
    "small/model": [1.0, 0.0, 0.5],
    "large": [True, True, False],
    "small/model|model_response": ["['x']"] * 3,
    "large|model_response": ["['y']"] * 3,
    "small/model|total_cost": [0.001, 0.002, 0.003],
    "large|total_cost": [0.01, 0.02, 0.03],
    "oracle_model_to_route_to": ["small/model", "large", "small/model"],
}


def said(outcomes):
    return {f"{note.what}: {note.why}": note.count for note in outcomes.exclusions}


def format_of(path):
    module = recognise(path)
    return None if module is None else module.__name__.rpartition(".")[2]


@pytest.mark.parametrize("kind", ["pkl", "csv"])
def test_routerbench(tmp_path, kind):
    path = tmp_path / f"routerbench_0shot.{kind}"
    frame = pd.DataFrame(ROUTERBENCH)
    frame.to_pickle(path) if kind == "pkl" else frame.to_csv(path, index=False)
    assert format_of(path) == format_of(tmp_path) == "routerbench"
    outcomes = read(path)
    assert outcomes.model_names == ["large", "small/model"]
    assert outcomes.texts == ["One?", "First turn.\n\nSecond turn.", "[not a list"]
    assert outcomes.datasets == ["a", "a", "b"]
    np.testing.assert_array_equal(outcomes.scores, np.array([[1, 1], [1, 0], [0, 0.5]], dtype=np.float32))
    np.testing.assert_allclose(outcomes.costs[:, 0], [0.01, 0.02, 0.03])
    assert outcomes.cost_kind == "recorded"


class _Evil:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    "content",
    [_Evil(), pd.DataFrame({"sample_id": ["a"], "prompt": [_Evil()], "eval_name": ["x"]})],
    ids=["bare", "inside a table"],
)
def test_a_pickle_that_asks_for_anything_but_tables_is_refused(tmp_path, content, monkeypatch):
    path = tmp_path / "routerbench_evil.pkl"
    path.write_bytes(pickle.dumps(content))
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("the pickle ran a command"))
    with pytest.raises(OutcomesError, match="which is not a part of a table"):
        read(path)


@pytest.mark.parametrize("name", ["eval", "getattr", "__import__", "exec"])
def test_no_dangerous_builtin_is_admitted(tmp_path, name):
    path = tmp_path / "routerbench.pkl"
    path.write_bytes(b"cbuiltins\n" + name.encode() + b"\n.")
    with pytest.raises(OutcomesError, match=f"builtins.{name}"):
        read(path)


def test_old_pickles_of_tables_are_read(tmp_path):
    """numpy 1 and pandas 1 name their constructors differently."""
    path = tmp_path / "routerbench_old.pkl"
    frame = pd.DataFrame({**ROUTERBENCH}).astype(object)
    content = pickle.dumps(frame, protocol=2)
    path.write_bytes(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert read(path).scores.shape == (3, 2)


def test_broken_and_wrong_pickles_are_named(tmp_path):
    path = tmp_path / "routerbench.pkl"
    path.write_bytes(pickle.dumps(pd.DataFrame(ROUTERBENCH))[:200])
    with pytest.raises(OutcomesError, match=r"routerbench\.pkl"):
        read(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(OutcomesError, match="holds a list, not a table"):
        read(path)
    pd.DataFrame(ROUTERBENCH).drop(columns="eval_name").to_pickle(path)
    with pytest.raises(OutcomesError, match="missing column eval_name"):
        read(path)


def test_embedllm_over_its_files(tmp_path):
    columns = ["prompt_id", "model_id", "model_name", "label", "prompt", "category_id", "category"]
    train = [
        (0, 0, "org/m", 1, "Zero, with\na line", 3, "mmlu"),
        (0, 1, "org/n", 0, "Zero, with\na line", 3, "mmlu"),
        (1, 0, "org/m", 0, "One", 4, "gsm8k"),
        (1, 0, "org/m", 1, "One", 4, "gsm8k"),
    ]
    pd.DataFrame(train, columns=columns).to_csv(tmp_path / "train.csv", index=False)
    test = pd.DataFrame([(7, 1, "org/n", 1, "Seven", 3, "mmlu")], columns=columns)
    test.to_csv(tmp_path / "test.csv", index=False)
    pd.DataFrame({"model": ["m"]}).to_csv(tmp_path / "model_order.csv", index=False)
    assert format_of(tmp_path) == format_of(tmp_path / "train.csv") == "embedllm"
    outcomes = read(tmp_path)
    assert dict(zip(outcomes.texts, outcomes.datasets, strict=True)) == {
        "Seven": "mmlu",
        "Zero, with\na line": "mmlu",
        "One": "gsm8k",
    }
    row = outcomes.texts.index("One")
    np.testing.assert_array_equal(outcomes.scores[row], [0.5, np.nan])
    assert outcomes.cost_kind == "none"
    assert said(outcomes)["repeated outcomes: those of the same prompt and model were averaged"] == 1
    assert read(tmp_path / "test.csv").scores.shape == (1, 1)


def test_routellm(tmp_path):
    mmlu = tmp_path / "evals" / "mmlu" / "responses"
    mmlu.mkdir(parents=True)
    frame = pd.DataFrame({"prompt": ["P1\nA. 1", "P2"], "weak-1": [True, False], "strong-1": [True, True]})
    frame.to_csv(mmlu / "mmlu_logic.csv", index=False)
    frame = pd.DataFrame(
        {
            "prompt": ["G1"],
            "weak-1": [False],
            "strong-1": [True],
            "weak-1_response": ["x"],
            "strong-1_response": ["y"],
        }
    )
    frame.to_csv(tmp_path / "evals" / "gsm8k_responses.csv", index=False)
    prices = [{"model": name, "params_b": size} for name, size in (("weak-1", 13), ("strong-1", 130))]
    (tmp_path / "models.json").write_text(json.dumps(prices))
    assert format_of(tmp_path) == "routellm"
    outcomes = read(tmp_path)
    assert outcomes.model_names == ["strong-1", "weak-1"]
    assert sorted(outcomes.datasets) == ["gsm8k", "mmlu_logic", "mmlu_logic"]
    assert outcomes.scores[outcomes.texts.index("P2")].tolist() == [1, 0]
    assert outcomes.cost_kind == "parameter ratio"


def test_sprout(tmp_path):
    def answer(score, output):
        return {"num_input_tokens": 10, "num_output_tokens": output, "response": "…", "score": score}

    data = tmp_path / "data"
    data.mkdir()
    for part, base in (("train", 0), ("test", 1)):
        frame = pd.DataFrame(
            {
                "key": [1, 2],
                "dataset": ["mmlu", "math"],
                "dataset_level": [None, "5"],
                "prompt": [f"{part} one", f"{part} two"],
                "golden_answer": ["A", "B"],
                "org-large": [answer(1.0, 100), answer(0.5, 300)],
                "org-small": [answer(float(base), 50), None],
            }
        )
        frame.to_parquet(data / f"{part}-00000-of-00001.parquet")
    (tmp_path / "models.json").write_text(
        json.dumps(
            [
                {"model": "org-large", "price_in_per_mtok": 2, "price_out_per_mtok": 4},
                {"model": "org-small", "price_in_per_mtok": 1, "price_out_per_mtok": 1},
            ]
        )
    )
    assert format_of(tmp_path) == "sprout"
    outcomes = read(tmp_path)
    assert outcomes.prompt_ids == ["test/1", "test/2", "train/1", "train/2"]
    np.testing.assert_array_equal(
        outcomes.scores, np.array([[1, 1], [0.5, np.nan], [1, 0], [0.5, np.nan]], dtype=np.float32)
    )
    assert outcomes.cost_kind == "tokens x price"
    assert outcomes.costs[1, 0] == pytest.approx((10 * 2 + 300 * 4) / 1e6)


def run(folder, model, scores, cost=0.002, name="20250101_000000", **changes):
    place = folder / "bench" / "aime" / "test" / model
    place.mkdir(parents=True, exist_ok=True)
    records = [
        {
            "index": index,
            "origin_query": f"Query {index}",
            "prompt": f"Solve: Query {index}",
            "prediction": "4",
            "ground_truth": "4",
            "score": score,
            "prompt_tokens": 15,
            "completion_tokens": 5,
            "cost": cost,
            "raw_output": "…",
        }
        for index, score in enumerate(scores, 1)
    ]
    document = {
        "performance": 0.5,
        "counts": len(records),
        "model_name": model,
        "dataset_name": "aime",
        "split": "test",
        "demo": False,
        "records": records,
        **changes,
    }
    (place / f"aime-test-{model}-{name}.json").write_text(json.dumps(document))


def test_llmrouterbench_takes_the_newest_run(tmp_path):
    run(tmp_path, "flagship", [0.0, 0.0], name="20240101_000000")
    run(tmp_path, "flagship", [1.0, 0.5])
    run(tmp_path, "local", [0.0, None], cost=0.0)
    run(tmp_path, "shown", [1.0, 1.0], demo=True)
    assert format_of(tmp_path) == format_of(tmp_path / "bench") == "llmrouterbench"
    (tmp_path / "models.json").write_text(
        json.dumps([{"model": "local", "price_in_per_mtok": 1, "price_out_per_mtok": 2}])
    )
    outcomes = read(tmp_path)
    assert outcomes.texts == ["Query 1", "Query 2"]
    assert outcomes.prompt_ids == ["aime/test/1", "aime/test/2"]
    np.testing.assert_array_equal(outcomes.scores, np.array([[1, 0], [0.5, np.nan]], dtype=np.float32))
    np.testing.assert_allclose(outcomes.costs[0], [0.002, 25e-6])
    notes = said(outcomes)
    assert notes["runs: the same model has a newer run on the same split"] == 1
    assert notes["runs: they are marked as a demonstration"] == 1
    assert notes["recorded costs: a run whose every cost is 0 recorded none"] == 2


def test_a_clone_of_another_benchmark_is_not_taken_for_runs(tmp_path):
    place = tmp_path / "config" / "eval_config" / "zero-shot"
    place.mkdir(parents=True)
    (place / "AIME.json").write_text('{"metric": "exact"}')
    assert recognise(tmp_path) is None


def test_llmrouterbench_names_a_bad_record(tmp_path):
    run(tmp_path, "flagship", [1.0, 7.0])
    with pytest.raises(OutcomesError, match=r"\.json row 1: score 7 is not in \[0, 1\]"):
        read(tmp_path)
    run(tmp_path, "flagship", [], records=[{"index": 1}])
    with pytest.raises(OutcomesError, match="row 0: 'score' is missing"):
        read(tmp_path)


def arena(index, question, score, model="org/m"):
    return {
        "global_index": index,
        "question": question,
        "llm_selected": model,
        "generated_answer": "…",
        "token_usage": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120},
        "success": True,
        "evaluation_result": None
        if score is None
        else {"score": score, "metric": "m", "inference_cost": 3e-4},
    }


def test_routerarena(tmp_path):
    cached = tmp_path / "cached_results"
    cached.mkdir()
    (tmp_path / "model_cost").mkdir()
    prices = {"org/n": {"input_token_price_per_million": 1.0, "output_token_price_per_million": 5.0}}
    (tmp_path / "model_cost" / "model_cost.json").write_text(json.dumps(prices))
    lines = [arena("AIME_1", "Q1", 1.0), arena("ArcMMLU_2", "Q2", 0.25), arena("AIME_3", "Q3", None)]
    (cached / "org_m.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    line = arena("AIME_1", "Q1, worded otherwise", 0.0, "org/n")
    line["evaluation_result"].pop("inference_cost")
    (cached / "org_n.jsonl").write_text(json.dumps(line))
    assert format_of(tmp_path) == format_of(cached) == "routerarena"
    outcomes = read(tmp_path)
    assert (outcomes.prompt_ids, outcomes.datasets) == (["AIME_1", "ArcMMLU_2"], ["AIME", "ArcMMLU"])
    np.testing.assert_array_equal(outcomes.scores, np.array([[1, 0], [0.25, np.nan]], dtype=np.float32))
    np.testing.assert_allclose(outcomes.costs[0], [3e-4, (100 * 1 + 20 * 5) / 1e6])
    notes = said(outcomes)
    assert notes["outcomes: they have no score"] == 1
    assert notes["other wordings of a prompt: the first that was read is its text"] == 1


def test_v0_jsonl(tmp_path):
    (tmp_path / "prompt_dict.json").write_text(json.dumps({"math_1": "One", "math_2": "Two"}))
    line = {"id": 1, "score": -0.4, "type": "test_query", "model": "Q", "step": 16, "dataset": "math"}
    lines = [line, {**line, "id": 2, "score": 1.0, "step": 64}, {**line, "id": 9}]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "context.jsonl").write_text(json.dumps({**line, "score": 0.0}))
    assert format_of(tmp_path) == format_of(tmp_path / "train.jsonl") == "v0_jsonl"
    outcomes = read(tmp_path)
    assert outcomes.model_names == ["Q@step16", "Q@step64"]
    np.testing.assert_allclose(outcomes.scores, [[0.4, np.nan], [np.nan, 1.0]])  # the mean of .3 and .5
    assert said(outcomes)["outcomes: their prompt is not among the prompts"] == 1
    (tmp_path / "context.jsonl").write_text(json.dumps({**line, "score": 3}))
    with pytest.raises(OutcomesError, match=r"context\.jsonl row 0: score 3\.0 is not in \[-1, 1\]"):
        read(tmp_path)


def test_routereval_is_the_union_of_its_pools(tmp_path):
    def pool(models, scores):
        parts = ("train", "val", "test")
        data = {f"{part}_score": scores[i : i + 1] for i, part in enumerate(parts)}
        return {"model": models, "data": data}

    document = {
        "prompt": {"train_prompt": ["T"], "val_prompt": ["V"], "test_prompt": np.array(["E"])},
        "embedding": {"train_embed": np.zeros((1, 4))},
        "easy": {3: {"all_strong": pool(["m", "n"], np.array([[1, 0], [1, 1], [0, 1]]))}},
        "hard": {10: {"all_weak": pool(["n", "o"], np.array([[0, 1], [1, 0], [1, 1]]))}},
    }
    path = tmp_path / "arc_router_dataset.pkl"
    path.write_bytes(pickle.dumps(document))
    assert format_of(path) == format_of(tmp_path) == "routereval"
    outcomes = read(path)
    assert outcomes.texts == ["T", "V", "E"]
    np.testing.assert_array_equal(
        outcomes.scores, np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]], dtype=np.float32)
    )
    document["prompt"]["val_prompt"] = ["V", "one too many"]
    path.write_bytes(pickle.dumps(document))
    with pytest.raises(OutcomesError, match=r"val_score has shape \(1, 2\), expected \(2, 2\)"):
        read(path)
    path.write_bytes(pickle.dumps({"prompt": {}}))
    with pytest.raises(OutcomesError, match="has no prompt"):
        read(path)


def test_bad_csv_is_named_by_file_and_row(tmp_path):
    path = tmp_path / "mmlu_x.csv"
    path.write_bytes(b"prompt,m,n\nfine,True,False\nbad \xff byte,True,True\n")
    with pytest.raises(OutcomesError, match=r"mmlu_x\.csv row 1: cannot be read as CSV"):
        read(path)
    path.write_text("prompt,m,n\nfine,True,False\nshort,True\n")
    with pytest.raises(OutcomesError, match=r"mmlu_x\.csv row 1"):
        read(path)
    path.write_text("prompt,m,n\nfine,True,False\nodd,maybe,True\n")
    with pytest.raises(OutcomesError, match="row 1: score 'maybe' is not a number"):
        read(path)


def test_a_csv_that_was_cut_off_inside_quotes_is_named(tmp_path):
    """arrow would take the end of the file for a closing quote, and what is left of the text for the text."""
    path = tmp_path / "mmlu_x.csv"
    path.write_text('prompt,m,n\n"one, two",1,0\n"3"" pipe",0,1\n')
    assert read(path).texts == ["one, two", '3" pipe']
    path.write_text('prompt,m,n\n"one",1,0\n4" pipe,0,1\n')  # odd, and no quote is open
    assert read(path).texts == ["one", '4" pipe']
    path.write_text('m,n,prompt\n1,0,one\n0,1,"the quick bro')
    with pytest.raises(OutcomesError, match=r"mmlu_x\.csv row 1: ends inside quotes"):
        read(path)


def test_a_column_that_is_there_twice_is_named(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("prompt_id,model_name,label,label,prompt\n1,m,1,0,One\n")
    with pytest.raises(OutcomesError, match=r"train\.csv: has two columns called label"):
        read(path)


def test_rows_are_those_of_the_file_where_prompts_repeat(tmp_path):
    """EmbedLLM has a row for each model: a prompt's first is all that is looked at."""
    path = tmp_path / "train.csv"
    rows = [f"{prompt},{model},1,Text {prompt}" for prompt in "abc" for model in "mno"]
    path.write_text("\n".join(["prompt_id,model_name,label,prompt", *rows[:7], "c,x,1,Another", *rows[7:]]))
    with pytest.raises(OutcomesError, match=r"row 7: prompt 'c' came before with another text"):
        read(path)
    path.write_text("\n".join(["prompt_id,model_name,label,prompt", *rows[:7], ",x,1,Text c"]))
    with pytest.raises(OutcomesError, match=r"row 7: prompt_id is missing"):
        read(path)


def test_bad_json_is_named_by_file_and_row(tmp_path):
    (tmp_path / "prompt_dict.json").write_text('{"math_1": "One"}')
    path = tmp_path / "train.jsonl"
    path.write_bytes(b'{"id": 1}\n')
    with pytest.raises(OutcomesError, match=r"train\.jsonl row 0: 'dataset' is missing"):
        read(path)
    path.write_bytes(b"\n\n[1]\n")
    with pytest.raises(OutcomesError, match="row 2: is not a JSON object"):
        read(path)
    path.write_bytes(b'{"id": "\xff"}\n')
    with pytest.raises(OutcomesError, match="row 0: is not JSON in UTF-8"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(OutcomesError, match="is empty"):
        read(path)
