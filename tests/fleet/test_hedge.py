"""One answer of several attempts: in turn, or a second beside a slow first."""

from __future__ import annotations

import asyncio

import pytest

from fleet.hedge import first_of


class Attempts:
    """Each is (seconds, answer or exception); remembers who began, was cancelled, and was discarded."""

    def __init__(self, *plans):
        self.plans = plans
        self.begun, self.cancelled, self.discarded, self.failures = [], [], [], []

    async def _attempt(self, place):
        self.begun.append(place)
        seconds, answer = self.plans[place]
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(place)
            raise
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def run(self, hedge_after=None, hopeless=()):
        def give_up(place, error):
            self.failures.append(place)
            return place in hopeless

        async def discard(answer):
            self.discarded.append(answer)

        attempts = [lambda place=place: self._attempt(place) for place in range(len(self.plans))]
        return await first_of(attempts, give_up, discard, hedge_after)


BAD = ValueError("no")


@pytest.mark.parametrize("hedge_after", [None, 1.0])
async def test_the_next_is_tried_when_one_fails(hedge_after):
    attempts = Attempts((0, BAD), (0, "yes"), (0, "never"))
    assert await attempts.run(hedge_after) == (1, "yes")
    assert (attempts.begun[:2], attempts.failures) == ([0, 1], [0])


@pytest.mark.parametrize("hedge_after", [None, 1.0])
async def test_none_when_all_have_failed_and_nobody_after_a_hopeless_one(hedge_after):
    assert await Attempts((0, BAD), (0, BAD)).run(hedge_after) is None
    hopeless = Attempts((0, BAD), (0, "never asked"))
    assert await hopeless.run(hedge_after, hopeless=(0,)) is None
    assert hopeless.begun == [0]


async def test_a_slow_one_gets_company_the_first_answer_wins_and_the_loser_is_cancelled():
    attempts = Attempts((30, "slow"), (0.01, "quick"), (0, "third"))
    assert await attempts.run(0.02) == (1, "quick")
    assert attempts.begun == [0, 1]
    assert attempts.cancelled == [0]


async def test_a_quick_one_has_no_company():
    attempts = Attempts((0.001, "quick"), (0, "unneeded"))
    assert await attempts.run(5.0) == (0, "quick")
    assert attempts.begun == [0]


async def test_without_hedging_a_slow_one_is_waited_for():
    attempts = Attempts((0.05, "slow"), (0, "quick"))
    assert await attempts.run(None) == (0, "slow")


async def test_two_answers_at_once_leave_none_open():
    attempts = Attempts((0.03, "first"), (0.0, "second"))
    won = await attempts.run(0.03)
    kept = {won[1], *attempts.discarded} | {attempts.plans[place][1] for place in attempts.cancelled}
    assert kept >= {attempts.plans[place][1] for place in attempts.begun}


async def test_whoever_waits_and_is_cancelled_takes_both_along():
    attempts = Attempts((30, "a"), (30, "b"))
    task = asyncio.create_task(attempts.run(0.005))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(attempts.cancelled) == [0, 1]
