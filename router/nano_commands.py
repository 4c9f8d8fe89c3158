"""`router fleet …`: train, measure and serve the nano fleet of real, tiny language models (docs/nano-fleet.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

nano = typer.Typer(
    help="A fleet of real, tiny language models: train, measure and serve it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Models = Annotated[
    Path | None, typer.Option("--models", help="A folder of Hugging Face folders. Default: the shipped ones.")
]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Of torch, in each process.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]


@nano.command("serve-nano")
def serve_nano(
    models: Models = None,
    host: Annotated[str, typer.Option("--host")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8100,
    threads: Threads = 1,
    device: Device = "auto",
    rows: Annotated[int, typer.Option("--rows", min=1, help="Replies of one model at once.")] = 32,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0, max=2, help="Of requests that name none.")
    ] = 1.0,
) -> None:
    """Serve the models over OpenAI's API until told to end."""
    from fleet.nano import commands

    commands.serve(models, host, port, threads, device, rows, temperature)


@nano.command("nano-yaml")
def nano_yaml(
    models: Models = None,
    url: Annotated[str, typer.Option("--url", help="Where they are served.")] = "http://127.0.0.1:8100/v1",
) -> None:
    """Print the fleet section of router.yaml for the served models, priced by size."""
    from fleet.nano import commands

    commands.section(models, url)


@nano.command("train-nano")
def train_nano(
    out: Annotated[
        Path, typer.Option("--out", help="Where models, states and logs go; resumes what is there.")
    ],
    only: Annotated[
        list[str] | None, typer.Option("--only", help="This model; repeatable. Default: all.")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Models trained at once.")] = 2,
    threads: Threads = 1,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
) -> None:
    """Train the models on the tasks. Stop it whenever you like; the same command goes on where it was."""
    from fleet.nano import commands

    commands.train(out, only or (), jobs, threads, device)


@nano.command("measure-nano")
def measure_nano(
    models: Models = None,
    split: Annotated[str, typer.Option("--split", help="Of the tasks.")] = "test",
    tasks: Annotated[int, typer.Option("--tasks", min=1)] = 2200,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Replies to every task.")] = 1,
    temperature: Annotated[float, typer.Option("--temperature", min=0, max=2)] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="Other tasks.")] = 0,
) -> None:
    """Print accuracy by model, domain and difficulty, beside what a perfect router would get."""
    from fleet.nano import commands
    from router.verifiers import grade

    commands.measure(models, split, tasks, samples, temperature, seed, grade)
