"""
A client of the gateway's value and schedule endpoints, for trainers: httpx and nothing heavier, no torch.

    with Client("http://127.0.0.1:8000") as gateway:
        prediction = gateway.predict(prompts, policy="run-1")
        budgets = gateway.budget(prediction.values, total=16 * len(prompts))

`AsyncClient` is the same with `async with` and `await`.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Progress = Callable[[int, int], None]  # prompts whose embedding is ready, of how many

Method = Literal["greedy", "envelope", "uniform", "variance", "knapsack"]
BUSY = (429, 503)  # worth another try
LONGEST_WAIT_S = 60.0


class ClientError(Exception):
    """The gateway refused: `status` (500 within a stream), `message`, `param`, `code` as in OpenAI's envelope."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message, self.param, self.code = status, message, param, code


@dataclass(frozen=True)
class Outcome:
    """What a policy earned on a prompt, such as the mean reward of its rollouts; `step` None is its latest."""

    prompt: str
    reward: float
    step: int | None = None


@dataclass(frozen=True)
class Policy:
    """A policy's buffer. `mean_reward` is of rewards mapped to [0, 1]; `revision` changes with the buffer."""

    id: str
    size: int
    capacity: int
    step: int | None
    mean_reward: float | None
    revision: str


@dataclass(frozen=True)
class Sample:
    """Which rows of a buffer are read: the `newest`, or a seeded draw `weighted` by a `half_life` in rows."""

    size: int = 256
    how: Literal["newest", "weighted"] = "newest"
    half_life: float = 128.0
    seed: int = 0


@dataclass(frozen=True)
class Prediction:
    """A success rate for each prompt, by V0's `version` from `context_size` rows. Timings in ms."""

    values: list[float]
    version: str
    context_size: int
    revision: str | None
    timings_ms: dict[str, float]


@dataclass(frozen=True)
class Rule:
    """How baselines come about: V0.5's `shrinkage`, or the `mixture` that doubts its prior. `cost` as V0.5's c."""

    name: Literal["shrinkage", "mixture"] = "shrinkage"
    cost: float | None = None  # the rule's own
    reward_range: tuple[float, float] = (-1.0, 1.0)


@dataclass(frozen=True)
class Limits:
    """How rollouts are dispatched; as `router.schedule.rounds.Limits`."""

    start: int = 4
    multiple: int = 4
    cap: int = 24
    halt_share: float = 0.0
    rounds: int | None = None


@dataclass(frozen=True)
class Rounds:
    """
    Where N prompts stand: `allocation` (N,) rollouts to make now, zeros when `done`; `baselines` (N,) in units of
    reward; `advantages`, a list for each prompt in the order of its rewards, None until done.

    It carries the whole state: the gateway keeps nothing.
    """

    allocation: list[int]
    done: bool
    baselines: list[float]
    advantages: list[list[float]] | None
    sent: dict[str, Any] = field(repr=False)


Shape = TypeVar("Shape", Policy, Prediction)
Answer = TypeVar("Answer")


class Client:
    """
    Calls a gateway at `base_url`, with a key where it asks for one. Not shared between threads.

    A busy gateway (429, 503) is tried again, up to `retries` times, after as long as it says. Every method raises
    `ClientError` where the gateway refuses, `httpx.TransportError` where it cannot be reached, and `ValueError` before
    anything is sent where a number is NaN or infinite.

    With `progress` a prediction comes as a stream: progress(done, total) is called, first with 0, whenever V0 has
    embedded more of the prompts. A stream that breaks off is an `httpx.TransportError` too.
    """

    def __init__(
        self, base_url: str, key: str | None = None, *, timeout_s: float = 300.0, retries: int = 5
    ) -> None:
        self._http = httpx.Client(base_url=base_url, headers=_headers(key), timeout=timeout_s)
        self._retries = retries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def report(
        self, policy: str, outcomes: Sequence[Outcome], *, reward_range: tuple[float, float] = (0.0, 1.0)
    ) -> Policy:
        """Add 1 to 1,024 outcomes, with rewards in `reward_range`, to a policy's buffer. On the disk on return."""
        return self._send(_report(policy, outcomes, reward_range))

    def policies(self) -> list[Policy]:
        """Every policy, by name."""
        return self._send(_policies())

    def delete(self, policy: str) -> None:
        """Forget a policy and its buffer."""
        self._send(_delete(policy))

    def predict(
        self,
        prompts: Sequence[str],
        policy: str,
        *,
        sample: Sample | None = None,
        until_step: int | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Success rates of 1 to 1,024 prompts for a named policy, from its rows up to `until_step`."""
        return self._send(_predict(prompts, policy, sample, until_step, progress))

    def predict_from(
        self,
        prompts: Sequence[str],
        context: Sequence[Outcome],
        *,
        reward_range: tuple[float, float] = (0.0, 1.0),
        progress: Progress | None = None,
    ) -> Prediction:
        """Success rates of 1 to 1,024 prompts for whoever earned `context` (at most 512); nothing is stored."""
        return self._send(_predict_from(prompts, context, reward_range, progress))

    def budget(
        self, values: Sequence[float], total: int, *, method: Method = "greedy", low: int = 2, high: int = 128
    ) -> list[int]:
        """Rollouts of each prompt, from `low` to `high`, `total` together, for success rates `values`."""
        return self._send(_budget({"values": list(values)}, total, method, low, high))

    def budget_from_epoch(
        self,
        rates: Sequence[float | None],
        total: int,
        *,
        method: Method = "greedy",
        low: int = 2,
        high: int = 128,
    ) -> list[int]:
        """As `budget`, for the success rates of the last epoch; None where a prompt had no rollouts."""
        return self._send(_budget({"rates": list(rates)}, total, method, low, high))

    def start(
        self, priors: Sequence[float], rule: Rule | None = None, limits: Limits | None = None
    ) -> Rounds:
        """The first round for success rates `priors` (N,), at most 4,096."""
        return self._send(_start(priors, rule, limits))

    def next(self, rounds: Rounds, rewards: Sequence[Sequence[float]]) -> Rounds:
        """The round after the allocated rollouts earned `rewards`, a sequence for each prompt."""
        return self._send(_next(rounds, rewards))

    def _send(self, call: _Call[Answer]) -> Answer:
        for left in range(self._retries, -1, -1):
            with self._http.stream(call.method, call.path, json=call.body) as reply:
                if call.progress is not None and reply.is_success:
                    story = _Story(call.progress)
                    for line in reply.iter_lines():
                        story.hear(line)
                    return call.read(story.answer())
                reply.read()
            if reply.status_code not in BUSY or not left:
                break
            time.sleep(_wait_s(reply))
        return call.answer(reply)


class AsyncClient:
    """`Client` for one event loop: the same methods, awaited. What is awaited may be cancelled at any time."""

    def __init__(
        self, base_url: str, key: str | None = None, *, timeout_s: float = 300.0, retries: int = 5
    ) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, headers=_headers(key), timeout=timeout_s)
        self._retries = retries

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def report(
        self, policy: str, outcomes: Sequence[Outcome], *, reward_range: tuple[float, float] = (0.0, 1.0)
    ) -> Policy:
        """As `Client.report`."""
        return await self._send(_report(policy, outcomes, reward_range))

    async def policies(self) -> list[Policy]:
        """As `Client.policies`."""
        return await self._send(_policies())

    async def delete(self, policy: str) -> None:
        """As `Client.delete`."""
        await self._send(_delete(policy))

    async def predict(
        self,
        prompts: Sequence[str],
        policy: str,
        *,
        sample: Sample | None = None,
        until_step: int | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """As `Client.predict`."""
        return await self._send(_predict(prompts, policy, sample, until_step, progress))

    async def predict_from(
        self,
        prompts: Sequence[str],
        context: Sequence[Outcome],
        *,
        reward_range: tuple[float, float] = (0.0, 1.0),
        progress: Progress | None = None,
    ) -> Prediction:
        """As `Client.predict_from`."""
        return await self._send(_predict_from(prompts, context, reward_range, progress))

    async def budget(
        self, values: Sequence[float], total: int, *, method: Method = "greedy", low: int = 2, high: int = 128
    ) -> list[int]:
        """As `Client.budget`."""
        return await self._send(_budget({"values": list(values)}, total, method, low, high))

    async def budget_from_epoch(
        self,
        rates: Sequence[float | None],
        total: int,
        *,
        method: Method = "greedy",
        low: int = 2,
        high: int = 128,
    ) -> list[int]:
        """As `Client.budget_from_epoch`."""
        return await self._send(_budget({"rates": list(rates)}, total, method, low, high))

    async def start(
        self, priors: Sequence[float], rule: Rule | None = None, limits: Limits | None = None
    ) -> Rounds:
        """As `Client.start`."""
        return await self._send(_start(priors, rule, limits))

    async def next(self, rounds: Rounds, rewards: Sequence[Sequence[float]]) -> Rounds:
        """As `Client.next`."""
        return await self._send(_next(rounds, rewards))

    async def _send(self, call: _Call[Answer]) -> Answer:
        for left in range(self._retries, -1, -1):
            async with self._http.stream(call.method, call.path, json=call.body) as reply:
                if call.progress is not None and reply.is_success:
                    story = _Story(call.progress)
                    async for line in reply.aiter_lines():
                        story.hear(line)
                    return call.read(story.answer())
                await reply.aread()
            if reply.status_code not in BUSY or not left:
                break
            await asyncio.sleep(_wait_s(reply))
        return call.answer(reply)


# What is sent, whoever sends it


@dataclass(frozen=True)
class _Call(Generic[Answer]):
    method: str
    path: str
    body: dict[str, Any] | None
    read: Callable[[dict[str, Any]], Answer]
    progress: Progress | None = None  # with it a stream is asked for

    def answer(self, reply: httpx.Response) -> Answer:
        if reply.is_success:
            return self.read(reply.json())
        raise _refusal(reply)


class _Story:
    """A stream of events: how far it got, then the answer, then [DONE]. An event counts once its blank line is in."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._data = ""
        self._last: dict[str, Any] = {}
        self._ended = False

    def hear(self, line: str) -> None:
        """The next line. Raises `ClientError` where it ends an error's event."""
        if line.startswith("data: "):
            self._data = line.removeprefix("data: ")
        if line or not self._data:
            return
        data, self._data = self._data, ""
        if data == "[DONE]":
            self._ended = True
            return
        self._last = json.loads(data)
        if "error" in self._last:
            raise _error(500, self._last["error"])
        if self._last.get("object") == "value.progress":
            self._progress(self._last["done"], self._last["total"])

    def answer(self) -> dict[str, Any]:
        """The last event before [DONE]. Raises `httpx.RemoteProtocolError` where that is missing."""
        if not self._ended:
            raise httpx.RemoteProtocolError("the gateway broke off its stream")
        return self._last


def _report(policy: str, outcomes: Sequence[Outcome], reward_range: tuple[float, float]) -> _Call[Policy]:
    body = {"outcomes": [_plain(each) for each in outcomes], "reward_range": reward_range}
    return _Call("POST", f"/v1/value/policies/{_name(policy)}/outcomes", body, lambda it: _read(Policy, it))


def _policies() -> _Call[list[Policy]]:
    return _Call("GET", "/v1/value/policies", None, lambda it: [_read(Policy, each) for each in it["data"]])


def _delete(policy: str) -> _Call[None]:
    return _Call("DELETE", f"/v1/value/policies/{_name(policy)}", None, lambda _: None)


def _predict(
    prompts: Sequence[str],
    policy: str,
    sample: Sample | None,
    until_step: int | None,
    progress: Progress | None,
) -> _Call[Prediction]:
    body: dict[str, Any] = {"prompts": list(prompts), "policy": policy}
    if sample is not None:
        body["sample"] = _plain(sample)
    if until_step is not None:
        body["until_step"] = until_step
    return _predicted(body, progress)


def _predict_from(
    prompts: Sequence[str],
    context: Sequence[Outcome],
    reward_range: tuple[float, float],
    progress: Progress | None,
) -> _Call[Prediction]:
    earned = [_plain(each) for each in context]
    return _predicted({"prompts": list(prompts), "context": earned, "reward_range": reward_range}, progress)


def _predicted(body: dict[str, Any], progress: Progress | None) -> _Call[Prediction]:
    stream = {} if progress is None else {"stream": True}
    return _Call("POST", "/v1/value/predict", body | stream, lambda it: _read(Prediction, it), progress)


def _budget(known: dict[str, Any], total: int, method: Method, low: int, high: int) -> _Call[list[int]]:
    body = {**known, "total": total, "method": method, "low": low, "high": high}
    return _Call("POST", "/v1/schedule/budget", body, lambda it: list(it["budgets"]))


def _start(priors: Sequence[float], rule: Rule | None, limits: Limits | None) -> _Call[Rounds]:
    body = {"priors": list(priors), "reports": []}
    return _rounds({**body, "rule": _plain(rule or Rule()), "limits": _plain(limits or Limits())})


def _next(rounds: Rounds, rewards: Sequence[Sequence[float]]) -> _Call[Rounds]:
    reports = [*rounds.sent["reports"], [list(each) for each in rewards]]
    return _rounds({**rounds.sent, "reports": reports})


def _rounds(body: dict[str, Any]) -> _Call[Rounds]:
    def read(it: dict[str, Any]) -> Rounds:
        return Rounds(it["allocation"], it["done"], it["baselines"], it["advantages"], sent=body)

    return _Call("POST", "/v1/schedule/rounds", body, read)


def _headers(key: str | None) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"} if key else {}


def _name(policy: str) -> str:
    return quote(policy, safe="")


def _wait_s(reply: httpx.Response) -> float:
    said = reply.headers.get("retry-after", "")
    return min(float(said), LONGEST_WAIT_S) if said.isdigit() else 1.0


def _refusal(reply: httpx.Response) -> ClientError:
    try:
        return _error(reply.status_code, reply.json()["error"])
    except (ValueError, KeyError, TypeError):
        return ClientError(reply.status_code, reply.text[:200])


def _error(status: int, told: dict[str, Any]) -> ClientError:
    return ClientError(status, told["message"], told.get("param"), told.get("code"))


def _plain(value: Outcome | Sample | Rule | Limits) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}


def _read(shape: type[Shape], answer: dict[str, Any]) -> Shape:
    return shape(**{each.name: answer[each.name] for each in fields(shape)})
