"""Previous-epoch and the table of `router-bench value-steps`, on a small source of checkpoints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.value_steps import _row, _table, at_step, filled, previous_epoch, where_known, with_own
from router.value.protocols import context_mean, sequential_trials, value_plainly
from tests.router.value.policy_source import policy_corpus

CORPUS = policy_corpus()
TRIALS = [
    trial for trial in sequential_trials(CORPUS.source, 64, seed=0, context=40) if trial.kind == "stale"
]


def test_previous_epoch_is_what_the_prompt_earned_at_the_step_before_and_the_others_mean():
    source = CORPUS.source
    for trial in TRIALS:
        before = source.models.index(trial.policy.family + "@step16")
        scores = source.scores.copy()
        scores[trial.queries[::2], before] = np.nan
        sparse = replace(source, scores=scores)
        earned = previous_epoch(sparse, trial)
        assert np.isnan(earned[::2]).all()
        assert np.array_equal(earned[1::2], source.scores[trial.queries[1::2], before], equal_nan=True)
        whole = filled(sparse, trial)
        others = np.setdiff1d(np.arange(len(scores)), trial.queries)
        assert np.allclose(whole[::2], np.nanmean(scores[others, before]))
        known = ~np.isnan(earned)
        assert np.array_equal(whole[known], earned[known])


def test_a_value_moves_towards_what_the_prompt_earned_before_and_stays_where_nothing_is_known():
    moved = with_own(np.array([0.2, 0.2], np.float32), np.array([0.8, np.nan], np.float32))
    assert moved.tolist() == np.array([(2 * 0.2 + 10 * 0.8) / 12, 0.2], np.float32).tolist()


def test_rows_are_of_one_step_or_of_the_queries_that_were_rolled_out_before():
    runs = [value_plainly(context_mean, CORPUS, TRIALS)] * 2
    names = [trial.policy.name for trial in TRIALS]
    assert [len(run) for run in at_step(runs, names[:1])] == [1, 1]
    known = {trial.policy.name: np.arange(len(trial.queries)) < 5 for trial in TRIALS}
    [one], _ = where_known(runs, known)
    assert len(one.values) == 5 * len(TRIALS)
    wanted = np.concatenate([each.outcomes[:5] for each in runs[0]])
    assert np.array_equal(one.outcomes, wanted)
    assert len(np.unique(one.queries)) == len(one.values)
    assert _row("stale, rolled out before", "both", "mean", where_known(runs, known)).queries == len(
        one.values
    )
    row = _row("stale", "step 64", "mean", runs)
    assert row.queries == sum(len(trial.queries) for trial in TRIALS)
    assert row.found["AUC"].mean == 0.5
    line = _table([row]).splitlines()[-1]
    assert line.startswith(f"| stale | step 64 | mean | {row.queries} | 0.500")
