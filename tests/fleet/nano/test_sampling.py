from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import torch

from fleet.nano.sampling import Sampling, draw, score

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
SHARES = torch.softmax(LOGITS[0], 0)


def drawn(rule, count=4000):
    rng = Random(0)
    tokens = draw(LOGITS.expand(count, 4), [rule] * count, [rng.random() for _ in range(count)])
    return {token: times / count for token, times in Counter(tokens).items()}


def test_temperature_zero_takes_the_likeliest():
    assert drawn(Sampling(temperature=0), 50) == {0: 1}


def test_temperature_one_draws_by_the_models_probabilities():
    shares = drawn(Sampling())
    assert [shares[token] for token in range(4)] == pytest.approx(SHARES.tolist(), abs=0.03)


def test_higher_temperature_is_flatter():
    assert drawn(Sampling(temperature=2))[3] > drawn(Sampling(temperature=0.5)).get(3, 0) + 0.03


@pytest.mark.parametrize(("top_p", "kept"), [(0.5, {0}), (0.7, {0, 1}), (0.95, {0, 1, 2}), (1e-9, {0})])
def test_top_p_keeps_the_fewest_tokens_that_reach_it(top_p, kept):
    assert set(drawn(Sampling(top_p=top_p))) == kept


def test_every_row_has_its_own_rules():
    rules = [Sampling(temperature=0), Sampling(), Sampling(top_p=0.5)]
    assert draw(LOGITS.expand(3, 4), rules, [0.999, 0.999, 0.999]) == [0, 3, 0]


def test_luck_at_its_ends_stays_inside_the_vocabulary():
    assert draw(LOGITS.expand(2, 4), [Sampling()] * 2, [0.0, 1 - 2**-53]) == [0, 3]


def test_a_seed_and_choice_decide_the_luck():
    one, same, other = (Sampling(seed=7).luck(choice).random() for choice in (0, 0, 1))
    assert one == same != other
    assert Sampling().luck().random() != Sampling().luck().random()


def test_scores_are_the_models_own_whatever_the_temperature():
    scored = score(LOGITS[0], 2, 2)
    assert scored.logprob == pytest.approx(float(SHARES[2].log()))
    assert [token for token, _ in scored.top] == [0, 1]
    assert score(LOGITS[0], 2, 0).top == ()
