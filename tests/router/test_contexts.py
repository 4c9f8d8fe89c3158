"""Contexts: what the store has seen becomes what V0 reads, and nothing of it is ever half swapped."""

from __future__ import annotations

import asyncio
import time
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from router import contexts as contexts_module
from router.contexts import Contexts, History, cost_weighted_labels, normalised_costs
from router.store.batch import write_batch
from router.store.engine import open_store
from router.store.rows import OutcomeRow, pack
from tests.router.store.rows import DIM, VERSION, decision, feedback, prompt

NAN = float("nan")


class FakeValues:
    """A context is the mean of its labels; remembers what it was asked to fit."""

    version = VERSION
    dim = DIM

    def __init__(self) -> None:
        self.fitted: list[list[float]] = []
        self.together = 0
        self.broken = False
        self.busy = False
        self.seconds = 0.0

    async def fit_fleet(self, histories):
        self.together += 1
        return [await self.fit(*history) for history in histories]

    async def fit_amounts(self, histories):
        return [len(amounts) for _, amounts in histories]

    async def fit(self, embeddings, labels, beside=None):
        self.busy = True
        await asyncio.sleep(self.seconds)
        self.busy = False
        if self.broken:
            raise RuntimeError("out of memory")
        assert embeddings.shape == (len(labels), DIM)
        assert embeddings.dtype == labels.dtype == np.float32
        self.fitted.append(labels.tolist())
        return float(labels.mean()) if len(labels) else None


@pytest.fixture
def engine(tmp_path):
    engine = open_store(f"sqlite:///{tmp_path}/router.db")
    yield engine
    engine.dispose()


@pytest.fixture
def values():
    return FakeValues()


@pytest.fixture
async def opened(engine, values):
    """Builds and starts Contexts that look at the store only when told to, and closes them."""
    living = []

    async def start(*models, **options):
        contexts = Contexts(engine, values, models, **{"poll_every_s": 3600, "rest_s": 0, **options})
        await contexts.start()
        living.append(contexts)
        return contexts

    yield start
    for contexts in living:
        await contexts.aclose()


def observe(engine, name, score, model="small", **changes):
    """One outcome of one decision, in the store."""
    write_batch(engine, [decision(name, text=name, chosen=model, **changes)], [feedback(name, score)])


def read_by(contexts):
    return {name: each.context for name, each in contexts.current.capabilities.items()}


async def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never became true"
        await asyncio.sleep(0.005)


# β·r + (1-β)·(1-c̃), by hand


def weigh(beta, scores, costs, scale):
    return cost_weighted_labels(np.array(scores, np.float32), np.array(costs), beta, scale)


def test_beta_1_is_success_at_any_price():
    np.testing.assert_array_equal(weigh(1.0, [0.0, 1.0, 0.25], [0.1, 9.0, NAN], 2.0), [0.0, 1.0, 0.25])


def test_beta_0_is_cheapness_whatever_the_success():
    # c̃ = 0.25, 1, and a cost beyond the scale counts as the scale
    np.testing.assert_allclose(weigh(0.0, [0.0, 1.0, 1.0], [0.5, 2.0, 8.0], 2.0), [0.75, 0.0, 0.0])


def test_labels_between_are_both_in_proportion():
    # .7·1 + .3·(1-.25) = .925;  .7·.5 + .3·(1-.5) = .5
    np.testing.assert_allclose(weigh(0.7, [1.0, 0.5], [0.5, 1.0], 2.0), [0.925, 0.5])


def test_labels_stay_real_valued():
    """The published code rounds them at 0.5, and then every β > 0.5 says the same."""
    assert weigh(0.6, [1.0], [2.0], 2.0)[0] == pytest.approx(0.6)
    assert weigh(0.9, [1.0], [2.0], 2.0)[0] == pytest.approx(0.9)


def test_a_row_of_unknown_cost_counts_with_the_models_mean_cost():
    # mean of .5 and 1.5 is 1.0: c̃ = .5
    np.testing.assert_allclose(weigh(0.0, [1.0, 1.0, 1.0], [0.5, 1.5, NAN], 2.0), [0.75, 0.25, 0.5])


def test_a_model_of_unknown_cost_counts_with_half_the_scale():
    np.testing.assert_allclose(weigh(0.0, [1.0], [NAN], 2.0), [0.5])


def test_nothing_is_dear_where_nothing_has_cost_anything():
    np.testing.assert_array_equal(weigh(0.5, [1.0, 0.0], [0.0, NAN], 0.0), [1.0, 0.5])
    np.testing.assert_array_equal(normalised_costs(np.array([0.0, 1.0]), 0.0), [0.0, 0.0])


# histories


def outcome(number, score=1.0, **changes):
    row = OutcomeRow(
        number, number, "small", score, np.full(DIM, number, np.float16), VERSION, "feedback", 0.0
    )
    return replace(row, **changes)


def test_a_history_keeps_the_newest_ids_in_order():
    history = History.empty(DIM).merged([outcome(3), outcome(1)], 3).merged([outcome(4), outcome(2)], 3)
    assert history.ids.tolist() == [2, 3, 4]
    assert history.embeddings[:, 0].tolist() == [2, 3, 4]
    assert history.embeddings.dtype == np.float16


def test_the_last_row_of_an_id_replaces_those_before_it():
    history = History.empty(DIM).merged([outcome(1, 0.0), outcome(2, 0.0)], 9)
    changed = history.merged([outcome(1, 0.3), outcome(1, 0.5, cost_usd=2.0, output_tokens=7)], 9)
    assert changed.scores.tolist() == [0.5, 0.0]
    assert (changed.costs[0], changed.output_tokens[0]) == (2.0, 7)
    assert np.isnan(changed.costs[1])
    assert history.scores.tolist() == [0.0, 0.0]


def test_a_changed_row_older_than_the_history_stays_out():
    history = History.empty(DIM).merged([outcome(5), outcome(6)], 2)
    assert history.merged([outcome(4, 0.0)], 2).ids.tolist() == [5, 6]


# contexts


async def test_at_the_start_every_model_is_there_with_what_the_store_knows(engine, values, opened):
    observe(engine, "dec_1", 1.0, cost_usd=0.002, output_tokens=10)
    observe(engine, "dec_2", 0.0, cost_usd=0.004, output_tokens=30)
    observe(engine, "dec_3", 0.5, model="large", cost_usd=None, output_tokens=None)
    observe(engine, "dec_4", 1.0, model="retired")
    contexts = await opened("small", "large", "new")
    small, large, new = contexts.current.capabilities.values()
    assert (small.model, small.context, small.rows, small.mean_score) == ("small", 0.5, 2, 0.5)
    assert (small.mean_cost, small.mean_output_tokens) == (pytest.approx(0.003), 20)
    assert (large.context, large.rows, large.mean_cost, large.mean_output_tokens) == (0.5, 1, None, None)
    assert (new.context, new.rows, new.mean_score, new.mean_cost) == (None, 0, None, None)
    assert contexts.current.cost_scale == pytest.approx(0.003)


async def test_the_start_reads_no_more_rows_than_the_contexts_hold(engine, values, opened):
    write_batch(
        engine, [decision(f"dec_{i}") for i in range(50)], [feedback(f"dec_{i}", i / 50) for i in range(50)]
    )
    fetched = []
    read = contexts_module.newest_outcomes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            contexts_module, "newest_outcomes", lambda *args: fetched.append(read(*args)) or fetched[-1]
        )
        contexts = await opened("small", context_size=10)
    assert [len(rows) for rows in fetched] == [10]
    np.testing.assert_allclose(contexts.current.capabilities["small"].history.scores, np.arange(40, 50) / 50)


@pytest.fixture
def settled(monkeypatch):
    """A fleet that outgrows its reading only when its models change."""
    monkeypatch.setattr("router.contexts.OUTGROWN", 100)


async def test_a_fleet_is_read_together_again_when_a_tenth_is_new_or_the_models_are_others(
    engine, values, opened
):
    for number in range(20):
        observe(engine, f"dec_{number}", number % 2)
        observe(engine, f"dec_l{number}", 1.0, model="large")
    contexts = await opened("small", "large")
    assert (values.together, contexts.current.reading) == (1, 1)
    values.fitted.clear()
    for number in range(4):  # a tenth of forty rows is not outgrown yet
        observe(engine, f"dec_n{number}", 1.0)
        await contexts.refresh()
    assert (values.together, len(values.fitted)) == (1, 4)
    observe(engine, "dec_n4", 1.0)
    await contexts.refresh()
    assert (values.together, contexts.current.reading) == (2, 2)
    contexts.follow(["small", "large", "new"])
    await contexts.refresh()
    assert (values.together, contexts.current.reading) == (3, 3)


async def test_lengths_are_read_with_the_fleet_and_stay_while_models_are_read_beside_it(
    engine, opened, settled
):
    for number in range(20):
        observe(engine, f"dec_{number}", number % 2)
        observe(engine, f"dec_l{number}", 1.0, model="large")
    contexts = await opened("small", "large")
    observe(engine, "dec_n", 1.0)
    await contexts.refresh()
    small = contexts.current.capabilities["small"]
    assert (small.rows, small.lengths) == (21, 20)
    contexts.follow(["small", "large", "new"])
    await contexts.refresh()
    assert [contexts.current.capabilities[name].lengths for name in ("small", "large", "new")] == [21, 20, 0]


async def test_lengths_that_cannot_be_read_leave_the_fleet_read_together(engine, values, opened, monkeypatch):
    async def fails(histories):
        raise RuntimeError("singular")

    monkeypatch.setattr(values, "fit_amounts", fails)
    observe(engine, "dec_1", 1.0)
    contexts = await opened("small", "large")
    small = contexts.current.capabilities["small"]
    assert (values.together, contexts.current.reading) == (1, 1)
    assert (small.context, small.rows, small.lengths) == (1.0, 1, None)


async def test_a_fleet_that_cannot_be_read_together_is_read_model_by_model_and_that_is_said_once(
    engine, values, opened, monkeypatch, caplog
):
    async def fails(histories):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(values, "fit_fleet", fails)
    observe(engine, "dec_1", 0.0)
    observe(engine, "dec_2", 1.0, model="large")
    contexts = await opened("small", "large")
    assert read_by(contexts) == {"small": 0.0, "large": 1.0}
    observe(engine, "dec_3", 1.0)
    await contexts.refresh()
    assert read_by(contexts) == {"small": 0.5, "large": 1.0}
    assert caplog.text.count("not as a fleet: RuntimeError") == 1


async def test_feedback_changes_only_its_models_context(engine, values, opened, settled):
    observe(engine, "dec_1", 0.0)
    observe(engine, "dec_2", 0.0, model="large")
    contexts = await opened("small", "large")
    before = contexts.current
    values.fitted.clear()
    observe(engine, "dec_3", 1.0)
    await contexts.refresh()
    assert read_by(contexts) == {"small": 0.5, "large": 0.0}
    assert values.fitted == [[0.0, 1.0]]
    assert contexts.current.version > before.version
    assert before.capabilities["small"].context == 0.0


async def test_a_corrected_score_changes_the_context(engine, opened):
    observe(engine, "dec_1", 0.0)
    contexts = await opened("small")
    write_batch(engine, [], [feedback("dec_1", 1.0)])
    await contexts.refresh()
    assert read_by(contexts) == {"small": 1.0}
    assert contexts.current.capabilities["small"].rows == 1


async def test_a_refresh_without_news_swaps_nothing(engine, values, opened):
    observe(engine, "dec_1", 1.0)
    contexts = await opened("small")
    before, fits = contexts.current, len(values.fitted)
    await contexts.refresh()
    assert contexts.current is before
    assert len(values.fitted) == fits


async def test_snapshots_cannot_be_changed(engine, opened):
    contexts = await opened("small")
    with pytest.raises(FrozenInstanceError):
        contexts.current.version = 9
    with pytest.raises(TypeError):
        contexts.current.capabilities["small"] = None


async def test_news_from_other_processes_are_found_by_polling(engine, opened):
    contexts = await opened("small", poll_every_s=0.02)
    observe(engine, "dec_1", 1.0)
    await until(lambda: read_by(contexts) == {"small": 1.0})


async def test_a_nudge_does_not_wait_for_the_next_poll(engine, opened):
    contexts = await opened("small")
    observe(engine, "dec_1", 1.0)
    contexts.nudge()
    await until(lambda: read_by(contexts) == {"small": 1.0})


async def test_changes_that_come_together_are_one_rebuild(engine, values, opened):
    contexts = await opened("small", rest_s=0.2)
    started = time.monotonic()
    for i in range(40):
        observe(engine, f"dec_{i}", 1.0)
        contexts.nudge()
        await asyncio.sleep(0.005)
    await until(lambda: contexts.current.capabilities["small"].rows == 40)
    assert len([labels for labels in values.fitted if labels]) <= 1 + (time.monotonic() - started) / 0.2


async def test_outcomes_of_another_version_are_left_out_and_counted(engine, opened):
    observe(engine, "dec_1", 1.0, prompt=prompt("old", version="fake-0"))
    contexts = await opened("small")
    assert contexts.stale_rows == 1
    observe(engine, "dec_2", 1.0, prompt=prompt("older", version="fake-0"))
    observe(engine, "dec_3", 1.0, prompt=replace(prompt("bare"), embedding=None))
    observe(engine, "dec_4", 1.0, prompt=replace(prompt("short"), embedding=pack([1.0])))
    observe(engine, "dec_5", 0.25)
    await contexts.refresh()
    assert contexts.stale_rows == 4
    assert read_by(contexts) == {"small": 0.25}


async def test_more_news_than_a_page_are_all_read(engine, opened, monkeypatch):
    monkeypatch.setattr(contexts_module, "PAGE", 3)
    contexts = await opened("small", "large")
    for i in range(8):
        observe(engine, f"dec_{i}", i / 8, model=("small", "large")[i % 2])
    await contexts.refresh()
    assert contexts.current.capabilities["small"].history.scores.tolist() == [0, 0.25, 0.5, 0.75]
    assert contexts.current.capabilities["large"].rows == 4


async def test_a_model_that_joins_is_there_at_once_and_learns_what_the_store_knows(engine, opened):
    observe(engine, "dec_1", 1.0, model="large")
    contexts = await opened("small")
    contexts.follow(["small", "large"])
    assert read_by(contexts) == {"small": None, "large": None}
    await contexts.refresh()
    assert read_by(contexts) == {"small": None, "large": 1.0}


async def test_a_model_that_leaves_and_returns_has_lost_nothing(engine, opened):
    observe(engine, "dec_1", 0.0)
    contexts = await opened("small", "large")
    contexts.follow(["large"])
    assert list(contexts.current.capabilities) == ["large"]
    observe(engine, "dec_2", 1.0)
    await contexts.refresh()
    assert list(contexts.current.capabilities) == ["large"]
    contexts.follow(["large", "small"])
    await contexts.refresh()
    assert read_by(contexts) == {"large": None, "small": 0.5}


async def test_a_model_that_leaves_during_a_refresh_stays_out(engine, values, opened):
    contexts = await opened("small", "large")
    observe(engine, "dec_1", 1.0)
    observe(engine, "dec_2", 1.0, model="large")
    values.seconds = 0.05
    refreshing = asyncio.create_task(contexts.refresh())
    await until(lambda: values.busy)  # with large, while small waits
    contexts.follow(["large"])
    await refreshing
    assert read_by(contexts) == {"large": 1.0}


async def test_a_failing_fit_keeps_the_old_context_and_is_tried_again(engine, values, opened):
    observe(engine, "dec_1", 0.0)
    contexts = await opened("small", poll_every_s=0.02)
    values.broken = True
    observe(engine, "dec_2", 1.0)
    await until(lambda: contexts.last_error == "RuntimeError")
    assert read_by(contexts) == {"small": 0.0}
    values.broken = False
    await until(lambda: read_by(contexts) == {"small": 0.5})
    await until(lambda: contexts.last_error is None)


async def test_polling_outlives_a_store_that_is_away(engine, opened):
    contexts = await opened("small", poll_every_s=0.02)

    def away(*_):
        raise OperationalError("SELECT", {}, Exception("gone"))

    event.listen(engine, "before_cursor_execute", away)
    await until(lambda: contexts.last_error is not None)
    event.remove(engine, "before_cursor_execute", away)
    observe(engine, "dec_1", 1.0)
    await until(lambda: read_by(contexts) == {"small": 1.0})


# weighted contexts


@pytest.fixture
async def priced(engine, opened):
    """small: right half of the time for 1 USD; large: always right for 2 USD."""
    observe(engine, "dec_1", 0.0, cost_usd=1.0)
    observe(engine, "dec_2", 1.0, cost_usd=1.0)
    observe(engine, "dec_3", 1.0, model="large", cost_usd=2.0)
    return await opened("small", "large", "new")


async def test_weighted_contexts_are_of_cost_weighted_labels(priced):
    def read(snapshot):
        return {name: each.context for name, each in snapshot.capabilities.items()}

    assert read(await priced.weighted(1.0)) == {"small": 0.5, "large": 1.0, "new": None}
    assert read(await priced.weighted(0.0)) == {"small": 0.5, "large": 0.0, "new": None}
    quarter = await priced.weighted(0.25)  # small: .25·.5 + .75·.5;  large: .25·1 + .75·0
    assert read(quarter) == {"small": 0.5, "large": 0.25, "new": None}
    assert (quarter.version, quarter.beta, quarter.cost_scale) == (priced.current.version, 0.25, 2.0)
    assert quarter.capabilities["large"].mean_score == 1.0


async def test_weighted_contexts_are_fitted_once_for_callers_together_and_betas_alike(priced, values):
    values.fitted.clear()
    values.seconds = 0.01
    first, *others = await asyncio.gather(*(priced.weighted(beta) for beta in (0.3, 0.31, 0.29, 0.3)))
    assert all(other is first for other in others)
    assert await priced.weighted(0.3) is first
    assert len(values.fitted) == 3
    assert (await priced.weighted(0.35)).beta == 0.35
    assert len(values.fitted) == 6


async def test_a_new_version_is_weighted_anew_but_only_where_it_changed(engine, settled, priced, values):
    before = await priced.weighted(0.5)
    observe(engine, "dec_4", 0.0, cost_usd=1.0)
    await priced.refresh()
    values.fitted.clear()
    after = await priced.weighted(0.5)
    assert after.version == priced.current.version > before.version
    assert after.capabilities["small"].rows == 3
    assert after.capabilities["large"] is before.capabilities["large"]
    assert len(values.fitted) == 1


async def test_a_new_cost_scale_weighs_every_model_anew(engine, priced):
    await priced.weighted(0.0)
    observe(engine, "dec_4", 1.0, model="large", cost_usd=6.0)  # now 4 USD on average
    await priced.refresh()
    after = await priced.weighted(0.0)
    assert after.cost_scale == 4.0
    assert after.capabilities["small"].context == pytest.approx(0.75)


async def test_only_the_betas_used_last_are_kept(priced, values):
    first = await priced.weighted(0.0)
    for step in range(1, contexts_module.BETAS_KEPT + 1):
        await priced.weighted(step / 20)
    assert await priced.weighted(0.0) is not first


async def test_a_caller_who_leaves_and_a_fit_that_fails_do_not_spoil_a_beta(priced, values):
    values.seconds = 0.02
    leaving = asyncio.create_task(priced.weighted(0.5))
    staying = asyncio.create_task(priced.weighted(0.5))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).beta == 0.5
    values.broken = True
    with pytest.raises(RuntimeError):
        await priced.weighted(0.9)
    values.broken = False
    assert (await priced.weighted(0.9)).beta == 0.9
