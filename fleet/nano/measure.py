"""How good the nano fleet is: accuracy by model, domain and difficulty, and what a perfect router could get of it."""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from fleet.nano.engine import Engine
from fleet.nano.sampling import Sampling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fleet.nano.batching import Piece
    from fleet.nano.engine import NanoModel
    from fleet.tasks import Task

    Grade = Callable[[str, str, str], float]  # verifier, reply, answer → success


@dataclass(frozen=True)
class Reply:
    """What a model said to a task: its success in [0, 1], the mean over samples, and its mean number of tokens."""

    success: float
    tokens: float


@dataclass(frozen=True)
class Measured:
    """Replies by model, one a task; and every model's parameters."""

    tasks: Sequence[Task]
    replies: Mapping[str, Sequence[Reply]]
    parameters: Mapping[str, int]

    def accuracy(self, model: str, keep: Callable[[Task], bool] = lambda _: True) -> float:
        """Mean success of a model over the tasks to keep."""
        pairs = zip(self.tasks, self.replies[model], strict=True)
        return fmean(reply.success for task, reply in pairs if keep(task))

    def cost(self, model: str) -> float:
        """Eq. 56: parameters over the largest model's, times the mean number of tokens."""
        ratio = self.parameters[model] / max(self.parameters.values())
        return ratio * fmean(reply.tokens for reply in self.replies[model])

    def oracle(self, keep: Callable[[Task], bool] = lambda _: True) -> float:
        """Mean success when every task goes to the model that does it best."""
        best = (max(row, key=lambda reply: reply.success) for row in zip(*self.replies.values(), strict=True))
        return fmean(one.success for task, one in zip(self.tasks, best, strict=True) if keep(task))

    @property
    def best(self) -> str:
        """The model with the highest accuracy."""
        return max(self.replies, key=self.accuracy)

    @property
    def cheapest(self) -> str:
        """The model with the lowest cost."""
        return min(self.replies, key=self.cost)


def measure(
    models: Mapping[str, NanoModel],
    tasks: Sequence[Task],
    grade: Grade,
    *,
    samples: int = 1,
    temperature: float = 0.0,
    advance: Callable[[str], None] = lambda _: None,
) -> Measured:
    """Let every model answer every task `samples` times. `advance` hears of every model that is done."""
    replies = {}
    with Engine(models, most_rows=64) as engine:
        for name in models:
            replies[name] = _answers(engine, name, tasks, grade, samples, temperature)
            advance(name)
    return Measured(tasks, replies, {name: m.network.shape.parameters() for name, m in models.items()})


def _answers(
    engine: Engine, name: str, tasks: Sequence[Task], grade: Grade, samples: int, temperature: float
) -> list[Reply]:
    pieces: dict[tuple[int, int], Piece] = {}
    ended = threading.Semaphore(0)
    chat = engine.models[name].chat
    by_length = sorted(
        ((chat.encode([("user", task.prompt)]), row) for row, task in enumerate(tasks)),
        key=lambda p: len(p[0]),
    )

    def keep(place: tuple[int, int]) -> Callable[[Piece], None]:
        def deliver(piece: Piece) -> None:
            pieces[place] = piece
            ended.release()

        return deliver

    for prompt, row in by_length:
        for sample in range(samples):
            sampling = Sampling(temperature=temperature, seed=row)
            most = engine.models[name].window
            engine.submit(name, prompt, most, sampling, keep((row, sample)), choice=sample)
    for _ in range(len(tasks) * samples):
        ended.acquire()
    return [
        _graded(task, [pieces[row, sample] for sample in range(samples)], grade)
        for row, task in enumerate(tasks)
    ]


def _graded(task: Task, said: list[Piece], grade: Grade) -> Reply:
    if any(piece.failed for piece in said):
        raise RuntimeError("the engine failed; its log says why")
    success = fmean(grade(task.verifier, piece.text, task.answer) for piece in said)
    return Reply(success, fmean(piece.tokens for piece in said))


def table(measured: Measured) -> str:
    """Markdown: accuracy in percent by model, domain and difficulty, cheapest first; the oracle below."""
    domains = list(dict.fromkeys(task.domain for task in measured.tasks))
    levels = sorted({task.difficulty for task in measured.tasks})
    columns: dict[str, Callable[[Task], bool]] = {"all": lambda _: True}
    columns |= {domain: lambda task, d=domain: task.domain == d for domain in domains}  # type: ignore[misc]
    columns |= {str(level): lambda task, n=level: task.difficulty == n for level in levels}  # type: ignore[misc]
    lines = [
        f"| model | parameters | tokens | cost | {' | '.join(columns)} |",
        f"|---|{'---:|' * (len(columns) + 3)}",
    ]
    best: dict[str, float] = defaultdict(float)
    rows = {
        name: {column: measured.accuracy(name, keep) for column, keep in columns.items()}
        for name in sorted(measured.replies, key=measured.cost)
    }
    for column in columns:
        best[column] = max(row[column] for row in rows.values())
    for name, row in rows.items():
        cells = [f"**{v:.1%}**" if v == best[c] else f"{v:.1%}" for c, v in row.items()]
        tokens = fmean(reply.tokens for reply in measured.replies[name])
        parameters = f"{measured.parameters[name]:,}"
        lines.append(
            f"| {name} | {parameters} | {tokens:.1f} | {measured.cost(name):.3f} | {' | '.join(cells)} |"
        )
    oracle = " | ".join(f"{measured.oracle(keep):.1%}" for keep in columns.values())
    return "\n".join([*lines, f"| oracle | | | | {oracle} |"])


def verdict(measured: Measured) -> str:
    """How far apart oracle, best single and cheapest are."""
    best, cheapest = measured.best, measured.cheapest
    top, low, oracle = measured.accuracy(best), measured.accuracy(cheapest), measured.oracle()
    return (
        f"best single {best} {top:.1%}, {100 * (top - low):+.1f} points on the cheapest {cheapest} {low:.1%}; "
        f"oracle {oracle:.1%}, {100 * (oracle - top):+.1f} points on the best single"
    )
