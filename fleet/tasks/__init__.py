"""Tasks that can be checked: procedural families in seven domains, difficulty 1 to 5, written as people write.

The same seed gives the same tasks, and more tasks with the same seed begin with the fewer. The three splits never
share a problem, in whatever wording: a hash of the problem decides its side.

    >>> generate(2, seed=1, split="test", families=["sums"])[0].domain
    'arithmetic'
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from types import MappingProxyType

from fleet.tasks import algebra, arithmetic, code, dates, logic, lookup, text, units
from fleet.tasks.task import Draft, Family, Owner, Split, Task, owner, side

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for domain in (arithmetic, algebra, text, dates, units, code, logic, lookup)
        for family in domain.FAMILIES
    }
)
DOMAINS: tuple[str, ...] = tuple(dict.fromkeys(family.domain for family in FAMILIES.values()))
DIFFICULTIES = (1, 2, 3, 4, 5)
_TRIES = 80  # draws before a repeated problem is accepted: a small family may have no fresh one left

__all__ = ["DIFFICULTIES", "DOMAINS", "FAMILIES", "Draft", "Family", "Split", "Task", "generate", "stream"]


def generate(n: int, seed: int, split: Split, families: Iterable[str] | None = None) -> list[Task]:
    """
    `n` tasks of one split, evenly over families and difficulties; no prompt twice while a family has another.

    `families` are names in FAMILIES; without them, all. Raises KeyError for a name that is none.
    """
    owned, chosen = owner(split), _named(families)
    rng = Random(f"{seed} {owned} {' '.join(family.name for family in chosen)}")
    seen: set[str] = set()
    cells = _cells(rng, chosen, DIFFICULTIES)
    return [_task(_fresh(rng, *cell, owned, seen), *cell) for cell, _ in zip(cells, range(n), strict=False)]


def stream(
    seed: int,
    split: Split = "train",
    families: Iterable[str] | None = None,
    difficulties: Sequence[int] = DIFFICULTIES,
) -> Iterator[Task]:
    """
    Tasks of one split without end, evenly over families and difficulties: what a language model is trained on.

    It remembers nothing, so it is cheap, and small families repeat themselves. Raises as `generate`.
    """
    owned, chosen = owner(split), _named(families)
    rng = Random(f"stream {seed} {owned} {' '.join(family.name for family in chosen)} {list(difficulties)}")
    return (_task(_owned(rng, *cell, owned), *cell) for cell in _cells(rng, chosen, difficulties))


def _named(families: Iterable[str] | None) -> list[Family]:
    return [FAMILIES[name] for name in (FAMILIES if families is None else families)]


def _cells(
    rng: Random, families: Sequence[Family], difficulties: Sequence[int]
) -> Iterator[tuple[Family, int]]:
    """Pairs of family and difficulty without end: each once, shuffled, then all anew."""
    cells = [(family, difficulty) for family in families for difficulty in difficulties]
    while cells:
        yield from rng.sample(cells, len(cells))


def _owned(rng: Random, family: Family, difficulty: int, split: Owner) -> Draft:
    for _ in range(10 * _TRIES):
        draft = family.draw(rng, difficulty)
        if side(family.name, draft.key) == split:
            return draft
    raise ValueError(f"{family.name} draws no problem of the {split} split at difficulty {difficulty}")


def _fresh(rng: Random, family: Family, difficulty: int, split: Owner, seen: set[str]) -> Draft:
    """A problem that was not drawn before; where none is found, at least a new wording."""
    repeated = None
    for _ in range(_TRIES):
        draft = family.draw(rng, difficulty)
        key = f"{family.name} {draft.key}"
        if draft.prompt in seen or side(family.name, draft.key) != split:
            continue
        if key not in seen:
            seen.update((key, draft.prompt))
            return draft
        repeated = draft
    draft = repeated or _owned(rng, family, difficulty, split)
    seen.add(draft.prompt)
    return draft


def _task(draft: Draft, family: Family, difficulty: int) -> Task:
    return Task(
        draft.prompt, draft.answer, draft.verifier, family.name, family.domain, difficulty, draft.steps
    )
