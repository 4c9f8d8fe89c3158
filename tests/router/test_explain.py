"""`router explain` and `router serve`, as far as the terminal sees them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from typer.testing import CliRunner

from router.app import create_app
from router.cli import app as cli
from router.explain import ExplainFailed, explain, explain_table
from tests.router.fakes import FakeScorer, Scripted, fleet_of
from tests.router.serving import serving


async def test_a_running_gateways_answer_is_a_table_in_rank(settings):
    app = create_app(settings, scorer=FakeScorer(), fleet=fleet_of(Scripted({}), *settings.fleet))
    async with serving(app) as url:
        answer = await explain(settings, "two and two?", beta=0.0, url=url)
    out = io.StringIO()
    Console(file=out, width=120).print(explain_table(answer))
    lines = out.getvalue().splitlines()
    assert "weak (best_score)" in lines[0]
    [chosen] = [line for line in lines if "→" in line]
    assert chosen.split()[:4] == ["→", "weak", "0.500", "0.000259"]
    order = [name for line in lines[1:] for name in ("weak", "middle", "strong") if f" {name} " in line]
    assert order == ["weak", "middle", "strong"]
    assert "beta 0; embed 1.50 ms, head 0.25 ms, decide" in out.getvalue()


async def test_what_the_gateway_refuses_is_told_in_its_words(settings):
    app = create_app(settings, scorer=FakeScorer(), fleet=fleet_of(Scripted({}), *settings.fleet))
    async with serving(app) as url:
        with pytest.raises(ExplainFailed, match=r"router\.beta must be"):
            await explain(settings, "hi", beta=7, url=url)
    with pytest.raises(ExplainFailed, match="ConnectError"):
        await explain(settings, "hi", url=url)


@pytest.mark.parametrize("command", [["serve"], ["explain", "hi"]])
def test_a_file_with_mistakes_ends_the_command_with_2_and_every_mistake(tmp_path, command):
    path = tmp_path / "router.yaml"
    path.write_text("fleet: []\nbetta: 1\n")
    result = CliRunner().invoke(cli, [*command, "--config", str(path)])
    assert result.exit_code == 2
    assert f"{path}:1: " in result.output
    assert f"{path}:2: " in result.output


def test_a_store_that_cannot_be_opened_ends_serve_without_a_traceback(tmp_path):
    path = tmp_path / "router.yaml"
    (tmp_path / "router.db").write_bytes(b"this is no database" * 100)
    path.write_text("fleet: [{name: t, target: replay/tally, prices: {input: 1, output: 1}}]\n")
    result = CliRunner().invoke(cli, ["serve", "--config", str(path)])
    assert result.exit_code == 1
    assert "cannot open the store" in result.output
