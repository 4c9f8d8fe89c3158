"""What a trainer asks a gateway; the fake value model's value is the mean reward of the context's rows."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from router.client import Client
from router.trainers.values import GatewayValues

ROOT = Path(__file__).parents[3]


async def test_a_gateway_is_asked_and_told(serve):
    def use(url):
        with Client(url) as gateway:
            values = GatewayValues(gateway, "run")
            assert values.predict(["a", "b"]) == [0.5, 0.5]
            values.report(["a", "b", "c"], [1.0, 0.5, float("nan")], [4, 4, 0])
            assert values.predict(["c"]) == [0.75]
            assert GatewayValues(gateway, "run").predict(["c"]) == [0.75]

    async with serve() as (url, _):
        await asyncio.to_thread(use, url)


async def test_the_whole_buffer_is_read_and_requests_stay_within_their_bounds(serve):
    def use(url):
        with Client(url) as gateway:
            told = []
            values = GatewayValues(gateway, "run", lambda done, total: told.append((done, total)))
            prompts = [f"{i} + 1?" for i in range(1300)]
            values.report(prompts, [0.0] * 1044 + [1.0] * 256, [1] * 1300)
            assert gateway.policies()[0].size == 512
            assert values.predict(prompts) == pytest.approx([0.5] * 1300, abs=1e-5)
            assert told == [(0, 1300), (1024, 1300), (1024, 1300), (1300, 1300)]  # all were embedded before

    async with serve() as (url, _):
        await asyncio.to_thread(use, url)


def test_a_trainer_of_ones_own_needs_no_torch():
    code = "import sys, router.trainers.values, router.schedule.own; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
