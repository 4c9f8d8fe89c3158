"""What of some outcomes V0's weights were trained on: they are not judged on it.

A checkpoint names the models that it was trained on and keeps a fingerprint of every prompt, so that any data is
checked by its content, whatever its file is called. Every other router learns from the training part alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from benchmarks.outcomes import Outcomes


class NothingUnseenError(OutcomesError):
    """The weights have seen too much of these outcomes to be judged on what is left; the message says of what."""


@dataclass(frozen=True)
class Familiar:
    """True where V0 was trained on the prompt, or on the model, of P prompts by M models."""

    prompts: NDArray[np.bool_]  # (P,)
    models: NDArray[np.bool_]  # (M,)

    @classmethod
    def none(cls, outcomes: Outcomes) -> Familiar:
        """Nothing was seen."""
        return cls(np.zeros(len(outcomes.texts), dtype=bool), np.zeros(len(outcomes.models), dtype=bool))


def familiar(outcomes: Outcomes, weights: Path | None = None) -> Familiar:
    """
    What weights (default: the shipped ones) were trained on. Raises `CheckpointError`.

    A model counts where some of its prompts are familiar too: the same name on other prompts is another history.
    """
    from router.value.checkpoint import load
    from router.value.corpus import fingerprints

    checkpoint = load(weights)
    prompts = np.isin(fingerprints(outcomes.texts), checkpoint.trained_on)
    if not prompts.any():
        return Familiar.none(outcomes)
    # validation models chose between weights: they are no longer new either
    known = {
        *(name for names in checkpoint.training["models"].values() for name in names),
        *(name for held in checkpoint.training["held"].values() for name in held["validation_models"]),
    }
    return Familiar(prompts, np.array([name in known for name in outcomes.model_names]))
