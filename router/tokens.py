"""
How many tokens a prompt has: counted by a real tokenizer, then corrected for each model by what it reported.

The tokenizer is OpenAI's o200k. Other models' tokenizers are not public or not worth their memory; what their
replies report, divided by our count, tells how theirs differs. Until the tokenizer has loaded, and for tokens
inside images, numbers are estimates.
"""

from __future__ import annotations

import asyncio
import logging
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tiktoken import Encoding

logger = logging.getLogger(__name__)

ENCODING: Final = "o200k_base"
CHARACTERS_PER_TOKEN: Final = 4
AT_ONCE: Final = 16_384  # characters: more is counted in a thread
WORTH_LEARNING: Final = 64  # tokens: of fewer, a template's own tokens are too large a part
STEP: Final = 0.1  # how far a new report moves what is known
PLAUSIBLE: Final = (0.5, 4.0)


def estimated_tokens(characters: int) -> int:
    """Tokens of so many characters, rounded up."""
    return -(-characters // CHARACTERS_PER_TOKEN)


class TokenCounter:
    """Counts tokens of text; `load` first, or it estimates."""

    def __init__(self) -> None:
        self._encoding: Encoding | None = None
        self._ratios: dict[str, float] = {}

    def load(self) -> None:
        """Read the vocabulary, from litellm's package where it is there: most of a second. Call it in a thread."""
        package = find_spec("litellm")
        if package is not None and package.origin is not None:
            folder = Path(package.origin).parent / "litellm_core_utils" / "tokenizers"
            os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(folder))
        try:
            import tiktoken

            self._encoding = tiktoken.get_encoding(ENCODING)
        except Exception as error:  # no file and no network: routing goes on with estimates
            logger.warning(
                "no tokenizer (%s): tokens are estimated as a quarter of the characters", type(error).__name__
            )

    @property
    def exact(self) -> bool:
        """Whether it counts."""
        return self._encoding is not None

    def now(self, texts: Sequence[str]) -> int:
        """Tokens of some texts together."""
        if self._encoding is None:
            return sum(estimated_tokens(len(text)) for text in texts)
        return sum(len(self._encoding.encode_ordinary(text)) for text in texts)

    async def count(self, texts: Sequence[str]) -> int:
        """The same; a long text does not keep the event loop."""
        if self._encoding is None or sum(map(len, texts)) <= AT_ONCE:
            return self.now(texts)
        return await asyncio.to_thread(self.now, texts)

    def of_model(self, model: str, tokens: int) -> int:
        """What so many tokens of ours are to a model, rounded."""
        return round(tokens * self._ratios.get(model, 1.0))

    def learn(self, model: str, tokens: int, reported: int) -> None:
        """A reply to a prompt of `tokens` by our count reported another number."""
        if tokens < WORTH_LEARNING or reported <= 0 or self._encoding is None:
            return
        low, high = PLAUSIBLE
        seen = min(high, max(low, reported / tokens))
        known = self._ratios.get(model)
        self._ratios[model] = seen if known is None else known + STEP * (seen - known)
