"""Rows to write: a decision with everything in it, and scores for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from router.store.rows import CandidateRow, DecisionRow, FeedbackRow, PromptRow, digest_of, pack

DIM = 8
VERSION = "fake-1"


def prompt(text: str = "What is 2 + 2?", *, version: str = VERSION, stored: bool = False) -> PromptRow:
    embedding = np.full(DIM, len(text) / 100)
    return PromptRow(digest_of(text), version, pack(embedding), text if stored else None, tokens=len(text))


def decision(name: str = "dec_1", *, text: str = "What is 2 + 2?", **changes: Any) -> DecisionRow:
    row = DecisionRow(
        id=name,
        created_at=1000.5,
        prompt=prompt(text),
        beta=0.7,
        chosen="small",
        reason="best value for its cost",
        propensity=0.9,
        candidates=(
            CandidateRow("small", 0.8, 0.001, 0.85),
            CandidateRow("large", None, None, None, "no vision"),
        ),
        status=200,
        completion_id=f"chatcmpl-{name}",
        target="replay/small",
        stream=True,
        input_tokens=12,
        output_tokens=34,
        cached_tokens=5,
        usage_estimated=True,
        cost_usd=0.002,
        latency_ms=120.5,
        first_byte_ms=20.25,
    )
    return replace(row, **changes)


def feedback(reference: str = "dec_1", score: float = 1.0, **changes: Any) -> FeedbackRow:
    return replace(FeedbackRow(reference, score, "feedback", created_at=2000.0), **changes)
