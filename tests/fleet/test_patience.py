"""Deadlines of a call: first byte, silence, total; and what the breaker hears of them."""

from __future__ import annotations

import asyncio

import pytest

from fleet.breaker import Breakers, BreakerSettings
from fleet.errors import UpstreamError
from fleet.fleet import Fleet
from fleet.model import Model, Prices, Timeouts
from fleet.upstream import Reply

PATIENT = {"connect": 1.0, "read": 5.0, "first_byte": 5.0, "total": 5.0}


class Slow:
    """An upstream that waits before its headers, and before each of its chunks."""

    def __init__(self, headers=0.0, chunks=(0.0, 0.0)):
        self.headers, self.chunks, self.closed = headers, chunks, 0

    async def chat(self, model, body):
        await asyncio.sleep(self.headers)

        async def content():
            for seconds in self.chunks:
                await asyncio.sleep(seconds)
                yield b"x"

        async def close():
            self.closed += 1

        return Reply(200, {}, content(), close)

    async def aclose(self):
        pass


def fleet_of(upstream, own=None, **timeouts):
    model = Model("m", "openai/m", Prices(0, 0), timeouts=own)
    patience = Timeouts(**{**PATIENT, **timeouts})
    return Fleet([model], {"openai_compatible": upstream}, patience, Breakers(BreakerSettings(failures=5)))


async def read(fleet):
    reply = await fleet.chat("m", {})
    try:
        return b"".join([chunk async for chunk in reply.content])
    finally:
        await reply.aclose()


async def test_a_reply_in_time_is_read_whole():
    upstream = Slow(0.01, (0.01, 0.01))
    assert await read(fleet_of(upstream)) == b"xx"
    assert upstream.closed == 1


@pytest.mark.parametrize(
    ("upstream", "timeouts"),
    [
        (Slow(headers=5), {"first_byte": 0.02}),
        (Slow(chunks=(5,)), {"first_byte": 0.02}),
        (Slow(chunks=(0, 5)), {"read": 0.02}),
        (Slow(chunks=(0.01,) * 100), {"total": 0.05}),
    ],
    ids=["headers", "first byte", "silence", "total"],
)
async def test_whatever_takes_too_long_is_a_timeout(upstream, timeouts):
    fleet = fleet_of(upstream, **timeouts)
    with pytest.raises(UpstreamError) as caught:
        await asyncio.wait_for(read(fleet), 2)
    assert caught.value.cause == "timeout"
    assert not caught.value.repeatable  # it may be generating


async def test_a_model_may_have_timeouts_of_its_own_and_others_take_over_at_a_reload():
    impatient = Timeouts(**{**PATIENT, "first_byte": 0.02})
    with pytest.raises(UpstreamError):
        await read(fleet_of(Slow(headers=0.5), own=impatient))
    fleet = fleet_of(Slow(headers=0.05))
    assert await read(fleet) == b"xx"
    fleet.replace([Model("m", "openai/m", Prices(0, 0))], impatient)
    with pytest.raises(UpstreamError):
        await read(fleet)


async def test_the_breaker_hears_of_failures_and_of_replies_that_came_to_their_end():
    fleet = fleet_of(Slow(headers=5), first_byte=0.005)
    for _ in range(fleet.breakers.settings.failures):
        with pytest.raises(UpstreamError):
            await read(fleet)
    with pytest.raises(UpstreamError) as caught:
        await read(fleet)
    assert caught.value.cause == "resting"
    sound = fleet_of(Slow())
    for _ in range(10):
        assert await read(sound) == b"xx"
    assert sound.breakers.rest(sound.models["m"]) is None
