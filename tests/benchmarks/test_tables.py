from __future__ import annotations

import re

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from benchmarks import results, summary, sweep, sweep_command, tables, tables_command
from benchmarks.cli import app
from benchmarks.parts import Averaged
from benchmarks.settings import Settings
from tests.benchmarks import routers as ours
from tests.benchmarks.outcomes import tiny_outcomes
from tests.benchmarks.test_results import a_router, some_results

QUIET = Console(quiet=True)
FIGURES = ("accuracy", "aiq", "gap_closed", "auc", "mse", "ece")


def averaged(*figures, seeds=(0,)):
    """A line whose figures, in the order of FIGURES, are all redrawn a little lower and a little higher."""
    swing = np.array([0.0, -0.01, 0.01])
    made = {name: value + swing for name, value in zip(FIGURES, figures, strict=True)}
    point = np.zeros((1, 3))
    return Averaged(point, point, np.ones((1, 1)), None, made, seeds)


LINES = {
    "umr": averaged(0.60, 0.50, 0.20, 0.70, 0.20, 0.02),
    "ridge": averaged(0.50, 0.52, 0.10, 0.70, 0.18, 0.06),
    "v0-256": averaged(0.55, 0.51, 0.30, 0.75, 0.19, 0.04),
    "umr@v0": averaged(0.70, 0.54, 0.40, 0.75, 0.19, 0.04),
    "ridge@v0": averaged(0.50, 0.50, 0.10, 0.71, 0.18, 0.05),
    "best-single": averaged(0.58, 0.30, 0.00, 0.50, 0.10, 0.01),
}


def swept(lines=LINES, name="tiny"):
    """A sweep of which only the names and the redraws matter."""
    names = [line for line in lines if line != "best-single"]
    part = some_results(routers={line: a_router() for line in names})
    return tables.Swept(name, part, lines)


def cells(table):
    """The rows of a Markdown table below its head, without their borders."""
    head, rule, *rows = table.splitlines()
    assert rule == "|" + "---|" * (head.count("|") - 1)
    assert {row.count("|") for row in rows} <= {head.count("|")}
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_best_is_chosen_by_the_figure_that_is_compared():
    assert cells(tables.earned([swept()], "aiq")) == [
        ["tiny, v0-256", ".510", "ridge .520", "**-0.010 [-0.010, -0.010]**",
         "umr .540", "**-0.030 [-0.030, -0.030]**"],
    ]  # fmt: skip
    assert cells(tables.earned([swept()], "accuracy"))[0][2] == "umr .600"


def test_bold_means_that_zero_is_outside():
    wide = averaged(0.5, 0.5, 0.1, 0.7, 0.2, 0.02)
    wide.figures["aiq"][1:] = 0.40, 0.60
    lines = {"umr": wide, "v0-256": LINES["v0-256"]}
    row = cells(tables.earned([swept(lines)], "aiq"))[0]
    assert re.fullmatch(r"\+0\.010 \[-0\.\d+, \+0\.\d+\]", row[3])
    assert row[4:] == ["–", "–"]


def test_lines_of_different_seeds_are_not_paired():
    lines = {**LINES, "ridge": averaged(0.5, 0.52, 0.1, 0.7, 0.18, 0.06, seeds=(0, 1))}
    assert cells(tables.earned([swept(lines)], "aiq"))[0][2:4] == ["ridge .520", "–"]


def test_the_embedding_alone_is_a_mean_of_differences():
    row = cells(tables.embedding([swept()]))[0]
    assert row == [
        "tiny",
        "**+0.010 [+0.010, +0.010]**",
        "**+0.050 [+0.050, +0.050]**",
        "**+0.030 [+0.030, +0.030]**",
    ]
    alone = {name: line for name, line in LINES.items() if "@" not in name}
    assert cells(tables.embedding([swept(alone)])) == [["tiny", "–", "–", "–"]]


def test_a_gap_that_nobody_closes_has_no_multiples():
    assert cells(tables.gaps([swept()])) == [
        ["tiny", "+30.0%", "umr +20.0%", "1.50", "umr +40.0%", "0.75"],
    ]
    behind = {**LINES, "umr": averaged(0.6, 0.5, -0.2, 0.7, 0.2, 0.02)}
    behind["ridge"] = averaged(0.6, 0.5, -0.1, 0.7, 0.2, 0.02)
    assert cells(tables.gaps([swept(behind)]))[0][2:4] == ["ridge -10.0%", "–"]


def test_beside_the_best_single_model_a_v0_that_was_not_swept_is_missing():
    more = {**LINES, "v0-all": averaged(0.6, 0.5, 0.2, 0.7, 0.2, 0.02)}
    assert cells(tables.beside_single([swept(), swept(more, "more")])) == [
        ["tiny", ".580", "**-0.030 [-0.030, -0.030]**", "–"],
        ["more", ".580", "**-0.030 [-0.030, -0.030]**", "**+0.020 [+0.020, +0.020]**"],
    ]


def test_errors_are_better_when_they_are_lower():
    row = cells(tables.counts([swept()]))[0]
    assert row == [
        "tiny, v0-256",
        "1 / 1; 1 / 1",
        "1 / 1; 1 / 1",
        "2 / 0; 1 / 0",
        "1 / 1; 0 / 1",
        "1 / 1; 1 / 0",
    ]


def test_a_table_of_routers_leaves_constants_out_and_starts_with_the_highest_aiq():
    lines = {
        "umr": a_router(ece=0.021, to_v0={"aiq": (-0.1, -0.2, 0.05)}),
        "v0-1024": a_router(gap_closed=0.25),
    }
    lines["v0-1024"] = lines["v0-1024"].model_copy(update={"aiq": 0.45, "intervals": {"aiq": (0.4, 0.5)}})
    references = {name: a_router().model_copy(update={"learns": False}) for name in ("random", "constant:a")}
    part = some_results(routers=lines, references=references, v0="v0-1024")
    table = tables.routers(part)
    assert table.splitlines()[0].endswith("| AIQ less v0-1024 |")
    assert cells(table) == [
        ["**v0-1024**", ".500", ".450 [.400, .500]", "–", "+25.0%", "–", "–", "–"],
        ["umr", ".500", ".400", "–", "–", "–", ".021", "-0.100 [-0.200, +0.050]"],
        ["*random*", ".500", ".400", "–", "–", "–", "–", "–"],
    ]


@pytest.fixture
def out(monkeypatch, tmp_path):
    """Sweeps by split: a V0 that is none and a router, over data that can be changed."""
    data = {"a": tiny_outcomes(prompts=120, models=4, name="a")}
    registry = {
        **{name: sweep.REGISTRY[name] for name in sweep.REFERENCES},
        "v0-1024": ours.MeanRouter,
        "refitted": ours.Refitted,
    }
    monkeypatch.setattr(summary, "REDRAWS", 40)
    monkeypatch.setattr(summary, "QUALITY_REDRAWS", 40)
    monkeypatch.setattr(sweep, "REGISTRY", registry)
    monkeypatch.setattr(sweep, "read", lambda path: data[path])
    monkeypatch.setattr(sweep, "embed", lambda outcomes, *_: ours.material(outcomes))

    def made(split):
        folder = tmp_path / split
        settings = Settings(
            data=("a",),
            out=folder,
            betas=(0.0, 1.0),
            seeds=(0, 1),
            test_size=0.3,
            context_size=8,
            split=split,
        )
        assert sweep_command._run(settings, QUIET) == 0
        return folder

    made.data = data
    return made


def test_the_command_pairs_what_the_sweep_left(out):
    folder = out("prompts")
    (section,) = tables_command.read(folder, None)
    (whole,) = section.fleets
    made = results.read(folder).routers["refitted"]
    for figure in ("accuracy", "aiq", "auc", "ece"):
        assert whole.figure("refitted", figure) == pytest.approx(getattr(made, figure))
        assert whole.less("refitted", "v0-1024", figure) == pytest.approx(made.to_v0[figure])
    ran = CliRunner().invoke(app, ["tables", str(folder)])
    assert ran.exit_code == 0
    assert "| a, v0-1024 | " in ran.output
    assert "4 models; 120 prompts, test prompts 36, 36; peak memory" in ran.output
    assert "| *oracle* | " in ran.output


def test_left_out_models_are_a_fleet_of_their_own(out):
    (section,) = tables_command.read(out("models"), None)
    assert [fleet.name for fleet in section.fleets] == ["a, split models", "a, split models, left-out models"]
    assert "### a, left-out models" in tables_command.markdown([section])


def test_other_data_than_the_sweeps_is_refused(out, capsys):
    folder = out("prompts")
    out.data["a"] = tiny_outcomes(prompts=120, models=4, name="a", seed=7)
    with pytest.raises(typer.Exit):
        tables_command.run([folder], None)
    assert "has no cells of" in capsys.readouterr().err
    made = results.read(folder)
    results.write(made.model_copy(update={"title": "mean of 2 datasets, all models"}), folder)
    with pytest.raises(typer.Exit):
        tables_command.run([folder], None)
    assert "a: has no figures yet" in capsys.readouterr().err
    with pytest.raises(typer.Exit):
        tables_command.run([folder / "nothing"], None)
    assert "cannot be read" in capsys.readouterr().err
