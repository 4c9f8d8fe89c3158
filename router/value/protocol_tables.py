"""The protocols' and the ablation's tables in Markdown, every figure with its 95% interval."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from router.value.ablation import CELLS, PLAIN, REFERENCE
from router.value.diagnostics import (
    DRAWS,
    Estimate,
    error_context,
    error_query,
    estimates,
    gradient_share,
    mean_over_policies,
    prompt_information,
    residual_context,
    residual_query,
    shortcut_information,
    shortcut_variance,
)
from router.value.protocols import METRICS, TITLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from router.value.ablation import Result
    from router.value.diagnostics import Statistic, Valued

    Runs = Sequence[Sequence[Valued]]

PER_POLICY: dict[str, Statistic] = {name: mean_over_policies(metric) for name, metric in METRICS.items()}
SHORTCUT: dict[str, Statistic] = {
    "I(Y;C), nats": shortcut_information,
    "I(Y;X given C), nats": prompt_information,
    "ρ(V−r, μ(C))": residual_context,
    "ρ(V−r, D_x)": residual_query,
    "Pearson, μ(C)": error_context,
    "Pearson, D_x": error_query,
    "logit variance between contexts": shortcut_variance,
}
KINDS = {
    "strict": "strict generalisation by query id",
    "aligned": "sequential alignment, each checkpoint from its own outcomes",
    "stale": "sequential alignment, each checkpoint from the outcomes of the one before",
}


def of_kind(runs: Runs, kind: str) -> list[list[Valued]]:
    """The runs restricted to one kind of trial; runs without any are left out."""
    kept = [[one for one in run if one.kind == kind] for run in runs]
    return [run for run in kept if run]


def policies_table(runs: Runs, draws: int = DRAWS) -> str:
    """One row for each policy, that is for each model and step, and their mean, not pooled."""
    lines = [_header(["policy", "queries", *TITLES.values()])]
    for name in dict.fromkeys(one.policy for run in runs for one in run):
        own = [[one for one in run if one.policy == name] for run in runs]
        found = estimates(PER_POLICY, own, draws=draws)
        lines.append(_line([name, str(len(own[0][0].values)), *(str(found[m]) for m in METRICS)]))
    found = estimates(PER_POLICY, runs, draws=draws)
    lines.append(_line(["**mean over policies**", "", *(str(found[m]) for m in METRICS)]))
    return "\n".join(lines) + "\n"


def predictors_table(named: Mapping[str, Runs]) -> str:
    """Predictors on the same trials: means over policies; the first is what the others are compared with."""
    lines = [_header(["predictor", *TITLES.values(), "AUC − first's"])]
    first = next(iter(named.values()))
    for name, runs in named.items():
        found = estimates(PER_POLICY, runs)
        lines.append(_line([name, *(str(found[m]) for m in METRICS), _apart(runs, first)]))
    return "\n".join(lines) + "\n"


def shortcut_table(named: Mapping[str, Runs], draws: int = DRAWS) -> str:
    """The diagnostics of `router.value.diagnostics` for each predictor."""
    lines = [_header(["predictor", *SHORTCUT])]
    for name, runs in named.items():
        found = estimates(SHORTCUT, runs, draws=draws)
        lines.append(_line([name, *(str(found[s]) for s in SHORTCUT)]))
    return "\n".join(lines) + "\n"


def gradient_table(runs: Runs) -> str:
    """What share of each loss's squared gradient, at these values, moves whole contexts only."""
    shares = {
        name: sum(gradient_share(name, run) for run in runs) / len(runs)
        for name in ("ce", "intra", "intra+inter", "intra+ce")
    }
    head, row = _header(["loss", *shares]), _line(["share", *(f"{share:.4f}" for share in shares.values())])
    return f"{head}\n{row}\n"


def ablation_tables(found: Sequence[Result], draws: int = DRAWS) -> str:
    """Everything that `router ablate` measured: for each protocol and kind of trial the cells, then the diagnostics."""
    parts = []
    for kind, title in KINDS.items():
        groups: dict[str, dict[int, Result]] = defaultdict(dict)
        for result in found:
            if any(one.kind == kind for one in result.valued):
                groups[result.name][result.seed] = result
        order = [name for name in (*dict.fromkeys(cell.name for cell in CELLS), *PLAIN) if name in groups]
        if not order:
            continue
        parts.append(f"### {title[0].upper()}{title[1:]}\n\n{_cells_table(groups, order, kind, draws)}")
        named = {
            name: of_kind([groups[name][seed].valued for seed in sorted(groups[name])], kind)
            for name in order
        }
        if kind != "stale":
            parts.append(f"The shortcut:\n\n{shortcut_table(named, draws)}")
        if REFERENCE in named:
            parts.append(f"Per model and step, {REFERENCE}:\n\n{policies_table(named[REFERENCE], draws)}")
            if kind != "stale":
                parts.append(f"Gradient in the shortcut's span:\n\n{gradient_table(named[REFERENCE])}")
    return "\n".join(parts)


def _cells_table(
    groups: Mapping[str, Mapping[int, Result]], order: Sequence[str], kind: str, draws: int
) -> str:
    columns = ["connector, loss, head", "seeds", "trained", *TITLES.values(), "AUC − reference"]
    lines = [_header(columns)]
    reference = groups.get(REFERENCE, {})
    for name in order:
        own = groups[name]
        found = estimates(PER_POLICY, of_kind([own[seed].valued for seed in sorted(own)], kind), draws=draws)
        shared = sorted(set(own) & set(reference))
        apart = _apart(
            of_kind([own[seed].valued for seed in shared], kind),
            of_kind([reference[seed].valued for seed in shared], kind),
            draws,
        )
        trained = f"{next(iter(own.values())).parameters:,}"
        lines.append(_line([name, str(len(own)), trained, *(str(found[m]) for m in METRICS), apart]))
    return "\n".join(lines) + "\n"


def _apart(runs: Runs, others: Runs, draws: int = DRAWS) -> str:
    if not runs or runs is others or _same(runs, others):
        return "–"
    return _signed(estimates({"auc": PER_POLICY["auc"]}, runs, others, draws)["auc"])


def _same(runs: Runs, others: Runs) -> bool:
    return all(
        one is other
        for run, beside in zip(runs, others, strict=True)
        for one, other in zip(run, beside, strict=True)
    )


def _signed(found: Estimate) -> str:
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _header(titles: Sequence[str]) -> str:
    return f"{_line(titles)}\n|{'---|' * len(titles)}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
