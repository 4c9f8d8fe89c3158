"""Tasks that can be checked: procedural families in seven domains, difficulty 1 to 5, written as people write.

The same seed gives the same tasks, and more tasks with the same seed begin with the fewer. The two splits never
share a problem, in whatever wording: a hash of the problem decides its side.

    >>> generate(2, seed=1, split="test", families=["sums"])[0].domain
    'arithmetic'
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from types import MappingProxyType

from fleet.tasks import algebra, arithmetic, code, logic, lookup, measures, text
from fleet.tasks.task import Draft, Family, Split, Task, side

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.name: family
        for domain in (arithmetic, algebra, text, measures, code, logic, lookup)
        for family in domain.FAMILIES
    }
)
DOMAINS: tuple[str, ...] = tuple(dict.fromkeys(family.domain for family in FAMILIES.values()))
DIFFICULTIES = (1, 2, 3, 4, 5)
_TRIES = 200  # draws before a repeated problem is accepted: a small family may have no fresh one left

__all__ = ["DIFFICULTIES", "DOMAINS", "FAMILIES", "Draft", "Family", "Split", "Task", "generate"]


def generate(n: int, seed: int, split: Split, families: Iterable[str] | None = None) -> list[Task]:
    """
    `n` tasks of one split, evenly over families and difficulties.

    `families` are names in FAMILIES; without them, all. Raises KeyError for a name that is none.
    """
    chosen = [FAMILIES[name] for name in (FAMILIES if families is None else families)]
    rng = Random(f"{seed} {split} {' '.join(family.name for family in chosen)}")
    tasks: list[Task] = []
    seen: set[str] = set()
    cells: list[tuple[Family, int]] = []
    while len(tasks) < n:
        if not cells:
            cells = [(family, difficulty) for family in chosen for difficulty in DIFFICULTIES]
            rng.shuffle(cells)
        family, difficulty = cells.pop()
        draft = _fresh(rng, family, difficulty, split, seen)
        seen.add(f"{family.name} {draft.key}")
        tasks.append(Task(draft.prompt, draft.answer, draft.verifier, family.name, family.domain, difficulty))
    return tasks


def _fresh(rng: Random, family: Family, difficulty: int, split: Split, seen: set[str]) -> Draft:
    owned: Draft | None = None
    for _ in range(_TRIES):
        draft = family.draw(rng, difficulty)
        if side(family.name, draft.key) == split:
            owned = draft
            if f"{family.name} {draft.key}" not in seen:
                break
    if owned is None:
        raise ValueError(f"{family.name} draws no problem of the {split} split at difficulty {difficulty}")
    return owned
