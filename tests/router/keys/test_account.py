from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ModelNotAllowed, QuotaSpent, RateLimited
from router.keys.account import Account, Admission, Clock
from router.keys.limits import Limits
from router.keys.spending import Sum
from router.store.rows import KeyRow


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 1_800_000_000.0
        self.clock = Clock(lambda: self.now, lambda: self.now)


def account(**limits):
    return Account(KeyRow(1, "ci", 0.0, limits=Limits(**limits)))


def enter(account, time):
    admission = Admission(account, time.clock)
    admission.enter()
    return admission


def test_only_so_many_are_under_way_at_a_time():
    time, key = Time(), account(concurrent=2)
    first, _ = enter(key, time), enter(key, time)
    with pytest.raises(RateLimited, match="2 requests under way at a time") as caught:
        enter(key, time)
    assert caught.value.headers["retry-after"] == "1"
    first.leave()
    first.leave()
    enter(key, time)
    with pytest.raises(RateLimited):
        enter(key, time)


def test_the_wait_for_the_next_request_is_told():
    time, key = Time(), account(requests_per_minute=2)
    enter(key, time)
    time.now += 20
    enter(key, time)
    with pytest.raises(RateLimited) as caught:
        enter(key, time)
    headers = caught.value.headers
    assert (headers["retry-after"], headers["retry-after-ms"]) == ("40", "40000")
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert caught.value.envelope()["error"]["code"] == "rate_limit_exceeded"
    assert caught.value.status == 429
    time.now += 40
    enter(key, time)


def test_tokens_are_counted_as_they_may_be_and_then_as_they_are():
    time, key = Time(), account(tokens_per_minute=1000)
    first = enter(key, time)
    first.reserve(900, 0)
    second = enter(key, time)
    with pytest.raises(RateLimited, match="1000 tokens a minute"):
        second.reserve(200, 0)
    first.settle(Sum(1, 50, 50, 0.0), time.now)
    first.leave()
    second.reserve(200, 0)
    assert second.headers()["x-ratelimit-remaining-tokens"] == "700"


def test_a_request_that_never_fits_is_not_worth_another_try():
    time, key = Time(), account(tokens_per_minute=1000)
    with pytest.raises(RateLimited, match="this request needs 1200") as caught:
        enter(key, time).reserve(1200, 0)
    assert caught.value.headers["x-should-retry"] == "false"
    assert "retry-after" not in caught.value.headers


def test_a_spent_budget_says_when_it_begins_anew_and_not_to_try_again():
    time, key = Time(), account(day_usd=1.0)
    admission = enter(key, time)
    admission.reserve(10, 0.9)
    admission.settle(Sum(1, 1, 1, 1.2), time.now)
    admission.leave()
    with pytest.raises(QuotaSpent, match="1 USD a day, of which 0 USD are left") as caught:
        enter(key, time)
    error = caught.value.envelope()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert caught.value.headers["x-should-retry"] == "false"
    time.now += int(caught.value.headers["retry-after"])
    enter(key, time)


def test_a_budget_is_not_spent_twice_by_requests_under_way():
    time, key = Time(), account(total_usd=1.0)
    enter(key, time).reserve(1, 0.6)
    with pytest.raises(QuotaSpent, match=r"this request may cost 0\.6"):
        enter(key, time).reserve(1, 0.6)


def test_whoever_leaves_without_a_bill_gives_back_what_was_set_aside():
    time, key = Time(), account(total_usd=1.0, tokens_per_minute=100)
    admission = enter(key, time)
    admission.reserve(100, 1.0)
    admission.leave()
    assert key.left_usd(time.now) == 1.0
    assert key.tokens.used(time.now) == 0
    assert key.under_way == 0


def test_a_model_that_the_key_may_not_ask_is_refused():
    admission = Admission(account(models=("gpt-*",)), Time().clock)
    admission.allow("gpt-4o")
    with pytest.raises(ModelNotAllowed) as caught:
        admission.allow("sage")
    assert (caught.value.status, caught.value.code) == (403, "model_not_allowed")


@given(
    requests=st.lists(st.tuples(st.floats(0.01, 0.4), st.floats(0, 1)), min_size=1, max_size=60),
    under_way=st.integers(1, 6),
)
def test_a_budget_holds_when_replies_cost_at_most_what_was_reserved(requests, under_way):
    time, key = Time(), account(total_usd=2.0)
    open_ = []
    for reserved, share in requests:
        try:
            admission = enter(key, time)
        except QuotaSpent:
            break
        try:
            admission.reserve(1, reserved)
        except QuotaSpent:
            admission.leave()
            continue
        open_.append((admission, reserved * share))
        if len(open_) >= under_way:
            done, cost = open_.pop(0)
            done.settle(Sum(1, 0, 0, cost), time.now)
            done.leave()
    for done, cost in open_:
        done.settle(Sum(1, 0, 0, cost), time.now)
        done.leave()
    assert key.spending.sum("total", time.now).cost_usd <= 2.0 + 1e-9
    assert key.under_way == 0
