"""The circuit breaker: when it opens, who may probe, and what closes it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.breaker import Breakers, BreakerSettings
from fleet.errors import UpstreamError
from fleet.model import Model, Prices

MODEL = Model("m", "openai/m", Prices(1, 1))
DOWN = UpstreamError("m", "status", 503)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breakers(clock):
    return Breakers(BreakerSettings(failures=3, rest_s=10, longest_rest_s=40), clock)


def fail(breakers, times=1, error=DOWN):
    for _ in range(times):
        breakers.visit(MODEL).failed(error)


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not(breakers):
    fail(breakers, 2)
    breakers.visit(MODEL).succeeded()
    fail(breakers, 2)
    assert breakers.rest(MODEL) is None
    fail(breakers)
    assert breakers.rest(MODEL).why == "resting"
    with pytest.raises(UpstreamError) as caught:
        breakers.visit(MODEL)
    assert (caught.value.cause, caught.value.retry_after) == ("resting", 10)
    assert caught.value.retryable


def test_after_its_rest_one_request_probes_and_the_others_wait(breakers, clock):
    fail(breakers, 3)
    clock.now = 10.1
    assert breakers.rest(MODEL) is None
    probe = breakers.visit(MODEL)
    assert breakers.rest(MODEL) is not None
    with pytest.raises(UpstreamError):
        breakers.visit(MODEL)
    probe.began()  # the first content is enough
    assert breakers.rest(MODEL) is None
    fail(breakers, 2)
    assert breakers.rest(MODEL) is None  # it starts from nothing


def test_a_failed_probe_doubles_the_rest_up_to_the_longest(breakers, clock):
    fail(breakers, 3)
    rests = []
    for _ in range(4):
        rests.append(breakers.rest(MODEL).seconds)
        clock.now += rests[-1] + 0.01
        fail(breakers)
    assert rests == pytest.approx([10, 20, 40, 40])


def test_a_prober_who_leaves_makes_room_for_another(breakers, clock):
    fail(breakers, 3)
    clock.now = 11
    breakers.visit(MODEL).left()
    assert breakers.rest(MODEL) is None
    breakers.visit(MODEL).succeeded()
    assert breakers.rest(MODEL) is None


@pytest.mark.parametrize(
    "error",
    [
        UpstreamError("m", "status", 400),
        UpstreamError("m", "status", 422),
        UpstreamError("m", "status", 400, body=b'{"error": {"code": "context_length_exceeded"}}'),
    ],
)
def test_the_requests_own_fault_says_nothing_against_the_upstream(breakers, error):
    fail(breakers, 2)
    fail(breakers, 5, error)
    fail(breakers, 2)
    assert breakers.rest(MODEL) is None


def test_an_upstream_that_says_when_to_come_back_is_left_alone_until_then(breakers, clock):
    fail(breakers, 1, UpstreamError("m", "status", 429, {"retry-after": "7"}))
    rest = breakers.rest(MODEL)
    assert (rest.why, rest.seconds) == ("limited", 7)
    assert str(rest) == "has asked to be left alone, for 7 s more"
    with pytest.raises(UpstreamError) as caught:
        breakers.visit(MODEL)
    assert (caught.value.cause, caught.value.retry_after) == ("limited", 7)
    clock.now = 7
    assert breakers.rest(MODEL) is None
    fail(breakers, 1, UpstreamError("m", "status", 503, {"retry-after": "100000"}))
    assert breakers.rest(MODEL).seconds == 40  # not for ever


def test_a_reply_that_breaks_off_counts_although_it_began(breakers):
    for _ in range(3):
        visit = breakers.visit(MODEL)
        visit.began()
        visit.failed(UpstreamError("m", "cut"))
        visit.left()  # what closing the reply says afterwards changes nothing
    assert breakers.rest(MODEL).why == "resting"


def test_without_failures_to_count_it_never_opens(clock):
    breakers = Breakers(BreakerSettings(failures=0), clock)
    fail(breakers, 100)
    assert breakers.rest(MODEL) is None


def test_a_changed_model_begins_anew_and_one_that_stays_keeps_its_record(breakers):
    fail(breakers, 3)
    breakers.keep([MODEL], breakers.settings)
    assert breakers.rest(MODEL) is not None
    breakers.keep([], breakers.settings)
    assert breakers.rest(MODEL) is None


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail", "leave", "limit"]), st.floats(0, 30)), max_size=60))
def test_it_never_stays_shut_for_ever_and_admits_one_probe_at_a_time(steps):
    clock = Clock()
    breakers = Breakers(BreakerSettings(failures=2, rest_s=5, longest_rest_s=20), clock)
    for what, passes in steps:
        clock.now += passes
        if breakers.rest(MODEL) is not None:
            continue
        visit = breakers.visit(MODEL)
        match what:
            case "ok":
                visit.succeeded()
            case "fail":
                visit.failed(DOWN)
            case "leave":
                visit.left()
            case "limit":
                visit.failed(UpstreamError("m", "status", 429, {"retry-after": "30"}))
    clock.now += 20.1
    assert breakers.rest(MODEL) is None
