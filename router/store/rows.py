"""What the store keeps, as values: one frozen dataclass a row.

Times are Unix seconds, costs US dollars, latencies milliseconds. An embedding is stored as little-endian
float16, so a row of 1,008 numbers takes 2 kB.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from router.keys.limits import NONE as NO_LIMITS
from router.keys.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Source = Literal["feedback", "verifier", "import"]

CACHED = "cached"  # the reason of a decision whose reply came from the response cache: no model was asked

FLOAT16 = np.dtype("<f2")


@dataclass(frozen=True)
class PromptRow:
    """
    The text that V0 read, as features. The same text under the same `version` is one row, whoever asks.

    `digest` is `digest_of(text)`; `text` itself is None unless the operator asked for prompts to be stored.
    `embedding` is `pack(...)`, or None when the prompt was never embedded: its outcomes teach no context.
    """

    digest: str
    version: str
    embedding: bytes | None
    text: str | None = None
    tokens: int = 0


@dataclass(frozen=True)
class CandidateRow:
    """One model as the decision saw it; `excluded` says why it could not be chosen, None if it could."""

    model: str
    value: float | None
    cost: float | None
    score: float | None
    excluded: str | None = None


@dataclass(frozen=True)
class DecisionRow:
    """One routed request, written once, after its reply ended."""

    id: str  # "dec_…"
    created_at: float
    prompt: PromptRow
    beta: float
    chosen: str
    reason: str
    propensity: float  # the probability with which the chosen model was chosen
    candidates: tuple[CandidateRow, ...]
    status: int  # what the client got; 499 when it left before the end
    completion_id: str | None = None
    target: str | None = None  # what the chosen name pointed at, such as "openai/gpt-4o"
    stream: bool = False
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    usage_estimated: bool = False  # the upstream counted nothing, so tokens and cost are our estimate
    cost_usd: float | None = None
    latency_ms: float | None = None
    first_byte_ms: float | None = None
    key_id: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    audio_input_tokens: int | None = None
    audio_output_tokens: int | None = None


@dataclass(frozen=True)
class FeedbackRow:
    """A score on its way to become an outcome of the decision that `reference` names."""

    reference: str  # a decision id or a completion id
    score: float
    source: Source
    created_at: float
    comment: str | None = None


@dataclass(frozen=True)
class OutcomeRow:
    """
    An observed success in [0, 1] of one model on one prompt.

    `revision` grows with every insert and update, over all rows: whoever has read up to a revision has missed
    nothing before it. `embedding` has shape (dim,), or (0,) when the prompt was never embedded.
    """

    id: int
    revision: int
    model: str
    score: float
    embedding: NDArray[np.float16] = field(compare=False, repr=False)
    version: str
    source: Source
    created_at: float
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_ms: float | None = None
    decision_id: str | None = None


@dataclass(frozen=True)
class KeyRow:
    """
    A caller's key; the secret itself is never stored, only its `hint`: the last characters.

    An `admin` key manages keys and sees what everybody's requests cost, and asks no model.
    """

    id: int
    name: str
    created_at: float
    revoked_at: float | None = None
    admin: bool = False
    limits: Limits = NO_LIMITS
    hint: str = ""


def digest_of(text: str) -> str:
    """The sha256 of a scored text, in hex; texts that no encoding can carry (lone surrogates) included."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def pack(embedding: NDArray[Any] | Sequence[float]) -> bytes:
    """An embedding of shape (dim,) as the store keeps it; values beyond float16 are clipped, not infinite."""
    limit = float(np.finfo(np.float16).max)
    return np.clip(np.asarray(embedding), -limit, limit).astype(FLOAT16).tobytes()


def unpack(blob: bytes | None) -> NDArray[np.float16]:
    """The embedding that `pack` wrote: shape (dim,), (0,) for None."""
    return cast("NDArray[np.float16]", np.frombuffer(blob or b"", dtype=FLOAT16))
