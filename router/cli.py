"""`router`: the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.decision_commands import decisions, tail
from router.keys import commands as key_commands
from router.nano_commands import nano
from router.pull import pull
from router.store import commands as store_commands

if TYPE_CHECKING:
    from router.config import Settings

app = typer.Typer(
    name="router",
    help="An OpenAI-compatible gateway that sends each prompt to the model of your fleet that is worth its cost.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
)

Config = Annotated[Path, typer.Option("--config", "-c", help="The settings to use.")]
ROUTER_YAML = Path("router.yaml")

app.add_typer(key_commands.keys, name="keys")
app.add_typer(nano, name="fleet")
app.command("contexts")(store_commands.contexts)
app.command("decisions")(decisions)
app.command("pull")(pull)
app.command("tail")(tail)


@app.callback()
def main() -> None:
    """Commands of V0 Router."""


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="The file to write, or its folder.")] = ROUTER_YAML,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
) -> None:
    """Write a commented router.yaml that works as it is."""
    from importlib.resources import files

    if path.is_dir():
        path /= ROUTER_YAML
    template = (files("router") / "templates" / "router.yaml").read_bytes()
    try:
        with path.open("wb" if force else "xb") as file:
            file.write(template)
    except FileExistsError:
        typer.echo(f"{path} exists; --force overwrites it", err=True)
        raise typer.Exit(1) from None
    except OSError as error:
        typer.echo(f"{path} cannot be written: {error.strerror}", err=True)
        raise typer.Exit(1) from None
    typer.echo(f"wrote {path}; `router check` validates it, `router serve` starts the gateway")


@app.command()
def check(config: Config = ROUTER_YAML) -> None:
    """Validate router.yaml and print the fleet. Exit code 2 where something is wrong."""
    import os

    from rich.console import Console

    from router.config import read
    from router.fleet_table import fleet_table

    reading = read(config)
    if reading.models:
        Console().print(fleet_table(reading.models, os.environ))
    for problem in reading.problems:
        typer.echo(str(problem), err=True)
    if reading.settings is None:
        raise typer.Exit(2)
    typer.echo(f"{config} is valid: {len(reading.models)} models, beta {reading.settings.beta:g}")
    if reading.settings.value.tabpfn is not None:
        from router.value_settings import tabpfn_terms

        typer.echo(tabpfn_terms(reading.settings.value.tabpfn))


@app.command()
def serve(
    config: Config = ROUTER_YAML,
    host: Annotated[str | None, typer.Option("--host", help="Instead of server.host.")] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Instead of server.port; 0 takes a free one.")
    ] = None,
) -> None:
    """Serve the gateway until told to end."""
    from router.serve import serve as run
    from router.store.engine import open_store
    from router.store.errors import StoreError

    settings = _settings(config)
    try:
        open_store(settings.store.url).dispose()
    except StoreError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    run(settings, host, port)


@app.command()
def explain(
    prompt: Annotated[str, typer.Argument(help="What would be asked.")],
    config: Config = ROUTER_YAML,
    beta: Annotated[
        float | None, typer.Option("--beta", min=0, max=1, help="Instead of the settings'.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="Ask this running gateway.")] = None,
) -> None:
    """Show which model `auto` would choose for a prompt, and why. Nothing is called."""
    import asyncio

    from rich.console import Console

    from router.explain import ExplainFailed, explain_table
    from router.explain import explain as run

    try:
        answer = asyncio.run(run(_settings(config), prompt, beta, url))
    except ExplainFailed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    Console().print(explain_table(answer))


@app.command()
def profile(
    model: Annotated[str, typer.Argument(help="The model of the fleet to profile.")],
    probes: Annotated[
        Path | None,
        typer.Option("--probes", help="jsonl with prompt, answer, verifier. Default: built-in tasks."),
    ] = None,
    tasks: Annotated[int, typer.Option("--tasks", min=1, help="How many built-in tasks.")] = 250,
    config: Config = ROUTER_YAML,
    gateway: Annotated[
        str | None,
        typer.Option("--gateway", help="Default: the one running on the settings, else one in this process."),
    ] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="Probes at once.")] = 8,
    max_usd: Annotated[
        float | None, typer.Option("--max-usd", min=0, help="Spend no more than this.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Go ahead without asking.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Send probes again that were graded before.")
    ] = False,
    key_env: Annotated[
        str, typer.Option("--key-env", help="The variable that holds the gateway's key, if it wants one.")
    ] = "ROUTER_API_KEY",
) -> None:
    """
    Ask a model probes whose answers are known, grade its replies, and fill its context with the outcomes.

    Says first what it will cost. Interrupted, it goes on where it was.
    """
    from router.profile_command import Options, run

    options = Options(model, probes, tasks, config, gateway, concurrency, max_usd, key_env, yes, fresh)
    raise typer.Exit(run(options))


@app.command()
def demo(
    seed: Annotated[int, typer.Option("--seed", help="Other tasks, other mistakes.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer tasks.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Keep serving afterwards.")] = False,
    out: Annotated[Path, typer.Option("--out", help="Where picture and numbers go.")] = Path("out/demo"),
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 0,
) -> None:
    """The whole story on five tiny language models: profile, route, frontier, feedback, a sixth model."""
    from router.demo.command import run

    raise typer.Exit(run(out, seed=seed, quick=quick, serve=serve, port=port))


@app.command()
def train(
    data: Annotated[Path, typer.Option("--data", help="The folder that holds the recipe's sources.")],
    out: Annotated[
        Path, typer.Option("--out", help="Where weights, state and log go; resumes what is there.")
    ],
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Default: the shipped weights' own.")
    ] = None,
    cache: Annotated[Path, typer.Option("--cache", help="Token states, computed once.")] = Path(
        ".cache/states"
    ),
    device: Annotated[str, typer.Option("--device")] = "cpu",
) -> None:
    """Train V0 on outcome data. Stop it whenever you like; the same command goes on where it was."""
    from router.value.commands import train as run

    run(data, out, recipe, cache, device)


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option("--data", help="The folder that holds the sources.")],
    weights: Annotated[Path | None, typer.Option("--weights", help="Default: the shipped ones.")] = None,
    card: Annotated[Path | None, typer.Option("--card", help="Write the whole model card here.")] = None,
    cache: Annotated[Path, typer.Option("--cache", help="Token states, computed once.")] = Path(
        ".cache/states"
    ),
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol", help="The paper's: strict, sequential or both, on the one source that --data is."
        ),
    ] = None,
) -> None:
    """Measure V0 on prompts and models that its training never saw, beside kNN, ridge and the context's mean."""
    if protocol is not None:
        from router.value.paper_commands import evaluate_protocol

        evaluate_protocol(data, weights, cache, protocol)
        return
    from router.value.commands import evaluate as run

    run(data, weights, card, cache)


@app.command("leave-out")
def leave_out(
    data: Annotated[Path, typer.Option("--data", help="The folder that holds the recipe's sources.")],
    out: Annotated[
        Path, typer.Option("--out", help="Where weights, scores and tables go; makes only what it lacks.")
    ],
    sources: Annotated[
        str, typer.Option("--sources", help="a,b: only these. Default: all of the recipe's that are there.")
    ] = "",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Draws of contexts.")] = 3,
    recipe: Annotated[
        Path | None, typer.Option("--recipe", help="Default: the shipped weights' own.")
    ] = None,
    cache: Annotated[Path, typer.Option("--cache", help="The backbone's states, computed once.")] = Path(
        ".cache/states"
    ),
) -> None:
    """Leave every source out of the training in turn and measure V0 on it. Stop it whenever you like."""
    from router.value.commands import leave_out as run

    run(data, out, recipe, cache, sources, seeds)


@app.command()
def ablate(
    data: Annotated[Path, typer.Option("--data", help="One source: the folder with its parquet files.")],
    out: Annotated[
        Path, typer.Option("--out", help="Where runs and tables go; makes only the runs that it lacks.")
    ],
    protocol: Annotated[str, typer.Option("--protocol", help="strict, sequential or both.")] = "both",
    study: Annotated[str, typer.Option("--study", help="connectors, losses, head or all.")] = "all",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Runs of every cell.")] = 3,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps of a run.")] = 200,
    prompts: Annotated[int, typer.Option("--prompts", min=1, help="At most this many of the source.")] = 5000,
    cache: Annotated[Path, typer.Option("--cache", help="Token states, computed once.")] = Path(
        ".cache/states"
    ),
) -> None:
    """The paper's ablation on one source: connectors, losses, a head tuned or frozen. Stop it whenever you like."""
    from router.value.ablation import AblationConfig
    from router.value.paper_commands import run_ablation

    run_ablation(data, out, cache, protocol, study, seeds, AblationConfig(steps, steps, prompts))


def _settings(config: Path) -> Settings:
    """The settings in a file; where it has mistakes, they are printed and the command ends with exit code 2."""
    from router.config import ConfigError, load

    try:
        return load(config)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
