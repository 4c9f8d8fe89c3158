"""The demo's procedural tasks as a dataset: every model of the simulated fleet answers every task.

The simulated models really try and really fail, the verifiers really grade, and the costs follow from their list
prices; but they are simulated, and no figure on them says anything about a real model.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import orjson
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fleet.tasks import Task

TASKS = 2_000


def generate(folder: Path, tasks: int = TASKS, seed: int = 0) -> None:
    """Write a native folder of `tasks` prompts by the simulated models; the same seed writes the same outcomes."""
    from fleet.replay import REPLAY_MODELS
    from fleet.tasks import generate as draw

    drawn = draw(tasks, seed, "test")
    ids = [f"{number:06d}" for number in range(len(drawn))]
    prompts = {
        "prompt_id": ids,
        "dataset": [task.domain for task in drawn],
        "text": [task.prompt for task in drawn],
    }
    rows = asyncio.run(_ask_all(drawn, ids))
    facts = [
        {
            "model": name,
            "params_b": None,
            "active_params_b": None,
            "price_in_per_mtok": model.prices.input,
            "price_out_per_mtok": model.prices.output,
            "price_source": "simulated",
        }
        for name, model in REPLAY_MODELS.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_parquet(folder / "outcomes.parquet", index=False)
    (folder / "models.json").write_text(json.dumps(facts, indent=1) + "\n")
    # written last: a folder with prompts is whole
    pd.DataFrame(prompts).to_parquet(folder / "prompts.parquet", index=False)


async def _ask_all(tasks: Sequence[Task], ids: Sequence[str]) -> list[dict[str, Any]]:
    from fleet.model import Model
    from fleet.replay import REPLAY_MODELS, Replay
    from router.verifiers import grade

    upstream = Replay(pace=0)
    rows = []
    for name, scripted in REPLAY_MODELS.items():
        model = Model(name, f"replay/{name}", scripted.prices)
        for identity, task in zip(ids, tasks, strict=True):
            reply = await upstream.chat(model, {"messages": [{"role": "user", "content": task.prompt}]})
            body = orjson.loads(b"".join([chunk async for chunk in reply.content]))
            usage = body["usage"]
            charged = (
                scripted.prices.input * usage["prompt_tokens"]
                + scripted.prices.output * usage["completion_tokens"]
            )
            rows.append(
                {
                    "prompt_id": identity,
                    "model": name,
                    "score": grade(task.verifier, body["choices"][0]["message"]["content"], task.answer),
                    "input_tokens": usage["prompt_tokens"],
                    "output_tokens": usage["completion_tokens"],
                    "cost_usd": charged / 1e6,
                }
            )
    return rows
