"""Sixteen cheap facts about a prompt's form, read off its text.

A frozen sentence embedding says what a prompt is about; how hard it is shows partly in its form: length,
numbers, code, mathematics, options to choose from. Scales are fixed, so that the same text always gives the
same row.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

WIDTH = 16

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_OPTION = re.compile(r"(?m)^\s*\(?[A-J][).:]\s")
_LATEX = re.compile(r"\\[a-zA-Z]+|\$[^$]+\$")
_CODE = re.compile(r"```|\bdef |\breturn\b|\bclass |\bimport |[{};]\s*$|==|->|\(\)", re.MULTILINE)
_WORD = re.compile(r"\w+")
_REASON = re.compile(r"(?i)\b(why|explain|prove|derive|how many|how much|calculate|compute|step by step)\b")
_READ = 20_000  # characters; a longer prompt's form shows in its beginning


def structure(texts: Sequence[str]) -> NDArray[np.float32]:
    """The facts of each text: (B, 16), each about zero-centred with unit-like scale, within ±4."""
    rows = np.array([_facts(text) for text in texts], dtype=np.float32).reshape(len(texts), WIDTH)
    return rows.clip(-4, 4)


def _facts(text: str) -> list[float]:
    total = len(text)
    text = text[:_READ]
    length = max(1, len(text))
    numbers = _NUMBER.findall(text)
    words = _WORD.findall(text)
    digits = sum(map(str.isdigit, text)) / length
    capitals = sum(map(str.isupper, text)) / length
    foreign = sum(ord(character) > 127 for character in text) / length
    marks = sum(not (character.isalnum() or character.isspace()) for character in text) / length
    longest = max((len(number) for number in numbers), default=0)
    return [
        (math.log1p(total) - 5.5) / 1.5,
        (math.log1p(len(words)) - 4.0) / 1.5,
        (sum(map(len, words)) / max(1, len(words)) - 4.8) / 1.5,
        10 * digits - 0.3,
        10 * capitals - 0.5,
        3 * foreign - 0.1,
        10 * marks - 0.5,
        math.log1p(text.count("\n")) - 1,
        math.log1p(len(numbers)) - 1,
        math.log1p(longest) - 1,
        math.log1p(len(_OPTION.findall(text))) - 0.5,
        math.log1p(len(_LATEX.findall(text))) - 0.3,
        math.log1p(len(_CODE.findall(text))) - 0.3,
        math.log1p(text.count("?")) - 0.7,
        math.log1p(len(_REASON.findall(text))) - 0.3,
        len(set(words)) / max(1, len(words)) * 3 - 2.3,
    ]
