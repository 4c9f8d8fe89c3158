from __future__ import annotations

import pytest

from fleet.errors import UnknownModel
from fleet.fleet import Fleet
from fleet.model import Model, Prices
from fleet.upstream import Reply

FREE = Prices(0, 0)
SAGE = Model("sage", "replay/sage", FREE)
GPT = Model("gpt", "openai/gpt-4o", FREE)
CLAUDE = Model("claude", "anthropic/claude-haiku-4-5", FREE)


class Recorder:
    """An upstream that remembers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, object]] = []
        self.closed = 0

    async def chat(self, model, body):
        self.asked.append((model.name, body))
        return Reply(200, {}, self._nothing())

    async def _nothing(self):
        yield b""

    async def aclose(self):
        self.closed += 1


@pytest.fixture
def upstreams():
    return {"replay": Recorder(), "openai_compatible": Recorder(), "litellm": Recorder()}


async def test_each_model_is_called_by_its_providers_upstream(upstreams):
    fleet = Fleet([SAGE, GPT, CLAUDE], upstreams)
    body = {"messages": []}
    for name in fleet.models:
        await fleet.chat(name, body)
    assert {kind: recorder.asked for kind, recorder in upstreams.items()} == {
        "replay": [("sage", body)],
        "openai_compatible": [("gpt", body)],
        "litellm": [("claude", body)],
    }


async def test_a_name_the_fleet_lacks_is_an_error_that_lists_the_others(upstreams):
    with pytest.raises(UnknownModel) as caught:
        await Fleet([SAGE, GPT], upstreams).chat("gtp", {})
    assert caught.value.known == ("sage", "gpt")


async def test_replacing_the_models_keeps_the_upstreams(upstreams):
    fleet = Fleet([SAGE], upstreams)
    before = fleet.models
    fleet.replace([GPT, CLAUDE])
    await fleet.chat("gpt", {})
    with pytest.raises(UnknownModel):
        await fleet.chat("sage", {})
    assert list(before) == ["sage"]
    assert list(fleet.models) == ["gpt", "claude"]
    assert all(recorder.closed == 0 for recorder in upstreams.values())


def test_the_models_cannot_be_changed_from_outside(upstreams):
    with pytest.raises(TypeError):
        Fleet([SAGE], upstreams).models["x"] = GPT


def test_two_models_of_one_name_are_refused(upstreams):
    with pytest.raises(ValueError, match="same name"):
        Fleet([SAGE, SAGE], upstreams)


async def test_closing_closes_every_upstream(upstreams):
    await Fleet([], upstreams).aclose()
    assert [recorder.closed for recorder in upstreams.values()] == [1, 1, 1]


async def test_a_reply_is_closed_once():
    closed = []

    async def close():
        closed.append(1)

    reply = Reply(200, {}, Recorder()._nothing(), close)
    await reply.aclose()
    await reply.aclose()
    assert closed == [1]
