"""What a trainer asks before rollouts and tells after them. httpx and NumPy, no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from router.client import Outcome, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from router.client import Client, Progress

MOST = 1024  # prompts and outcomes of one request
WHOLE = Sample(size=512)  # of a buffer: a prompt's own outcomes are among them as long as they are there


class GatewayValues:
    """
    V0 behind a gateway, reading a named policy's buffer; before its first report every prompt is worth ½.

    `router.schedule.own.Values`, of any number of prompts at once. `progress` is called as `Client.predict` does, for
    all prompts of one call together. Raises as `Client`.
    """

    def __init__(self, client: Client, policy: str, progress: Progress | None = None) -> None:
        self._client, self._policy, self._progress = client, policy, progress
        self._known = any(each.id == policy for each in client.policies())

    def predict(self, prompts: Sequence[str]) -> list[float]:
        """As `Values`; V0 reads the whole buffer."""
        if not self._known:
            return [0.5] * len(prompts)
        values: list[float] = []
        for i in range(0, len(prompts), MOST):
            progress = self._after(i, len(prompts))
            piece = prompts[i : i + MOST]
            values += self._client.predict(piece, self._policy, sample=WHOLE, progress=progress).values
        return values

    def report(self, prompts: Sequence[str], rates: Sequence[float], counts: Sequence[int]) -> None:
        """As `Values`; prompts without rollouts are left out."""
        outcomes = [
            Outcome(prompt, float(rate))
            for prompt, rate, count in zip(prompts, rates, counts, strict=True)
            if count
        ]
        for i in range(0, len(outcomes), MOST):
            self._client.report(self._policy, outcomes[i : i + MOST])
            self._known = True

    def _after(self, before: int, total: int) -> Progress | None:
        told = self._progress
        return None if told is None else lambda done, _: told(before + done, total)
