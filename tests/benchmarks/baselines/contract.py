"""What every router promises. A test class for each inherits this one and says how the router is made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.baselines.base import cost_scale
from benchmarks.baselines.registry import REGISTRY
from tests.benchmarks.baselines.worlds import blank

KNOWN = [0, 1, 2, 3]  # models that a router is fitted on, where others are added
ADDED = [4, 5]


class RouterContract:
    """Shapes, ranges, gaps and fleets, for references and learned routers."""

    registered = True

    @pytest.fixture(scope="class")
    @classmethod
    def make(cls):
        """A function that makes the router, unfitted."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def seen_world(cls, topical_world):
        """The world as the router sees it."""
        return topical_world

    @pytest.fixture(scope="class")
    @classmethod
    def fitted(cls, make, seen_world):
        """The router, fitted once for all tests that only read it."""
        router = make()
        router.fit(seen_world.train, seen_world.validation, seed=0)
        return router

    def test_it_is_in_the_registry_under_its_name(self, make):
        router = make()
        if self.registered:
            assert type(REGISTRY[router.name]()) is type(router)
            assert REGISTRY[router.name]().name == router.name
        assert isinstance(router.learns, bool)

    def test_every_pair_has_a_value_and_every_model_a_cost(self, fitted, seen_world):
        prediction = fitted.predict(seen_world.test.queries)
        check(prediction, len(seen_world.test.texts), len(seen_world.test.models))

    def test_one_prompt_is_valued_as_among_others(self, fitted, seen_world):
        if fitted.name == "random":
            pytest.skip("chance knows no prompt")
        alone = fitted.predict(seen_world.test.take([3]).queries)
        among = fitted.predict(seen_world.test.queries)
        np.testing.assert_allclose(alone.success[0], among.success[3], atol=1e-4)

    @pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
    def test_each_prompt_gets_one_model_of_the_fleet(self, fitted, seen_world, beta):
        scale = cost_scale(seen_world.train)
        prediction = fitted.predict(seen_world.test.queries)
        assert is_choice(fitted.route(prediction, beta, scale), len(seen_world.test.texts), 6)
        of_two = prediction.take([4, 1])
        check(of_two, len(seen_world.test.texts), 2)
        assert is_choice(fitted.route(of_two, beta, scale), len(seen_world.test.texts), 2)

    def test_the_order_of_a_fleet_does_not_matter(self, fitted, seen_world):
        prediction = fitted.predict(seen_world.test.queries)
        scale = cost_scale(seen_world.train)
        turned = 5 - fitted.route(prediction.take([5, 4, 3, 2, 1, 0]), 0.7, scale)
        same = turned == fitted.route(prediction, 0.7, scale)
        assert same.mean() > 0.95  # equals in value and cost may fall either way

    def test_the_same_seed_gives_the_same_router(self, make, fitted, seen_world):
        again = make()
        again.fit(seen_world.train, seen_world.validation, seed=0)
        queries = seen_world.test.queries
        np.testing.assert_allclose(again.predict(queries).success, fitted.predict(queries).success, atol=1e-6)

    def test_gaps_are_borne(self, make, seen_world):
        """Most pairs missing, one model unknown, one prompt unanswered, one model that always succeeds, no costs."""
        train = seen_world.train.take(range(80))
        scores = train.scores.copy()
        scores[np.random.default_rng(0).random(scores.shape) < 0.6] = np.nan
        scores[:, 1] = np.nan
        scores[7] = np.nan
        scores[:, 2] = np.where(np.isnan(scores[:, 2]), np.nan, 1.0)
        train = replace(train, scores=scores, costs=np.full_like(train.costs, np.nan))
        router = make()
        router.fit(train, blank(seen_world.validation, [1, 3]), seed=0)
        prediction = router.predict(seen_world.test.queries)
        check(prediction, len(seen_world.test.texts), 6)
        assert is_choice(router.route(prediction, 0.5, cost_scale(train)), len(seen_world.test.texts), 6)

    def test_a_validation_table_without_outcomes_is_borne(self, make, seen_world):
        router = make()
        router.fit(seen_world.train.take(range(60)), blank(seen_world.validation, list(range(6))), seed=0)
        check(router.predict(seen_world.test.queries), len(seen_world.test.texts), 6)

    def test_new_models_come_behind_the_known_ones(self, make, seen_world):
        router = make()
        router.fit(seen_world.train.take(models=KNOWN), seen_world.validation.take(models=KNOWN), seed=0)
        if not router.takes_new_models:
            with pytest.raises(TypeError, match="without being fitted again"):
                router.add_models(seen_world.train.take(models=ADDED))
            return
        queries = seen_world.test.queries
        before = router.predict(queries)
        router.add_models(seen_world.train.take(range(40), models=[4]))
        router.add_models(seen_world.train.take(range(3), models=[5]))
        after = router.predict(queries)
        check(after, len(seen_world.test.texts), 6)
        if router.name != "random":
            np.testing.assert_allclose(after.success[:, :4], before.success, atol=1e-5)
        assert is_choice(
            router.route(after, 0.5, cost_scale(seen_world.train)), len(seen_world.test.texts), 6
        )

    @pytest.mark.parametrize("rows", [0, 40])
    def test_a_new_model_may_come_without_an_outcome(self, make, seen_world, rows):
        """Beside one that has outcomes, or nobody has any and there is not even a prompt."""
        router = make()
        if not router.takes_new_models:
            pytest.skip("it is fitted again")
        router.fit(seen_world.train.take(models=KNOWN), seen_world.validation.take(models=KNOWN), seed=0)
        queries = seen_world.test.queries
        before = router.predict(queries)
        router.add_models(blank(seen_world.train.take(range(rows), models=ADDED), [1]))
        after = router.predict(queries)
        check(after, len(seen_world.test.texts), 6)
        assert is_choice(router.route(after, 0.5, 0.0), len(seen_world.test.texts), 6)
        if router.name != "random":
            np.testing.assert_allclose(after.success[:, :4], before.success, atol=1e-5)
        if not router.has_prior:
            expected = before.success.mean(axis=1)
            np.testing.assert_allclose(after.success[:, 5], expected, atol=1e-5)
            if rows == 0:
                np.testing.assert_allclose(after.success[:, 4], expected, atol=1e-5)
        elif not router.name.startswith(("random", "v0")):  # what they learnt of models in general
            known = before.success
            assert (after.success[:, 5] >= known.min(axis=1) - 0.05).all()
            assert (after.success[:, 5] <= known.max(axis=1) + 0.05).all()


class LearnedRouterContract(RouterContract):
    """A learned router finds out which model does which topic."""

    least_gain = 0.25  # above chance, of what there is to gain
    shown = 120  # outcomes of a new model

    def test_it_beats_chance_where_the_topic_decides(self, fitted, seen_world):
        assert fitted.learns
        prediction = fitted.predict(seen_world.test.queries)
        chosen = fitted.route(prediction, 1.0, cost_scale(seen_world.train))
        chances = seen_world.chances
        success = np.take_along_axis(chances, chosen[:, None], axis=1).mean()
        gain = (success - chances.mean()) / (chances.max(axis=1).mean() - chances.mean())
        assert gain > self.least_gain

    def test_it_spends_less_as_beta_falls(self, fitted, seen_world):
        prediction = fitted.predict(seen_world.test.queries)
        scale = cost_scale(seen_world.train)
        means = np.nanmean(seen_world.train.costs, axis=0)
        spent = [means[fitted.route(prediction, beta, scale)].mean() for beta in (1.0, 0.5, 0.0)]
        assert spent[2] < spent[0]
        assert spent[1] < spent[0] * 1.001

    def test_a_new_model_is_known_from_some_outcomes(self, make, seen_world):
        router = make()
        if not router.takes_new_models:
            pytest.skip("it is fitted again")
        router.fit(seen_world.train.take(models=KNOWN), seen_world.validation.take(models=KNOWN), seed=0)
        router.add_models(seen_world.train.take(range(self.shown), models=ADDED))
        success = router.predict(seen_world.test.queries).success
        for model in ADDED:
            own = seen_world.chances[:, model] > 0.5
            assert success[own, model].mean() > success[~own, model].mean() + 0.05


def check(prediction, prompts, models):
    """Shapes and ranges; nothing is NaN."""
    assert prediction.success.shape == (prompts, models)
    assert prediction.success.dtype == np.float64
    assert ((prediction.success >= 0) & (prediction.success <= 1)).all()
    assert prediction.cost.shape in ((models,), (prompts, models))
    assert (np.isfinite(prediction.cost) & (prediction.cost >= 0)).all()


def is_choice(chosen, prompts, models):
    """One column for each prompt."""
    return chosen.shape == (prompts,) and chosen.dtype == np.intp and set(chosen) <= set(range(models))
