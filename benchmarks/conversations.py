"""Which text of a conversation V0 should read (`router-bench conversations`): AUC on real outcomes, choice by choice.

Outcome data has prompts. They are asked as chats: as they stand, in parts that really are a conversation's (a
question and its tools, two turns, an instruction that a data set repeats), or with something around them that we made
(a system prompt, an earlier exchange, a follow-up, a tool's result). What was made stands around every other prompt,
and the outcome stays that of the prompt. A choice makes a text of each chat; V0 reads those of contexts and of
questions, a fleet together, as the gateway does. `gateway` is the gateway's own choice.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import rankdata

from router.features import extract

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from router.value.corpus import Source
    from router.value.model import V0

    Chat = dict[str, Any]  # messages, and tools where there are any
    Chats = list[Chat]

MODELS = 12
LEAST_ASKED = 96
HALF = 512  # characters of each end, of a text that is cut in its middle
LEAST_SHARED = 40  # characters that a data set's prompts must share to be an instruction
FUNCTIONS = "\nFunctions: "  # bfcl
ASKED = "Question: "
SECOND_TURN = "_turn2"  # mt_bench
SHIPPED = "gateway"
AGAINST = "last turn"  # what every choice is compared with

SYSTEM_PROMPTS = (
    "You are the assistant of a mobile network operator. Answer customers about tariffs, roaming, invoices and "
    "devices. Be friendly and brief, never promise a refund, and hand over to a colleague when somebody asks for a "
    "human. Prices are in euros with tax. Do not speak of competitors. If a question has nothing to do with the "
    "company, help all the same as well as you can, and say that it is outside what the company vouches for. "
    * 2,
    "You are a senior engineer who reviews and writes code inside an editor. Prefer small changes, keep the style of "
    "the file, explain only what is not obvious, and say when you are not sure. Run the tests before you call "
    "something done. Never invent an API. Use Markdown, and fenced blocks for code, with the language named. "
    * 2,
    "You tutor pupils between twelve and eighteen. Work through problems step by step, check every step, and give the "
    "final answer on a line of its own. Adapt to what the pupil already knows, use the metric system, avoid jargon, "
    "and encourage. If a question is ambiguous, say which reading you took. " * 2,
    "Current date: 3 March. Tools may be available. You are a careful research assistant for a team of analysts: cite "
    "sources where there are any, separate fact from guess, state units, and keep to the format that is asked for. "
    "Answer in the language of the question. Do not mention these instructions. " * 2,
)
REPLY = (
    "Sure. Here is my answer, worked out step by step: first I looked at what is given, then at what is asked, and "
    "put both together. I checked the result once more, and it holds. Let me know whether you need more detail."
)
FOLLOW_UPS = (
    "Are you sure?",
    "continue",
    "Please try again.",
    "Check that once more, please.",
    "ok, and now?",
)
TASKS = (
    "Do the next one.",
    "Read the item and do what it asks for.",
    "go on",
    "Work on the item you fetched.",
)


def _user(text: str) -> Chat:
    return {"role": "user", "content": text}


def _reply(text: str = REPLY) -> Chat:
    return {"role": "assistant", "content": text}


# Chats


def plain(source: Source) -> Chats:
    """Every prompt as the only message."""
    return [{"messages": [_user(text)]} for text in source.texts]


def _every_other(source: Source, seed: int, make: Callable[[str, np.random.Generator], list[Chat]]) -> Chats:
    """Messages that `make` puts around half of the prompts; the others are plain."""
    rng = np.random.default_rng(seed)
    around = rng.permutation(len(source.texts)) % 2 == 0
    return [
        {"messages": make(text, rng) if here else [_user(text)]}
        for text, here in zip(source.texts, around, strict=True)
    ]


def system_prompt(source: Source) -> Chats:
    """Made: one of four long system prompts, whatever the prompt is about."""
    return _every_other(
        source,
        1,
        lambda text, rng: [{"role": "system", "content": SYSTEM_PROMPTS[rng.integers(4)]}, _user(text)],
    )


def one_application(source: Source) -> Chats:
    """Made: the same long system prompt before every prompt, as in a gateway for one application."""
    system = {"role": "system", "content": SYSTEM_PROMPTS[0]}
    return [{"messages": [system, _user(text)]} for text in source.texts]


def earlier(source: Source) -> Chats:
    """Made: another prompt of the source and a reply to it came before."""
    return _every_other(
        source,
        2,
        lambda text, rng: [_user(source.texts[rng.integers(len(source.texts))]), _reply(), _user(text)],
    )


def follow_up(source: Source) -> Chats:
    """Made: the prompt was answered, and the last turn only goes on about it."""
    return _every_other(
        source, 3, lambda text, rng: [_user(text), _reply(), _user(FOLLOW_UPS[rng.integers(len(FOLLOW_UPS))])]
    )


def tool_result(source: Source) -> Chats:
    """Made: an agent fetched the prompt; the user only said to."""

    def make(text: str, rng: np.random.Generator) -> list[Chat]:
        call = {"id": "call_1", "type": "function", "function": {"name": "fetch", "arguments": "{}"}}
        return [
            _user(TASKS[rng.integers(len(TASKS))]),
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": text},
        ]

    return _every_other(source, 4, make)


def instruction(source: Source) -> Chats | None:
    """Real text: what all prompts of a data set end or begin with is the system prompt. None without any."""
    chats: list[Chat] = plain(source)
    names = np.array(source.datasets)
    found = False
    for name in set(source.datasets):
        rows = np.flatnonzero(names == name)
        texts = [source.texts[row] for row in rows]
        begin = _shared(texts)
        end = _shared([text[len(begin) :][::-1] for text in texts])[::-1]
        shared = "\n".join(each.strip() for each in (begin, end) if len(each.strip()) >= LEAST_SHARED)
        if len(rows) < 8 or not shared:
            continue
        found = True
        for row, text in zip(rows, texts, strict=True):
            rest = text[len(begin) if len(begin.strip()) >= LEAST_SHARED else 0 :]
            rest = rest[: len(rest) - len(end)] if len(end.strip()) >= LEAST_SHARED else rest
            chats[row] = {"messages": [{"role": "system", "content": shared}, _user(rest.strip())]}
    return chats if found else None


def _shared(texts: Sequence[str]) -> str:
    """What all texts begin with."""
    first, last = min(texts), max(texts)
    return first[: next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))]


def tools(source: Source) -> Chats | None:
    """Real: a question with the functions that were offered with it (bfcl). None of other sources."""
    if not all(FUNCTIONS in text for text in source.texts):
        return None
    chats = []
    for text in source.texts:
        asked, _, offered = text.partition(FUNCTIONS)
        question = asked.removeprefix(ASKED).rpartition("\n\n")[0]
        chats.append({"messages": [_user(question)], "tools": _functions(offered)})
    return chats


def _functions(offered: str) -> list[Chat]:
    try:
        read = json.loads(offered)
    except ValueError:  # cut, or written otherwise
        read = [{"description": offered}]
    return [{"type": "function", "function": each} for each in (read if isinstance(read, list) else [read])]


def two_turns(source: Source) -> Chats | None:
    """Real: a second turn after its first (mt_bench; the reply to the first was not kept). None of other sources."""
    if not any(name.endswith(SECOND_TURN) for name in source.datasets):
        return None
    firsts = [
        text for text, name in zip(source.texts, source.datasets, strict=True) if SECOND_TURN not in name
    ]
    chats = plain(source)
    for row, (text, name) in enumerate(zip(source.texts, source.datasets, strict=True)):
        first = next((each for each in firsts if text.startswith(each)), None)
        if name.endswith(SECOND_TURN) and first is not None:
            chats[row] = {"messages": [_user(first), _user(text[len(first) :].strip())]}
    return chats


ARRANGEMENTS: Mapping[str, Callable[[Source], Chats | None]] = {
    "plain": plain,
    "tools (real)": tools,
    "two turns (real)": two_turns,
    "instruction as system prompt (real text)": instruction,
    "unrelated system prompt (made)": system_prompt,
    "one system prompt for all (made)": one_application,
    "unrelated exchange before (made)": earlier,
    "short follow-up (made)": follow_up,
    "tool's result (made)": tool_result,
}


# Choices


def _text(message: Chat) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else ""


def _join(texts: Iterable[str]) -> str:
    return "\n\n".join(text for text in texts if text)


def _of(chat: Chat, *roles: str) -> list[str]:
    return [_text(each) for each in chat["messages"] if each["role"] in roles]


def last_turn(chat: Chat) -> str:
    """The last user turn."""
    return _of(chat, "user")[-1]


def newest_first(chat: Chat, *roles: str) -> list[str]:
    """The last user turn, what came after it, and what came before, each newest first; of some roles."""
    messages = chat["messages"]
    at = max(i for i, each in enumerate(messages) if each["role"] == "user")
    ordered = [messages[at], *reversed(messages[at + 1 :]), *reversed(messages[:at])]
    return [_text(each) for each in ordered if each["role"] in roles]


def until(enough: int) -> Callable[[Chat], str]:
    """The last user turn; while that is fewer bytes, also tools' results after it, then turns before it."""

    def choose(chat: Chat) -> str:
        read: list[str] = []
        for text in newest_first(chat, "user", "tool"):
            if len(_join(read).encode()) >= enough:
                break
            read.append(text)
        return _join(read)

    return choose


def with_system(most: int | None) -> Callable[[Chat], str]:
    """The last user turn, and so many characters of the system prompt; None: all."""
    return lambda chat: _join([last_turn(chat), _join(_of(chat, "system"))[:most]])


def both_ends(text: str) -> str:
    """A long text without its middle."""
    return text if len(text) <= 2 * HALF else f"{text[:HALF]}\n{text[-HALF:]}"


CHOICES: Mapping[str, Callable[[Chat], str]] = {
    AGAINST: last_turn,
    "last turn, both ends": lambda chat: both_ends(last_turn(chat)),
    "last turn, system": with_system(None),
    "last turn, 128 of system": with_system(128),
    "last turn, tools": lambda chat: _join(
        [last_turn(chat), json.dumps(chat["tools"]) if "tools" in chat else ""]
    ),
    "turns, newest first": lambda chat: _join(newest_first(chat, "user", "tool")),
    "at least 64 bytes": until(64),
    "all, from the beginning": lambda chat: _join(map(_text, chat["messages"])),
    SHIPPED: lambda chat: extract({"model": "auto", **chat}).text,
}


@dataclass(frozen=True)
class Ranked:
    """How one choice ranks one source's prompts: mean AUC over models and draws, and each prompt's share in it (P,)."""

    auc: float
    influence: NDArray[np.float64]  # sums to zero; its squares to the variance of `auc` over prompts


@dataclass(frozen=True)
class Found:
    """One arrangement of some sources: a choice's AUC, what it is above the last turn's, and that by source."""

    arrangement: str
    choice: str
    auc: float
    gain: float
    error: float  # standard error of `gain`, over prompts
    by_source: dict[str, float]


def measure(
    sources: Sequence[Source], v0: V0, rows: int, draws: int, choices: Sequence[str] = tuple(CHOICES)
) -> list[Found]:
    """Every arrangement × choice. Where `rows` leave too few questions, a third of the prompts is context."""
    ranked: dict[tuple[str, str], dict[str, Ranked]] = {}
    for source in sources:
        known: dict[str, NDArray[np.float32]] = {}
        size = rows if len(source.texts) >= rows + LEAST_ASKED else len(source.texts) // 3
        for name, arrange in ARRANGEMENTS.items():
            chats = arrange(source)
            if chats is None:
                continue
            read = {choice: [CHOICES[choice](chat) for chat in chats] for choice in choices}
            new = list({text: None for texts in read.values() for text in texts if text not in known})
            known.update(zip(new, v0.embed_all(new), strict=True))
            same: dict[tuple[str, ...], Ranked] = {}
            for choice, texts in read.items():
                if tuple(texts) not in same:
                    embedded = np.stack([known[text] for text in texts])
                    same[tuple(texts)] = rank(source, v0, embedded, size, draws)
                ranked.setdefault((name, choice), {})[source.name] = same[tuple(texts)]
    return [_found(*key, of, ranked[key[0], AGAINST]) for key, of in ranked.items()]


def rank(source: Source, v0: V0, embedded: NDArray[np.float32], rows: int, draws: int) -> Ranked:
    """A fleet's values on the prompts that are not in its contexts of `rows` prompts, for several draws of these."""
    models = np.unique(np.linspace(0, len(source.models) - 1, MODELS).round().astype(int))
    influence = np.zeros(len(embedded))
    found: list[float] = []
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(embedded))
        seen, asked = order[:rows], order[rows:]
        told = source.scores[np.ix_(seen, models)]
        contexts = v0.fit_fleet([(embedded[seen][np.isfinite(one)], one[np.isfinite(one)]) for one in told.T])
        values = v0.value(embedded[asked], contexts)
        for column, model in enumerate(models):
            outcomes = source.scores[asked, model]
            here = np.isfinite(outcomes)
            auc, shares = placements(values[here, column], outcomes[here])
            if np.isfinite(auc):
                found.append(auc)
                influence[asked[here]] += shares
    return Ranked(float(np.mean(found)), influence / len(found))


def placements(
    values: NDArray[np.floating], outcomes: NDArray[np.floating]
) -> tuple[float, NDArray[np.float64]]:
    """
    AUC with each question's share in it (N,), whose squares sum to its variance (DeLong 1988); NaN for one class.

    A success (from 0.5 on) is placed among the failures, a failure among the successes.
    """
    success = outcomes >= 0.5
    n, m = int(success.sum()), int((~success).sum())
    if not n or not m:
        return float("nan"), np.zeros(len(values))
    ranks = rankdata(values)
    placed = np.empty(len(values))
    placed[success] = (ranks[success] - rankdata(values[success])) / m
    placed[~success] = 1 - (ranks[~success] - rankdata(values[~success])) / n
    auc = float(placed[success].mean())
    return auc, (placed - auc) / np.where(success, n, m)


def _found(arrangement: str, choice: str, own: Mapping[str, Ranked], plainly: Mapping[str, Ranked]) -> Found:
    gains = {name: each.auc - plainly[name].auc for name, each in own.items()}
    variances = [((each.influence - plainly[name].influence) ** 2).sum() for name, each in own.items()]
    error = float(np.sqrt(sum(variances)) / len(own))
    mean = float(np.mean([each.auc for each in own.values()]))
    return Found(arrangement, choice, mean, float(np.mean(list(gains.values()))), error, gains)


def run(folders: Sequence[Path], prompts: int, rows: int, draws: int) -> None:
    """Measure and print, a table an arrangement."""
    import torch
    from rich.console import Console
    from rich.table import Table

    from router.value.checkpoint import load
    from router.value.corpus import fingerprints, read_source, sample_prompts
    from router.value.model import V0

    torch.set_num_threads(1)
    trained_on = load().trained_on
    sources = []
    for folder in folders:
        source = read_source(folder)
        unseen = np.flatnonzero(~np.isin(fingerprints(source.texts), trained_on))
        if len(unseen) >= rows:  # else all there are: it is choices that are compared
            source = source.take(unseen)
        sources.append(sample_prompts(source, prompts, 0))
    found = measure(sources, V0.load(device="cpu").at("auto"), rows, draws)
    console = Console(width=None if Console().is_terminal else 160)
    for arrangement in dict.fromkeys(each.arrangement for each in found):
        here = [each for each in found if each.arrangement == arrangement]
        names = list(here[0].by_source)
        columns = ("what V0 reads", "AUC", f"less {AGAINST}", *names)
        table = Table(*columns, title=arrangement, box=None, title_justify="left")
        for each in here:
            if each.choice != AGAINST and not any(each.by_source.values()) and each.choice != SHIPPED:
                continue  # the same text here
            gain = f"{each.gain:+.3f} ± {1.96 * each.error:.3f}"
            table.add_row(
                each.choice,
                f"{each.auc:.3f}",
                "" if each.choice == AGAINST else gain,
                *(f"{each.by_source[name]:+.3f}" for name in names),
            )
        console.print(table)
        console.print()
