from __future__ import annotations

from benchmarks.latency import PARTS, measure


async def test_a_decision_is_timed_by_part_with_every_backbone_on_the_same_prompts():
    found = await measure(fleets=(2,), contexts=(16,), requests=3, backbones=("fp32", "auto"))
    assert [each.computed.split(" ")[0] for each in found] == ["fp32", "auto"]
    for each in found:
        assert (each.fleet, each.rows) == (2, 16)
        assert set(each.p50) == set(PARTS)
        assert 0 < each.p50["backbone"] <= each.p50["total"] <= each.p95["total"]
        assert each.per_second > 1
