"""A key as it is shown, by `router keys show` and over HTTP: what it may do, what it has spent; never its secret."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from router.keys.spending import SPANS, Spending

if TYPE_CHECKING:
    from router.store.rows import KeyRow


def shown(key: KeyRow, spending: Spending, now: float) -> dict[str, Any]:
    """A key with its limits, its spending by day, month and in all, and its budgets as they stand."""
    return {
        "name": key.name,
        "hint": f"…{key.hint}" if key.hint else None,
        "admin": key.admin,
        "created_at": key.created_at,
        "revoked_at": key.revoked_at,
        "expired": key.limits.expired(now),
        "limits": key.limits.to_json(),
        "spent": {span: _sums(spending, span, now) for span in SPANS},
        "budgets": [
            {
                "span": each.span,
                "limit_usd": each.limit_usd,
                "spent_usd": each.spent_usd,
                "reserved_usd": each.reserved_usd,
                "left_usd": max(0.0, each.left_usd),
                "resets_at": each.resets_at,
            }
            for each in spending.budgets(key.limits, now)
        ],
    }


def _sums(spending: Spending, span: Any, now: float) -> dict[str, float]:
    total = spending.sum(span, now)
    return {
        "requests": total.requests,
        "input_tokens": total.input_tokens,
        "output_tokens": total.output_tokens,
        "cost_usd": total.cost_usd,
    }
