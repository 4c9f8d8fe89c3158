from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from router.value.corpus import CorpusError, StoredStates, read_source, sample_prompts


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    prompts = {
        "prompt_id": ["a", "b", "c", "d"],
        "dataset": ["x", "x", "y", "y"],
        "text": ["A", "B", "A", "unseen"],
    }
    pd.DataFrame(prompts).to_parquet(folder / "prompts.parquet")
    outcomes = {"prompt_id": ["a", "a", "b"], "model": ["m", "n", "m"], "score": [1.0, 0.5, 0.0]}
    pd.DataFrame(outcomes).to_parquet(folder / "outcomes.parquet")
    return folder


def test_a_source_is_a_matrix_with_gaps_where_nothing_was_observed(folder):
    source = read_source(folder)
    assert source.texts == ["A", "B"]  # one text once; a prompt without outcomes is no row
    assert source.models == ["m", "n"]
    np.testing.assert_array_equal(source.scores, [[1.0, 0.5], [0.0, np.nan]])


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("score", [1.0, 1.5, 0.0], r"outcomes\.parquet row 1: score 1\.5"),
        ("prompt_id", ["a", "a", "a"], "repeated"),
    ],
)
def test_bad_outcomes_are_named_by_file_and_row(folder, column, value, message):
    frame = pd.read_parquet(folder / "outcomes.parquet")
    frame[column] = value
    frame["model"] = ["m", "n", "m"]
    frame.to_parquet(folder / "outcomes.parquet")
    with pytest.raises(CorpusError, match=message):
        read_source(folder)


def test_missing_columns_and_files_are_named(folder):
    pd.DataFrame({"prompt_id": ["a"]}).to_parquet(folder / "prompts.parquet")
    with pytest.raises(CorpusError, match=r"prompts\.parquet: missing columns dataset, text"):
        read_source(folder)
    (folder / "prompts.parquet").unlink()
    with pytest.raises(CorpusError, match="does not exist"):
        read_source(folder)


def test_sampling_is_the_same_for_the_same_seed(folder):
    source = read_source(folder)
    assert sample_prompts(source, 1, seed=3).texts == sample_prompts(source, 1, seed=3).texts
    assert sample_prompts(source, 5, seed=3) is source


def test_stored_states_come_back_padded_and_cut():
    stored = StoredStates(np.arange(12, dtype=np.float16).reshape(6, 2), np.array([0, 1, 6]))
    states, mask = stored.batch([1, 0], max_tokens=3)
    assert states.shape == (2, 3, 2)
    np.testing.assert_array_equal(mask, [[True, True, True], [True, False, False]])
    np.testing.assert_array_equal(states[0, :, 0], [2, 4, 6])
    np.testing.assert_array_equal(states[1, 1:], 0)
