"""`router demo` as the command line calls it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from rich.console import Console

from router.demo.local import CannotServe
from router.demo.story import QUICK, Sizes, tell

SNIPPET = """from openai import OpenAI

client = OpenAI(base_url="{url}/v1", api_key="none")
reply = client.chat.completions.with_raw_response.create(
    model="auto",
    messages=[{{"role": "user", "content": "What is 48 + 59?"}}],
    extra_body={{"router": {{"beta": 0.9}}}},
)
print(reply.headers["x-router-model"], reply.parse().choices[0].message.content)
"""


def run(out: Path, *, seed: int, quick: bool, serve: bool, port: int) -> int:
    """Tell the story; with `serve`, keep serving until interrupted. The exit code."""
    console = Console()

    async def stay(url: str) -> None:
        console.print(f"\nThe gateway keeps serving at {url}; Ctrl-C ends it. Try:\n")
        console.print(SNIPPET.format(url=url), markup=False, highlight=False, soft_wrap=True)
        await asyncio.Event().wait()

    try:
        out.mkdir(parents=True, exist_ok=True)
        sizes = QUICK if quick else Sizes()
        asyncio.run(tell(console, out, seed=seed, sizes=sizes, port=port, afterwards=stay if serve else None))
    except (CannotServe, TimeoutError, OSError) as error:
        console.print(f"{type(error).__name__}: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 0 if serve else 130
    return 0
