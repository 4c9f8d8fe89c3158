"""What every database must do with support buffers. Inherit `PolicyContract` beside `StoreContract`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from router.store import policies
from router.store.errors import StoreUnavailable
from router.store.policies import SupportRow, TooManyPolicies, add_support, list_policies, read_support
from router.store.rows import pack

if TYPE_CHECKING:
    from sqlalchemy import Engine


def rows(*numbers: float, step: int | None = None, version: str = "v1") -> list[SupportRow]:
    """Rows whose embedding and reward is their number / 100."""
    return [SupportRow(version, pack([number / 100] * 3), number / 100, step) for number in numbers]


def numbers(engine: Engine, name: str) -> list[int]:
    buffer = read_support(engine, name, "v1")
    assert buffer is not None
    return np.rint(buffer.rewards * 100).astype(int).tolist()


class PolicyContract:
    def test_a_buffer_returns_its_rows_in_their_order(self, engine: Engine) -> None:
        added = add_support(engine, "run", rows(3, 1, 2), capacity=10)
        buffer = read_support(engine, "run", "v1")
        assert buffer is not None
        assert buffer.revision == added.revision == policies.revision_of(engine, "run")
        assert buffer.embeddings.tolist() == np.float16([[0.03] * 3, [0.01] * 3, [0.02] * 3]).tolist()
        assert buffer.rewards.tolist() == np.float32([0.03, 0.01, 0.02]).tolist()
        assert (added.size, added.step, added.mean_reward) == (3, 0, pytest.approx(0.02))

    def test_beyond_its_capacity_the_first_rows_leave(self, engine: Engine) -> None:
        add_support(engine, "run", rows(1, 2, 3), capacity=4)
        assert add_support(engine, "run", rows(4, 5), capacity=4).size == 4
        assert numbers(engine, "run") == [2, 3, 4, 5]
        add_support(engine, "run", rows(*range(10, 20)), capacity=4)
        assert numbers(engine, "run") == [16, 17, 18, 19]

    def test_rows_are_ordered_by_step_however_they_arrive(self, engine: Engine) -> None:
        add_support(engine, "run", rows(7, step=7), capacity=3)
        add_support(engine, "run", rows(2, step=2) + rows(9, step=9) + rows(3, step=3), capacity=3)
        assert numbers(engine, "run") == [3, 7, 9]

    def test_a_row_without_step_is_of_the_latest(self, engine: Engine) -> None:
        add_support(engine, "run", rows(7, step=7), capacity=9)
        assert add_support(engine, "run", rows(8), capacity=9).step == 7
        assert numbers(engine, "run") == [7, 8]

    def test_policies_share_nothing(self, engine: Engine) -> None:
        add_support(engine, "b", rows(1, 2), capacity=2)
        add_support(engine, "a", rows(3), capacity=2)
        assert [(each.name, each.size) for each in list_policies(engine)] == [("a", 1), ("b", 2)]
        assert policies.delete_policy(engine, "b")
        assert [each.name for each in list_policies(engine)] == ["a"]
        assert numbers(engine, "a") == [3]
        assert read_support(engine, "b", "v1") is None
        assert policies.revision_of(engine, "b") is None
        assert not policies.delete_policy(engine, "b")

    def test_every_change_is_another_revision_a_new_start_included(self, engine: Engine) -> None:
        seen = {add_support(engine, "run", rows(1), capacity=2).revision for _ in range(2)}
        policies.delete_policy(engine, "run")
        seen.add(add_support(engine, "run", rows(1), capacity=2).revision)
        assert len(seen) == 3

    def test_rows_of_another_version_are_not_read(self, engine: Engine) -> None:
        add_support(engine, "run", rows(1, version="v0") + rows(2), capacity=5)
        assert numbers(engine, "run") == [2]
        nothing = read_support(engine, "run", "v2")
        assert nothing is not None
        assert len(nothing.rewards) == len(nothing.embeddings) == 0

    def test_a_refused_row_leaves_nothing_behind(self, engine: Engine) -> None:
        with pytest.raises(StoreUnavailable, match=r"CHECK|23514"):
            add_support(engine, "run", rows(1, 200), capacity=5)
        assert list_policies(engine) == []

    def test_policies_are_bounded(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(policies, "MOST_POLICIES", 2)
        for name in ("a", "b", "a"):
            add_support(engine, name, rows(1), capacity=5)
        with pytest.raises(TooManyPolicies, match="delete one"):
            add_support(engine, "c", rows(1), capacity=5)
        assert [each.name for each in list_policies(engine)] == ["a", "b"]
