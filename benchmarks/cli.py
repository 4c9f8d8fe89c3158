"""`router-bench`: measuring the router."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measure the router.")


# what `sweep` and `cold-start` are both told
Data = Annotated[
    list[str] | None,
    typer.Option(help="A folder, a file, or a name of `datasets`; repeatable. Default: nano."),
]
Out = Annotated[Path | None, typer.Option(help="Folder for the results. Default: bench-results.")]
Routers = Annotated[str | None, typer.Option(help="Names or patterns, with commas: v0-*,umr. Default: all.")]
Models = Annotated[
    str | None, typer.Option(help="Names or patterns of the fleet, with commas. Default: all.")
]
Seeds = Annotated[str | None, typer.Option(help="How many, or a list: 42,999. Default: 3.")]
TestSize = Annotated[float | None, typer.Option(help="Share of the prompts to test on. Default: 0.2.")]
Device = Annotated[str | None, typer.Option(help="auto, cpu or cuda. Default: auto.")]


@app.callback()
def _bench() -> None:
    """Measure the router."""


@app.command()
def sweep(
    data: Data = None,
    out: Out = None,
    routers: Routers = None,
    models: Models = None,
    betas: Annotated[str | None, typer.Option(help="How many, or a list: 0,0.5,1. Default: 21.")] = None,
    split: Annotated[
        str | None, typer.Option(help="What is left out: prompts, models or datasets. Default: prompts.")
    ] = None,
    context_size: Annotated[
        int | None,
        typer.Option(min=1, help="Outcomes of each left-out model that routers are given. Default: 256."),
    ] = None,
    seeds: Seeds = None,
    test_size: TestSize = None,
    device: Device = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Processes. Default: 1.")] = None,
    tabpfn: Annotated[Path | None, typer.Option(help="TabPFN's weights, to try V0 with that head.")] = None,
    weights: Annotated[Path | None, typer.Option(help="V0's weights. Default: those in the package.")] = None,
    config: Annotated[Path | None, typer.Option(help="The same settings as YAML; options win.")] = None,
) -> None:
    """Every router on outcome data: results.json, frontier.csv, pictures and report.html. Goes on where it stopped."""
    from benchmarks.sweep_command import run

    run({name: value for name, value in locals().items() if name not in ("config", "run")}, config)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="An OUT folder of `sweep`.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    out: Annotated[Path | None, typer.Option(help="Also write the comparison here, as JSON.")] = None,
) -> None:
    """Two results side by side: each router's figures, and B less A with an interval paired by prompt."""
    from benchmarks.compare import show

    show(first, second, out)


@app.command()
def tables(
    outs: Annotated[list[Path], typer.Argument(metavar="OUT...", help="OUT folders of `sweep`.")],
    weights: Annotated[Path | None, typer.Option(help="V0's weights there. Default: the package's.")] = None,
) -> None:
    """What sweeps found, as Markdown: routers, what V0's head and embedding earn, who is ahead; paired intervals."""
    from benchmarks.tables_command import run

    run(outs, weights)


@app.command("min-success")
def min_success(
    data: Data = None,
    targets: Annotated[str, typer.Option(help="Shares of successes, with commas.")] = "0.5,0.6,0.7,0.8,0.9",
    router: Annotated[str, typer.Option(help="Who predicts: a name of `sweep`.")] = "v0-1024",
    requests: Annotated[int, typer.Option(min=100, help="Of each seed's traffic.")] = 10_000,
    out: Out = None,
    seeds: Seeds = None,
    test_size: TestSize = None,
    weights: Annotated[Path | None, typer.Option(help="V0's weights. Default: those in the package.")] = None,
) -> None:
    """Whether `min_success` lands on its target: a sweep's test prompts replayed by the gateway's own rule."""
    from benchmarks.min_success import run

    options = {"data": data, "out": out, "seeds": seeds, "test_size": test_size, "weights": weights}
    run(options, targets, router, requests)


@app.command("pacing")
def pacing(
    data: Data = None,
    router: Annotated[str, typer.Option(help="Who predicts: a name of `sweep`.")] = "v0-1024",
    requests: Annotated[int, typer.Option(min=100, help="About how many in the month.")] = 10_000,
    out: Out = None,
    seeds: Seeds = None,
    test_size: TestSize = None,
    weights: Annotated[Path | None, typer.Option(help="V0's weights. Default: those in the package.")] = None,
) -> None:
    """Whether a paced key's month lands on its budget: a sweep's test prompts replayed by the gateway's own rule."""
    from benchmarks.pacing import run

    options = {"data": data, "out": out, "seeds": seeds, "test_size": test_size, "weights": weights}
    run(options, router, requests)


@app.command("cold-start")
def cold_start(
    data: Data = None,
    out: Out = None,
    routers: Routers = None,
    models: Models = None,
    sizes: Annotated[
        str | None, typer.Option(help="Outcomes of each new model. Default: 0,8,32,64,128,256,512,1024.")
    ] = None,
    seeds: Seeds = None,
    test_size: TestSize = None,
    device: Device = None,
) -> None:
    """Quality against the number of outcomes of a NEW model, and what refitting costs the routers that need it."""
    from benchmarks.cold_start import command

    given = {name: value for name, value in locals().items() if name not in ("sizes", "command")}
    command(given, sizes)


@app.command()
def latency(
    requests: Annotated[int, typer.Option(min=1, help="Decisions to time in each setting.")] = 200,
    fleet: Annotated[list[int] | None, typer.Option(min=1, help="Models; repeatable. Default: 20.")] = None,
    rows: Annotated[
        list[int] | None, typer.Option(min=0, help="Outcomes of each; repeatable. Default: 1024.")
    ] = None,
    words: Annotated[int, typer.Option(min=1, help="Of a prompt: 38 are about 50 tokens.")] = 38,
) -> None:
    """One decision's time by part, and decisions a second, by what computes the backbone."""
    from benchmarks.latency import run

    run(requests, fleet or (20,), rows or (1024,), words)


@app.command()
def precision(
    data: Annotated[
        list[Path], typer.Option(exists=True, file_okay=False, help="A folder of outcomes; repeatable.")
    ],
    prompts: Annotated[int, typer.Option(min=64, help="Of each source, drawn at random.")] = 1500,
    rows: Annotated[
        list[int] | None, typer.Option(min=8, help="Context sizes; repeatable. Default: 256.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the prompts drawn and of the contexts.")] = 0,
) -> None:
    """What the quick backbone loses of V0's AUC on real outcomes; exit status 1 if that is .003 or more."""
    from benchmarks.precision import run

    if not run(data, prompts, rows or (256,), seed):
        raise typer.Exit(1)


@app.command()
def conversations(
    data: Annotated[
        list[Path], typer.Option(exists=True, file_okay=False, help="A folder of outcomes; repeatable.")
    ],
    prompts: Annotated[int, typer.Option(min=96, help="Of each source, drawn at random.")] = 352,
    rows: Annotated[int, typer.Option(min=8, help="Prompts in context; of few, a third.")] = 256,
    draws: Annotated[int, typer.Option(min=1, help="Of the context.")] = 3,
) -> None:
    """Which text of a conversation V0 should read: AUC by choice, on real outcomes asked as chats."""
    from benchmarks.conversations import run

    run(data, prompts, rows, draws)


@app.command()
def crash(
    kills: int = typer.Option(5, help="Gateways to kill, one after another."),
    after: float = typer.Option(3.0, help="Seconds of load before the kill."),
) -> None:
    """kill -9 under load: outcomes acknowledged against outcomes found."""
    from benchmarks.crash import run

    run(kills, after)


@app.command()
def soak(
    requests: Annotated[int, typer.Option(min=100, help="How many chats are asked for.")] = 500_000,
    seed: Annotated[int, typer.Option(help="Of what the clients do.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Also write the figures here, as JSON.")] = None,
) -> None:
    """A gateway under load and faults for long: leaks, lost outcomes, wrong costs (exit status 1)."""
    from benchmarks.soak import run

    if not run(requests, seed, out):
        raise typer.Exit(1)


@app.command("schedule-map")
def schedule_map(
    out: Annotated[Path, typer.Option(help="Folder for the table and the pictures.")],
) -> None:
    """Where fusing V0's prior with rollouts helps and where it hurts: prior error × start × success rate."""
    from benchmarks.schedule_map import run

    run(out)


@app.command("schedule-budget")
def schedule_budget(
    prompts: Annotated[int, typer.Option(min=1, help="How many share the rollouts.")] = 100_000,
    average: Annotated[int, typer.Option(min=2, max=128, help="Rollouts of each on average.")] = 16,
    seed: Annotated[int, typer.Option(help="Of their success rates.")] = 0,
) -> None:
    """Rollout budgets: CPU time against a heap's, and what each policy's is worth."""
    from benchmarks.schedule_budget import run

    run(prompts, average, seed)


@app.command("value-call")
def value_call(
    prompts: Annotated[int, typer.Option(min=1, max=4096, help="Valued in one call.")] = 512,
    context: Annotated[int, typer.Option(min=1, max=4096, help="Outcomes that are read.")] = 256,
    times: Annotated[int, typer.Option(min=1, help="Calls to time.")] = 9,
    weights: Annotated[Path | None, typer.Option(help="V0's weights. Default: those in the package.")] = None,
) -> None:
    """How long V0 takes to value a batch of prompts for one policy, embeddings at hand, on one thread."""
    from benchmarks.value_call import run

    run(prompts, context, times, weights)


@app.command("value-steps")
def value_steps(
    data: Annotated[Path, typer.Option(help="A source whose models are checkpoints, such as v0_dapo.")],
    weights: Annotated[Path | None, typer.Option(help="V0's weights. Default: those in the package.")] = None,
    cache: Annotated[Path, typer.Option(help="Token states, computed once.")] = Path(".cache/states"),
    out: Annotated[Path | None, typer.Option(help="Folder for the figures as JSON.")] = None,
) -> None:
    """V0 on a policy's checkpoints step by step, beside previous-epoch, kNN, ridge and the context's mean."""
    from benchmarks.value_steps import run

    run(data, weights, cache, out)


@app.command()
def rl(
    out: Annotated[Path, typer.Option(help="Folder for the runs; it goes on where it stopped.")],
    methods: Annotated[str | None, typer.Option(help="Names, with commas. Default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Runs of each method.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="Of the runs, the others follow.")] = 0,
    rollouts: Annotated[int | None, typer.Option(min=2_000, help="Of each run. Default: 10,240.")] = None,
    pool: Annotated[int | None, typer.Option(min=64, help="Prompts to learn from. Default: 768.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=1e-6, max=1.0, help="Of AdamW. Default: 0.0005.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="V0's weights. Default: those in the package."),
    ] = None,
    figures: Annotated[Path | None, typer.Option(help="Folder for the pictures. Default: --out.")] = None,
) -> None:
    """A nano model learns its tasks by GRPO, DAPO's sampling, V0's budgets and V0.5's baselines, at equal rollouts."""
    from benchmarks.rl.command import command

    changes = {"rollouts": rollouts, "learning_rate": learning_rate, "pool": pool}
    command(out, methods, range(first_seed, first_seed + seeds), changes, weights, figures)


@app.command()
def load(
    gateway: Annotated[
        str | None,
        typer.Option(
            metavar="CMD",
            help="Starts the gateway, with {port}, {upstream}, {model}, {key}. Default: our own.",
        ),
    ] = None,
    url: Annotated[str | None, typer.Option(help="A gateway that runs already, before --mock-port.")] = None,
    pid: Annotated[int | None, typer.Option(min=1, help="Its process, to see what it uses.")] = None,
    versus: Annotated[
        str | None, typer.Option(metavar="CMD", help="Starts a second one; rounds alternate.")
    ] = None,
    model: Annotated[str, typer.Option(help="The model to ask for.")] = "auto",
    versus_model: Annotated[str | None, typer.Option(help="Of the second. Default: as --model.")] = None,
    key: Annotated[str | None, typer.Option(envvar="ROUTER_BENCH_KEY", help="The caller's key.")] = None,
    versus_key: Annotated[
        str | None,
        typer.Option(envvar="ROUTER_BENCH_VERSUS_KEY", help="Of the second. Default: as --key."),
    ] = None,
    concurrency: Annotated[
        str | None, typer.Option(help="Closed loop: clients at a time, with commas. Default: 1,8.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Open loop instead: requests a second, with commas.")
    ] = None,
    arrivals: Annotated[str, typer.Option(help="Open loop: poisson or even.")] = "poisson",
    requests: Annotated[int | None, typer.Option(min=1, help="Of each round, instead of --duration.")] = None,
    duration: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds of each round. Default: 5.")
    ] = None,
    stream: Annotated[bool, typer.Option("--stream", help="Stream the replies.")] = False,
    prompt_tokens: Annotated[int, typer.Option(min=1, help="About how long prompts are.")] = 50,
    same_prompt: Annotated[
        bool, typer.Option("--same-prompt", help="One prompt again and again. Default: all distinct.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds: the mock alone, the gateway, the second.")] = 3,
    starts: Annotated[int, typer.Option(min=1, help="Cold starts of each gateway.")] = 1,
    contexts: Annotated[int, typer.Option(min=0, help="Our own: outcomes in each model's context.")] = 0,
    warm_up: Annotated[int, typer.Option(min=0, help="Requests before each measurement.")] = 20,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one reply.")] = 60.0,
    start_timeout: Annotated[float, typer.Option(min=1, help="Seconds for a gateway to start.")] = 120.0,
    tokens: Annotated[int, typer.Option(min=1, help="The mock: tokens of a reply.")] = 200,
    first_byte_ms: Annotated[float, typer.Option(min=0, help="The mock: wait before a reply.")] = 0.0,
    chunk_ms: Annotated[float, typer.Option(min=0, help="The mock: wait for each token.")] = 0.0,
    mock_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="The mock's port. Default: a free one.")
    ] = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="Keep each gateway to the last core, all else to the others.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the figures here, as JSON.")] = None,
) -> None:
    """A gateway under load before a mock upstream: latency added, requests/s, CPU, memory, cold start."""
    from benchmarks.load.command import run

    run({name: value for name, value in locals().items() if name != "run"})


@app.command()
def bars(
    versus: Annotated[
        str | None, typer.Option(metavar="CMD", help="Starts the other gateway, as in `load`.")
    ] = None,
    versus_model: Annotated[str | None, typer.Option(help="What to ask it for.")] = None,
    versus_key: Annotated[
        str | None, typer.Option(envvar="ROUTER_BENCH_VERSUS_KEY", help="The caller's key there.")
    ] = None,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds of each round.")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, help="Of each measurement.")] = 3,
    starts: Annotated[int, typer.Option(min=1, help="Cold starts of each gateway.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Also write the figures here, as JSON.")] = None,
) -> None:
    """Every bar of the gateway beside another one, in one run: named, streamed, auto, start, memory."""
    from benchmarks.load.bars import run

    told = {"versus": versus, "versus_model": versus_model, "versus_key": versus_key}
    run({name: value for name, value in told.items() if value is not None}, duration, rounds, starts, out)


@app.command()
def datasets() -> None:
    """Datasets that --data knows by name, the formats it reads, and what is here already."""
    from benchmarks.datasets.commands import show

    show()


@app.command()
def fetch(
    name: str = typer.Argument(help="A dataset of `router-bench datasets`."),
    out: Path | None = typer.Option(
        None, help="Folder for it; by default the cache, where --data NAME finds it."
    ),
) -> None:
    """Download a public dataset, with its licence and checksums shown."""
    from benchmarks.datasets.commands import download

    download(name, out)


@app.command()
def generate(
    out: Path | None = typer.Option(None, help="Folder for it; by default the cache, as --data generated."),
    tasks: int = typer.Option(2_000, min=1, help="Prompts; every simulated model answers each."),
    seed: int = typer.Option(0, help="The same seed makes the same dataset."),
) -> None:
    """Make a dataset of SIMULATED models: our tasks, answered by scripts. For tests; `nano` has real ones."""
    from benchmarks.datasets.commands import make

    make(out, tasks, seed)


@app.command()
def collect(
    tasks: Annotated[
        str, typer.Option(help="procedural:N for tasks of our own, or a .jsonl file of prompts with answers.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the data; a run that stopped goes on there.")],
    fleet: Annotated[Path, typer.Option(help="The router.yaml whose models are asked.")] = Path(
        "router.yaml"
    ),
    models: Annotated[str, typer.Option(help="Names or patterns of it, with commas. Default: all.")] = "",
    samples: Annotated[int, typer.Option(min=1, help="Replies to each prompt; a score is their mean.")] = 1,
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="Default: each model's own.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="The longest reply. Default: no limit.")
    ] = None,
    sampling_seed: Annotated[
        int | None, typer.Option(help="Sent with the first sample, one more with each other. Default: none.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at once, of each model.")] = 8,
    cap_usd: Annotated[
        float | None,
        typer.Option(min=0, help="The most that the folder's calls may cost, earlier runs counted."),
    ] = None,
    samples_per_call: Annotated[
        int, typer.Option(min=1, help="Samples that one call asks for by `n`, where the models know it.")
    ] = 1,
    split: Annotated[str, typer.Option(help="procedural: train, validation or test.")] = "test",
    families: Annotated[str, typer.Option(help="procedural: names or patterns. Default: all.")] = "",
    seed: Annotated[int, typer.Option(help="procedural: other tasks.")] = 0,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before money is spent.")] = False,
) -> None:
    """Ask a whole fleet a set of tasks and write routing data. Goes on where it stopped."""
    from benchmarks.collect_command import Options, run
    from benchmarks.collect_questions import Source

    source = Source(tasks, split, families, seed)
    limits = samples, temperature, max_tokens, sampling_seed, concurrency, cap_usd
    raise typer.Exit(run(Options(fleet, source, out, models, *limits, yes, samples_per_call)))
