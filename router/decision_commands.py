"""`router decisions`: the log of decisions as a parquet file. `router tail`: decisions as they come."""

from __future__ import annotations

import os
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from router.store.commands import CONFIG, Config, opened_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import httpx
    from rich.text import Text

Rows = list[dict[str, Any]]

PAGE = 200
REMEMBERED = 20 * PAGE
PATIENCE_S = 10.0


def decisions(
    out: Annotated[Path, typer.Option("--out", "-o", help="The parquet file to write.")],
    since: Annotated[str | None, typer.Option("--since", help="Unix seconds or ISO 8601.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="As --since.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Who answered.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="The name of the caller's key.")] = None,
    status: Annotated[str | None, typer.Option("--status", help="503 or 5xx.")] = None,
    config: Config = CONFIG,
) -> None:
    """Write decisions with their candidates and mean scores to a parquet file, newest first. No prompts."""
    from router.store.decision_log import Filter, read_all, read_status, read_time

    wanted = Filter(
        _read("--since", since, read_time),
        _read("--until", until, read_time),
        model,
        key,
        _read("--status", status, read_status),
    )
    with opened_store(config) as engine:
        try:
            count = export(read_all(engine, wanted), out)
        except OSError as error:
            typer.echo(f"{out} cannot be written: {error.strerror}", err=True)
            raise typer.Exit(1) from None
    typer.echo(f"wrote {count} decisions to {out}")


def tail(
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=PAGE, help="How many at first.")] = 10,
    url: Annotated[
        str | None, typer.Option("--url", help="Ask this running gateway, not the settings' store.")
    ] = None,
    key_env: Annotated[
        str, typer.Option("--key-env", help="The variable that holds the gateway's key, if it wants one.")
    ] = "ROUTER_API_KEY",
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")] = 1.0,
    config: Config = CONFIG,
) -> None:
    """Show decisions as they are recorded, until interrupted. A decision is recorded when its reply has ended."""
    import httpx
    from rich.console import Console

    console = Console()

    def show(rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            console.print(line(row), soft_wrap=True)

    try:
        if url is None:
            from router.store.decision_log import Filter, read_page

            with opened_store(config) as engine:
                follow(lambda: read_page(engine, Filter(), PAGE).rows, show, lines, every)
        secret = os.environ.get(key_env)
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        with httpx.Client(base_url=url or "", headers=headers, timeout=PATIENCE_S) as client:
            follow(lambda: _ask(client), show, lines, every)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def follow(fetch: Callable[[], Rows], show: Callable[[Rows], None], lines: int, every_s: float) -> NoReturn:
    """
    Show the last `lines` decisions and then, oldest first, each that was not among the newest before.

    Never returns. Where more than a page is recorded between two looks, the oldest of them are left out.
    """
    rows = fetch()
    seen: deque[str] = deque((row["id"] for row in reversed(rows)), REMEMBERED)
    show(rows[:lines][::-1])
    while True:
        time.sleep(every_s)
        known = set(seen)
        new = [row for row in reversed(fetch()) if row["id"] not in known]
        seen.extend(row["id"] for row in new)
        show(new)


def export(batches: Iterator[Rows], out: Path) -> int:
    """Write batches of rows to a parquet file, whole or not at all, and return how many rows. Raises OSError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, count = _schema(), 0
    unfinished = out.with_name(f"{out.name}.part")
    try:
        with pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
            for rows in batches:
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                count += len(rows)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def line(row: Mapping[str, Any]) -> Text:
    """A decision for the terminal, green where it went well."""
    from rich.text import Text

    when = datetime.fromtimestamp(row["created_at"]).astimezone().strftime("%H:%M:%S")
    cost = "" if row["cost_usd"] is None else f"${row['cost_usd']:.6f}"
    ms = "" if row["latency_ms"] is None else f"{row['latency_ms']:.0f} ms"
    tokens = f"{_number(row['input_tokens'])}→{_number(row['output_tokens'])}"
    text = Text(f"{when} ")
    text.append(str(row["status"]), "green" if row["status"] < 400 else "red")
    text.append(f" {row['chosen']}", "bold")
    shown = (row["reason"], f"β={row['beta']:g}", tokens, cost, ms, row["key"], row["id"])
    return text.append(" " + "  ".join(each for each in shown if each))


def _ask(client: httpx.Client) -> Rows:
    import httpx

    try:
        reply = client.get("/v1/router/decisions", params={"limit": PAGE})
        answer = reply.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        typer.echo(f"{client.base_url} gave no answer: {type(error).__name__}", err=True)
        raise typer.Exit(1) from None
    if reply.status_code != 200:
        typer.echo(answer.get("error", {}).get("message", f"status {reply.status_code}"), err=True)
        raise typer.Exit(1)
    rows: Rows = answer["data"]
    return rows


def _schema() -> Any:
    import pyarrow as pa

    number, text, whole = pa.float64(), pa.string(), pa.int64()
    candidate = {"model": text, "value": number, "cost": number, "score": number, "excluded": text}
    return pa.schema(
        {
            "id": text,
            "created_at": number,
            "key": text,
            "chosen": text,
            "target": text,
            "reason": text,
            "beta": number,
            "propensity": number,
            "candidates": pa.list_(pa.struct(list(candidate.items()))),
            "status": whole,
            "stream": pa.bool_(),
            "input_tokens": whole,
            "output_tokens": whole,
            "cached_tokens": whole,
            "cache_write_tokens": whole,
            "reasoning_tokens": whole,
            "audio_input_tokens": whole,
            "audio_output_tokens": whole,
            "usage_estimated": pa.bool_(),
            "cost_usd": number,
            "latency_ms": number,
            "first_byte_ms": number,
            "completion_id": text,
            "prompt_digest": text,
            "score": number,
        }
    )


def _read(option: str, text: str | None, reader: Callable[[str], Any]) -> Any:
    try:
        return None if text is None else reader(text)
    except ValueError as error:
        typer.echo(f"{option}: {error}", err=True)
        raise typer.Exit(2) from None


def _number(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"
