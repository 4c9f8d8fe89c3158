from __future__ import annotations

from benchmarks.crash import crash


async def test_an_outcome_that_was_acknowledged_survives_kill_9_of_the_whole_gateway():
    found = await crash(after_s=1.5, clients=8)
    assert found.acknowledged > 10
    assert found.found == found.acknowledged
    assert found.integrity == "ok"
