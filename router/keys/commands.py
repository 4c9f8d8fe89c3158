"""`router keys`: make, list, show, limit, rotate and revoke callers' keys."""

from __future__ import annotations

import re
import time
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from router.store.commands import CONFIG, Config, opened_store, when

if TYPE_CHECKING:
    from router.keys.limits import Limits
    from router.store.rows import KeyRow

keys = typer.Typer(no_args_is_help=True, help="Keys with which callers may use the gateway.")

Name = Annotated[str, typer.Argument(help="The key's name, such as ci.")]
DayUsd = Annotated[float | None, typer.Option("--day-usd", help="USD a day (UTC).", min=0)]
MonthUsd = Annotated[float | None, typer.Option("--month-usd", help="USD a month (UTC).", min=0)]
TotalUsd = Annotated[float | None, typer.Option("--total-usd", help="USD in all.", min=0)]
Rpm = Annotated[int | None, typer.Option("--rpm", help="Requests in any 60 seconds.", min=1)]
Tpm = Annotated[int | None, typer.Option("--tpm", help="Tokens in any 60 seconds, in and out.", min=1)]
Concurrent = Annotated[int | None, typer.Option("--concurrent", help="Requests at a time.", min=1)]
Models = Annotated[
    list[str] | None, typer.Option("--model", "-m", help="May ask this model, or 'gpt-*'. Repeatable.")
]
Deny = Annotated[list[str] | None, typer.Option("--deny", help="May not ask this one. Repeatable.")]
BetaMin = Annotated[float | None, typer.Option("--beta-min", min=0, max=1, help="β at the least.")]
BetaMax = Annotated[float | None, typer.Option("--beta-max", min=0, max=1, help="β at the most.")]
MinSuccess = Annotated[
    float | None, typer.Option("--min-success", min=0, max=1, help="Share of successes to keep over traffic.")
]
MaxCostUsd = Annotated[float | None, typer.Option("--max-cost-usd", min=0, help="USD one request may cost.")]
Pace = Annotated[
    bool | None, typer.Option("--pace/--no-pace", help="Move β so that the month lands on --month-usd.")
]
Expires = Annotated[
    str | None, typer.Option("--expires", help="After so long (30d, 12h) or at a time (ISO 8601, UTC).")
]
CacheS = Annotated[
    float | None, typer.Option("--cache-s", min=0, help="Seconds that a reply may be given again.")
]
SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@keys.command("create")
@keys.command("add", hidden=True)
def create(
    name: Name,
    admin: Annotated[
        bool, typer.Option("--admin", help="Manages keys and sees everybody's decisions; asks no model.")
    ] = False,
    day_usd: DayUsd = None,
    month_usd: MonthUsd = None,
    total_usd: TotalUsd = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    model: Models = None,
    deny: Deny = None,
    beta_min: BetaMin = None,
    beta_max: BetaMax = None,
    min_success: MinSuccess = None,
    max_cost_usd: MaxCostUsd = None,
    pace: Pace = None,
    expires: Expires = None,
    cache_s: CacheS = None,
    config: Config = CONFIG,
) -> None:
    """Make a key and show its secret, this once."""
    from router.store.keys import add_key

    given = _given(
        day_usd, month_usd, total_usd, rpm, tpm, concurrent, model, deny, beta_min, beta_max, min_success,
        max_cost_usd, pace, expires, cache_s,
    )  # fmt: skip
    _check_name(name)
    if admin and given.keys() - {"expires_at"}:
        _fail("an admin key asks no model, so it takes no limit but --expires")
    limits = _limits(given)
    with opened_store(config) as engine:
        _, secret = add_key(engine, name, limits, admin=admin)
    typer.echo(f"The key {name!r}; keep it, it cannot be shown again:", err=True)
    typer.echo(secret)


@keys.command("limit")
def limit(
    name: Name,
    day_usd: DayUsd = None,
    month_usd: MonthUsd = None,
    total_usd: TotalUsd = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrent: Concurrent = None,
    model: Models = None,
    deny: Deny = None,
    beta_min: BetaMin = None,
    beta_max: BetaMax = None,
    min_success: MinSuccess = None,
    max_cost_usd: MaxCostUsd = None,
    pace: Pace = None,
    expires: Expires = None,
    cache_s: CacheS = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="Take this limit away, such as day_usd. Repeatable.")
    ] = None,
    config: Config = CONFIG,
) -> None:
    """Change a key's limits; those not named stay. A running gateway notices within seconds."""
    from router.keys.limits import NAMES
    from router.store.keys import find_key, limit_key

    given = _given(
        day_usd, month_usd, total_usd, rpm, tpm, concurrent, model, deny, beta_min, beta_max, min_success,
        max_cost_usd, pace, expires, cache_s,
    )  # fmt: skip
    for each in without or ():
        if each not in NAMES:
            _fail(f"there is no limit {each!r}; there are {', '.join(NAMES)}")
    with opened_store(config) as engine:
        before = find_key(engine, name).limits.to_json()
        kept = {each: value for each, value in before.items() if each not in (without or ())}
        key = limit_key(engine, name, _limits(kept | given))
    _show(key, None)


@keys.command("list")
def show_all(
    config: Config = CONFIG,
    revoked: Annotated[bool, typer.Option("--all", "-a", help="Revoked ones too.")] = False,
) -> None:
    """Show the living keys with what they have spent; never a secret."""
    from rich.console import Console
    from rich.table import Column, Table

    from router.keys.spending import Spending
    from router.store.keys import list_keys, spent_by_day

    now = time.time()
    money = [Column(f"USD {span}", justify="right") for span in ("today", "this month", "in all")]
    table = Table("Name", "Ends in", "Made", "State", *money, Column("Requests", justify="right"), "Limits")
    with opened_store(config) as engine:
        spent = spent_by_day(engine)
        for key in list_keys(engine):
            if key.revoked_at is not None and not revoked:
                continue
            spending = Spending(spent.get(key.id, {}))
            day, month, total = (spending.sum(span, now) for span in ("day", "month", "total"))
            usd = (f"{each.cost_usd:,.4f}" for each in (day, month, total))
            limits = " ".join(
                f"{name}={_worded(name, value)}" for name, value in key.limits.to_json().items()
            )
            table.add_row(
                key.name,
                key.hint,
                when(key.created_at),
                _state(key, now),
                *usd,
                f"{total.requests:,}",
                limits,
            )
    Console().print(table)


@keys.command("show")
def show(name: Name, config: Config = CONFIG) -> None:
    """Show a key: its limits, what it has spent, what its budgets have left."""
    from router.keys.spending import Spending
    from router.store.keys import find_key, spent_by_day

    with opened_store(config) as engine:
        key = find_key(engine, name)
        spending = Spending(spent_by_day(engine).get(key.id, {}))
    _show(key, spending)


@keys.command("rotate")
def rotate(name: Name, config: Config = CONFIG) -> None:
    """Give a key another secret and show it, this once; limits and spending stay. The old one ends within seconds."""
    from router.store.keys import rotate_key

    with opened_store(config) as engine:
        _, secret = rotate_key(engine, name)
    typer.echo(f"The new secret of {name!r}; keep it, it cannot be shown again:", err=True)
    typer.echo(secret)


@keys.command("revoke")
def revoke(name: Name, config: Config = CONFIG) -> None:
    """Take a key's right away; a running gateway notices within seconds."""
    from router.store.keys import revoke_key

    with opened_store(config) as engine:
        revoke_key(engine, name)
    typer.echo(f"The key {name!r} is revoked.")


def _given(
    day_usd: float | None,
    month_usd: float | None,
    total_usd: float | None,
    rpm: int | None,
    tpm: int | None,
    concurrent: int | None,
    model: list[str] | None,
    deny: list[str] | None,
    beta_min: float | None,
    beta_max: float | None,
    min_success: float | None,
    max_cost_usd: float | None,
    pace: bool | None,
    expires: str | None,
    cache_s: float | None,
) -> dict[str, Any]:
    """The options that came, under the names of `Limits`."""
    options = {
        "day_usd": day_usd,
        "month_usd": month_usd,
        "total_usd": total_usd,
        "requests_per_minute": rpm,
        "tokens_per_minute": tpm,
        "concurrent": concurrent,
        "models": model or None,
        "deny": deny or None,
        "beta_min": beta_min,
        "beta_max": beta_max,
        "min_success": min_success,
        "max_cost_usd": max_cost_usd,
        "pace": pace,
        "expires_at": None if expires is None else _moment(expires, time.time()),
        "cache_ttl_s": cache_s,
    }
    return {name: value for name, value in options.items() if value is not None}


def _limits(given: dict[str, Any]) -> Limits:
    from router.keys.limits import BadLimits, read_limits

    try:
        return read_limits(given)
    except BadLimits as error:
        _fail(str(error))


def _moment(text: str, now: float) -> float:
    """30d, 12h or an ISO 8601 time as a Unix time."""
    span = SPAN.fullmatch(text.strip())
    if span is not None:
        return now + float(span[1]) * SECONDS[span[2]]
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        _fail(f"--expires: {text!r} should be like 30d, 12h or 2030-01-31")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _check_name(name: str) -> None:
    from router.keys.limits import BadLimits, check_name

    try:
        check_name(name)
    except BadLimits as error:
        _fail(str(error))


def _state(key: KeyRow, now: float) -> str:
    if key.revoked_at is not None:
        return f"revoked {when(key.revoked_at)}"
    if key.limits.expired(now):
        return "expired"
    return "admin" if key.admin else "living"


def _worded(name: str, value: object) -> str:
    if name == "expires_at" and isinstance(value, float):
        return when(value)
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}"


def _show(key: KeyRow, spending: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    now = time.time()
    table.add_row("name", key.name)
    table.add_row("ends in", key.hint or "?")
    table.add_row("state", _state(key, now))
    table.add_row("made", when(key.created_at))
    for name, value in asdict(key.limits).items():
        if name in key.limits.to_json():
            table.add_row(name, _worded(name, value))
    if spending is not None:
        for span in ("day", "month", "total"):
            total = spending.sum(span, now)
            table.add_row(
                f"spent, {span}",
                f"{total.cost_usd:.6f} USD, {total.requests:,} requests, "
                f"{total.input_tokens:,} → {total.output_tokens:,} tokens",
            )
        for budget in spending.budgets(key.limits, now):
            table.add_row(f"left, {budget.span}", f"{max(0.0, budget.left_usd):.6f} USD")
    Console().print(table)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)
