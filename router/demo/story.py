"""The order of events: profile, route, picture, feedback, a sixth model."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from openai import AsyncOpenAI
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fleet.nano.commands import shipped
from fleet.tasks import FAMILIES, Task, generate
from router.demo import showing
from router.demo.asking import Answer, Line, ask, at_random, line, oracle
from router.demo.local import add_model, nano_fleet, serving, write_settings
from router.explain import explain_table
from router.probes import Probe
from router.profile import ProfileReport, profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fleet.model import Model
    from router.value.batcher import Scorer

FIVE = ("xs", "note", "maths", "clerk", "think")
SIXTH, ITS_DOMAIN = "dates", "dates and units"
BETA = 0.9  # of the settings, and of the acts after the frontier
READY_S = 120.0
LOOK_S = 0.1
ROUND = 10  # thumbs down between two looks at the decision


@dataclass(frozen=True)
class Sizes:
    """How much is sent: probes a model, held-out prompts, values of β, feedback, and for the sixth model."""

    probes: int = 250
    held_out: int = 200
    betas: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
    most_feedback: int = 80
    specialist_probes: int = 64
    specialist_prompts: int = 120


QUICK = Sizes(probes=110, held_out=66, betas=(0.0, 0.5, 0.75, 0.9, 1.0), specialist_prompts=66)


@dataclass(frozen=True)
class Frontier:
    """What the routed lines and their references measured."""

    lines: list[Line]
    references: list[Line]
    singles: list[Line]


class Story:
    """The acts, each a method; they share a gateway, two clients and a console."""

    def __init__(
        self, console: Console, url: str, settings: Path, fleet: Mapping[str, Model], seed: int, sizes: Sizes
    ) -> None:
        self._console = console
        self._url = url
        self._settings = settings
        self._fleet = fleet
        self._seed = seed
        self._sizes = sizes
        self._http = httpx.AsyncClient(base_url=url, timeout=READY_S)
        self._openai = AsyncOpenAI(base_url=f"{url}/v1", api_key="no key is needed here", timeout=READY_S)

    async def aclose(self) -> None:
        """Close both clients."""
        await self._http.aclose()
        await self._openai.close()

    async def begin(self) -> None:
        """Wait until the gateway can route."""

        async def ready() -> bool:
            return (await self._http.get("/readyz")).is_success

        with self._console.status("loading V0, the value model"):
            await _until(ready, "the gateway did not become ready")

    async def profile(self, model: str, tasks: Sequence[Task], bars: Progress) -> ProfileReport:
        """Fill a model's context: what `router profile` does."""
        bar = bars.add_task(f"profile {model}", total=len(tasks))
        report = await profile(
            self._http,
            model,
            [Probe(task.prompt, task.answer, task.verifier) for task in tasks],
            prices=self._fleet[model].prices,
            concurrency=16,
            on_graded=lambda _: bars.advance(bar),
        )
        await self._settled({model: len(report.graded)})
        return report

    async def profile_all(self) -> dict[str, ProfileReport]:
        """Profile the five, on problems that the later acts never use."""
        tasks = generate(self._sizes.probes, self._seed, "profile")
        with _bars(self._console) as bars:
            return {model: await self.profile(model, tasks, bars) for model in FIVE}

    async def frontier(self, profiled: Mapping[str, ProfileReport], out: Path) -> Frontier:
        """Route a held-out set at every β, measure the references by calling everybody, and draw it."""
        tasks = generate(self._sizes.held_out, self._seed, "test")
        routed: dict[float, list[Answer]] = {}
        with _bars(self._console) as bars:
            by_model = {
                model: await self._ask(bars, f"reference: {model}", tasks, model=model) for model in FIVE
            }
            for beta in self._sizes.betas:
                routed[beta] = await self._ask(bars, f"auto, β = {beta:g}", tasks, beta=beta)
        strongest = max(FIVE, key=lambda model: profiled[model].mean_score or 0.0)
        cheapest = min(
            FIVE, key=lambda model: (profiled[model].cost_usd or 0.0) / len(profiled[model].graded)
        )
        lines = [line(f"β = {beta:g}", answers) for beta, answers in routed.items()]
        perfect, die = line("oracle", oracle(by_model)), at_random(by_model)
        references = [
            line(f"cheapest: {cheapest}", by_model[cheapest]),
            line(f"strongest: {strongest}", by_model[strongest]),
            die,
            perfect,
        ]
        singles = [line(model, by_model[model]) for model in FIVE]
        self._console.print(showing.lines_table(lines, references, FIVE, len(tasks)))
        shown = max(beta for beta in routed if beta < 1 or len(routed) == 1)
        self._console.print(showing.domains_table(routed[shown], by_model[strongest], shown))
        drawn = out / "frontier.png"
        showing.picture(drawn, lines, {"oracle": perfect, "random": die}, singles)
        self._console.print(f"The frontier as a picture: {drawn}\n", soft_wrap=True)
        return Frontier(lines, references, singles)

    async def feedback(self) -> dict[str, Any]:
        """Thumbs down for whoever gets one kind of prompt, until such a prompt goes elsewhere."""
        family = "messages"
        prompts = generate(self._sizes.most_feedback + 1, self._seed + 1, "test", [family])
        shown, others = prompts[0], prompts[1:]
        before = await self._explain(shown.prompt)
        chosen = after = before["chosen"]
        self._console.print(Panel(shown.prompt, title="one prompt", width=100))
        self._console.print(explain_table(before))
        explained, sent = before, 0
        with _bars(self._console) as bars:
            bar = bars.add_task(f"thumbs down for {chosen}", total=len(others))
            while sent < len(others) and after == chosen:
                for answer in await ask(self._openai, others[sent : sent + ROUND], self._fleet, chosen):
                    response = await self._http.post(
                        "/v1/feedback", json={"id": answer.decision_id, "score": False}
                    )
                    response.raise_for_status()
                sent += len(others[sent : sent + ROUND])
                bars.update(bar, completed=sent)
                await asyncio.sleep(1.0)  # contexts follow within half a second
                explained = await self._explain(shown.prompt)
                after = explained["chosen"]
        self._console.print(explain_table(explained))
        outcome = f"goes to {after}" if after != chosen else f"still goes to {chosen}"
        self._console.print(
            f"After {sent} prompts of this kind whose answers by {chosen} got a thumbs down, it {outcome}. "
            "Nothing was trained or restarted.\n",
            soft_wrap=True,
        )
        return {"before": before, "after": explained, "feedback": sent}

    async def sixth(self) -> dict[str, Any]:
        """A specialist joins by one line of router.yaml while the gateway runs."""
        count = self._sizes.specialist_prompts
        inside = [name for name, family in FAMILIES.items() if family.domain == ITS_DOMAIN]
        outside = [name for name in FAMILIES if name not in inside]
        tasks = [
            *generate(count // 2, self._seed + 2, "test", inside),
            *generate(count // 2, self._seed + 2, "test", outside),
        ]
        # Half of its probes lie outside its domain: a context must show what a model cannot do as well.
        half = self._sizes.specialist_probes // 2
        probes = [
            *generate(self._sizes.specialist_probes - half, self._seed + 2, "profile", inside),
            *generate(half, self._seed + 2, "profile", outside),
        ]
        with _bars(self._console) as bars:
            before = await self._ask(bars, "before", tasks, beta=BETA)
            added = await asyncio.to_thread(add_model, self._settings, self._fleet[SIXTH])
            started = time.perf_counter()
            await _until(self._joined, f"{SIXTH} did not appear")
            await self.profile(SIXTH, probes, bars)
            seconds = time.perf_counter() - started
            after = await self._ask(bars, "after", tasks, beta=BETA)
        self._console.print(
            f"One line more in {self._settings.name}, no restart, no training:", soft_wrap=True
        )
        self._console.print(f"[dim]{added}[/dim]", soft_wrap=True)
        self._console.print(
            f"and {len(probes)} probes, half of them from its domain ({ITS_DOMAIN}); {seconds:.1f} s later:"
        )
        self._console.print(showing.joined_table(before, after, SIXTH, ITS_DOMAIN))
        return {
            "seconds": seconds,
            "before": _of_domain(before),
            "after": _of_domain(after),
            "elsewhere_before": _elsewhere(before),
            "elsewhere_after": _elsewhere(after),
        }

    async def _ask(
        self, bars: Progress, name: str, tasks: Sequence[Task], model: str = "auto", beta: float | None = None
    ) -> list[Answer]:
        bar = bars.add_task(name, total=len(tasks))
        return await ask(self._openai, tasks, self._fleet, model, beta, lambda: bars.advance(bar))

    async def _explain(self, prompt: str) -> dict[str, Any]:
        body = {
            "model": "auto",
            "messages": [{"role": "user", "content": prompt}],
            "router": {"beta": BETA},
        }
        response = await self._http.post("/v1/router/explain", json=body)
        explained: dict[str, Any] = response.raise_for_status().json()
        return explained

    async def _joined(self) -> bool:
        listed = (await self._http.get("/v1/models")).raise_for_status().json()
        return any(each["id"] == SIXTH for each in listed["data"])

    async def _settled(self, rows: Mapping[str, int]) -> None:
        """Wait until the contexts hold so many rows."""

        async def enough() -> bool:
            candidates = (await self._explain("Are the contexts there?"))["candidates"]
            held = {each["model"]: each["rows"] or 0 for each in candidates}
            return all(held.get(model, 0) >= count for model, count in rows.items())

        await _until(enough, "the contexts did not fill")


async def tell(
    console: Console,
    out: Path,
    *,
    seed: int = 0,
    sizes: Sizes | None = None,
    port: int = 0,
    models: Path | None = None,
    scorer: Scorer | None = None,
    afterwards: Callable[[str], Awaitable[None]] | None = None,
) -> dict[str, Any]:
    """
    The whole demo; returns what it measured, which it also writes to `out`/results.json.

    `models` is a folder of nano models, by default the shipped ones; `scorer` replaces V0. `afterwards` is awaited
    with the gateway's address before it ends. Raises CannotServe.
    """
    sizes = sizes or Sizes()
    started = time.perf_counter()
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="router-demo-"))
    try:
        async with _story(console, folder, models or shipped(), seed, sizes, port, scorer) as (story, url):
            console.rule("1. Profile the fleet")
            console.print(
                f"Five tiny language models try {sizes.probes} verifiable tasks each, through the gateway at {url}.",
                soft_wrap=True,
            )
            profiled = await story.profile_all()
            console.rule("2. Route prompts it has never seen, with the official OpenAI client")
            frontier = await story.frontier(profiled, out)
            console.rule("3. Feedback changes a decision")
            feedback = await story.feedback()
            console.rule("4. A sixth model joins while the gateway runs")
            sixth = await story.sixth()
            seconds = time.perf_counter() - started
            results = {
                "fleet": "nano",
                "seed": seed,
                "sizes": asdict(sizes),
                "seconds": seconds,
                "lines": [
                    asdict(each) for each in (*frontier.lines, *frontier.references, *frontier.singles)
                ],
                "feedback": feedback,
                "sixth": sixth,
            }
            (out / "results.json").write_text(json.dumps(results, indent=2) + "\n")
            console.print(f"{seconds:.0f} s in all; the numbers: {out / 'results.json'}", soft_wrap=True)
            if afterwards:
                await afterwards(url)
            return results
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


@asynccontextmanager
async def _story(
    console: Console,
    folder: Path,
    models: Path,
    seed: int,
    sizes: Sizes,
    port: int,
    scorer: Scorer | None,
) -> AsyncIterator[tuple[Story, str]]:
    with nano_fleet(models, folder) as fleet:
        settings = write_settings(folder, [fleet[name] for name in FIVE], BETA)
        with serving(settings, port, scorer) as url:
            story = Story(console, url, settings, fleet, seed, sizes)
            try:
                await story.begin()
                yield story, url
            finally:
                await story.aclose()


async def _until(condition: Callable[[], Any], failure: str) -> None:
    deadline = time.monotonic() + READY_S
    while not await condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{failure} within {READY_S:.0f} s")
        await asyncio.sleep(LOOK_S)


@contextmanager
def _bars(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        yield bars


def _of_domain(answers: Sequence[Answer]) -> dict[str, Any]:
    return asdict(line(ITS_DOMAIN, [each for each in answers if each.task.domain == ITS_DOMAIN]))


def _elsewhere(answers: Sequence[Answer]) -> dict[str, Any]:
    return asdict(line("everything else", [each for each in answers if each.task.domain != ITS_DOMAIN]))
