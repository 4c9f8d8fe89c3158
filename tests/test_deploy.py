"""What is deployed fits the project: the image's parts, its settings, and the time that each gives a drain."""

from __future__ import annotations

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

from router.config import load

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "deploy" / "config" / "router.yaml"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def unit():
    read = ConfigParser(strict=False, interpolation=None)
    read.optionxform = str
    read.read(ROOT / "deploy" / "systemd" / "v0-router.service")
    return read


@pytest.fixture
def settings(tmp_path):
    """The image's settings, with a folder in the volume's place."""
    given = CONFIG.read_text()
    assert "sqlite:////data/router.db" in given
    there = tmp_path / "router.yaml"
    there.write_text(given.replace("/data/", f"{tmp_path}/"))
    return load(there, environ={})


def test_the_settings_of_the_image_are_valid(settings):
    assert [model.name for model in settings.fleet] == ["nano-xs", "nano-maths", "nano-think"]


def test_the_image_is_built_from_what_there_is_and_has_every_package():
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for name in line.split()[:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied <= kept
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert {name.partition(".")[0] for name in packages} <= copied


def test_a_drain_ends_before_anybody_loses_patience(settings):
    drain_s = settings.server.drain_s
    assert int(unit()["Service"]["TimeoutStopSec"]) > drain_s
    assert int(COMPOSE["services"]["gateway"]["stop_grace_period"].removesuffix("s")) > drain_s


def test_nobody_is_root_and_the_settings_are_where_each_looks():
    assert re.search(r"^USER 10001", DOCKERFILE, re.MULTILINE)
    assert unit()["Service"]["User"] == "v0-router"
    mounts = COMPOSE["services"]["gateway"]["volumes"]
    assert {"./deploy/config:/config:ro", "store:/data"} == set(mounts)
    assert '"--config", "/config/router.yaml"' in DOCKERFILE
    assert COMPOSE["services"]["models"]["command"][:2] == ["fleet", "serve-nano"]
