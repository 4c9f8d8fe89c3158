from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from router.cli import app


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


def test_init_writes_a_file_that_check_accepts(run):
    assert run("init").exit_code == 0
    checked = run("check")
    assert checked.exit_code == 0
    assert "router.yaml is valid: 5 models, beta 0.8" in checked.stdout


def test_init_does_not_overwrite_unless_forced(run):
    Path("router.yaml").write_text("mine")
    refused = run("init")
    assert refused.exit_code == 1
    assert "--force" in refused.stderr
    assert Path("router.yaml").read_text() == "mine"
    assert run("init", "--force").exit_code == 0
    assert "fleet:" in Path("router.yaml").read_text()


def test_init_takes_a_folder_or_a_name(run):
    Path("folder").mkdir()
    assert run("init", "folder").exit_code == 0
    assert run("init", "folder/other.yaml").exit_code == 0
    assert sorted(path.name for path in Path("folder").iterdir()) == ["other.yaml", "router.yaml"]


def test_init_into_a_folder_that_does_not_exist_says_so(run):
    failed = run("init", "nowhere/router.yaml")
    assert failed.exit_code == 1
    assert "No such file" in failed.stderr


def test_check_shows_each_model_and_whether_its_key_is_there(run, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-shown")
    Path("router.yaml").write_text(
        "fleet:\n"
        "  - {name: sage, target: replay/sage}\n"
        "  - {name: 'small[red]', target: openai/gpt-4o-mini}\n"
    )
    checked = run("check")
    rows = {line.split()[0]: line for line in checked.stdout.splitlines() if "/" in line}
    assert checked.exit_code == 0
    assert "5/5/20" in rows["sage"]
    assert "none needed" in rows["sage"]
    for shown in (
        "openai/gpt-4o-mini",
        "0.15/0.075/0.6",
        "128,000",
        "tools",
        "vision",
        "yes, OPENAI_API_KEY",
    ):
        assert shown in rows["small[red]"]
    assert "sk-not-to-be-shown" not in checked.output


def test_check_of_a_wrong_file_tells_every_problem_and_exits_2(run):
    Path("router.yaml").write_text(
        "fleet:\n  - {name: sage, target: replay/sage}\n  - {name: gpt, target: openai/gpt-4o}\nbeta: 2\n"
    )
    checked = run("check")
    assert checked.exit_code == 2
    assert "sage" in checked.stdout
    assert "no, OPENAI_API_KEY" in checked.stdout
    assert checked.stderr.splitlines() == [
        "router.yaml:3: openai/gpt-4o takes its key from the environment variable OPENAI_API_KEY, which is not set",
        "router.yaml:4: beta should be less than or equal to 1",
    ]


def test_check_of_a_missing_file_exits_2(run):
    checked = run("check", "--config", "other.yaml")
    assert checked.exit_code == 2
    assert checked.stderr.startswith("other.yaml:1: cannot be read")


def test_the_command_line_and_the_settings_do_not_import_anything_heavy():
    code = (
        "import sys, router.cli, router.config;"
        "print(sorted({'litellm', 'torch', 'openai', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
