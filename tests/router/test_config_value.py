"""router.yaml's `value`: the head and what TabPFN needs."""

from __future__ import annotations

import shutil

import pytest
from typer.testing import CliRunner

from router.cli import app
from router.config import ConfigError, load
from router.value_settings import TabpfnSettings, named_release
from tests.router.value.tiny_tabpfn import ASSET

FLEET = "fleet: [{name: sage, target: replay/sage}]\n"


@pytest.fixture
def read(tmp_path):
    """The settings in a text beside which TabPFN's weights lie under two names."""

    def read(text):
        path = tmp_path / "router.yaml"
        path.write_text(FLEET + text)
        return load(path, {})

    for name in ("tabpfn-v2-classifier.ckpt", "tabpfn-v2.5-classifier-v2.5_default.ckpt"):
        shutil.copy(ASSET, tmp_path / name)
    return read


def test_the_head_is_ours_unless_told(read):
    assert read("").value.tabpfn is None
    assert read("value: {tabpfn: {weights: nowhere.ckpt}}").value.tabpfn is None


def test_the_backbone_takes_the_fastest_precision_that_agrees_unless_told(read):
    assert read("").value.precision == "auto"
    assert read("value: {precision: fp32}").value.precision == "fp32"
    with pytest.raises(ConfigError, match=r"value\.precision"):
        read("value: {precision: int8}")


def test_tabpfn_is_read_with_its_defaults_and_paths_beside_the_file(read, tmp_path):
    tabpfn = read("value: {head: tabpfn, tabpfn: {weights: tabpfn-v2-classifier.ckpt}}").value.tabpfn
    assert tabpfn == TabpfnSettings(tmp_path / "tabpfn-v2-classifier.ckpt", None, 4, "levels", 8 << 30)
    restricted = read(
        "value:\n  head: tabpfn\n  tabpfn:\n    weights: tabpfn-v2.5-classifier-v2.5_default.ckpt\n"
        "    accept_licence: tabpfn-v2.5-non-commercial\n    labels: hard\n    estimators: 1\n    cache_gb: 0.5\n"
    ).value.tabpfn
    assert (restricted.accept_licence, restricted.labels) == ("tabpfn-v2.5-non-commercial", "hard")
    assert (restricted.estimators, restricted.cache_bytes) == (1, 1 << 29)


@pytest.mark.parametrize(
    ("text", "line", "parts"),
    [
        (
            "value:\n  head: tabpfn\n",
            3,
            ["value.tabpfn.weights is missing", "router pull tabpfn-v2", "Apache 2.0"],
        ),
        (
            "value:\n  head: tabpfn\n  tabpfn:\n    weights: absent.ckpt\n",
            5,
            ["there is no file", "absent.ckpt", "huggingface.co/Prior-Labs", "NON-COMMERCIAL"],
        ),
        (
            "value:\n  head: tabpfn\n  tabpfn: {weights: tabpfn-v2.5-classifier-v2.5_default.ckpt}\n",
            4,
            ["NON-COMMERCIAL", "add accept_licence: tabpfn-v2.5-non-commercial"],
        ),
        (
            "value:\n  head: tabpfn\n  weights: .\n  tabpfn: {weights: tabpfn-v2-classifier.ckpt}\n",
            4,
            ["holds no adapter.safetensors", "router pull v0-paper"],
        ),
        ("value:\n  head: tabfpn\n", 3, ["'icl', 'tabpfn' or 'none'"]),
        ("value:\n  tabpfn: {accept_licence: 'yes'}\n", 3, ["tabpfn-v2.5-non-commercial"]),
        ("value:\n  tabpfn: {licence: x}\n", 3, ["did you mean 'accept_licence'"]),
    ],
)
def test_what_is_missing_or_not_accepted_is_told_with_its_line(read, text, line, parts):
    with pytest.raises(ConfigError) as caught:
        read(text)
    (problem,) = caught.value.problems
    assert problem.line == line
    for part in parts:
        assert part in problem.message


@pytest.mark.parametrize(
    ("file", "release"),
    [
        ("tabpfn-v2-classifier-finetuned-zk73skhh.ckpt", "TabPFN v2"),
        ("tabpfn-v2.5-classifier-v2.5_default.ckpt", "TabPFN v2.5"),
        ("tabpfn-v3-classifier-v3_default.ckpt", "TabPFN v3"),
        ("tabpfn-v3.5-fast-20260909.safetensors", "TabPFN v3.5"),
    ],
)
def test_a_release_is_known_by_its_official_name(file, release):
    assert named_release(file).name == release
    assert named_release("mine.ckpt") is None


def test_check_shows_the_licence(read, tmp_path):
    read("value: {head: tabpfn, tabpfn: {weights: tabpfn-v2-classifier.ckpt}}")
    shown = CliRunner().invoke(app, ["check", "--config", str(tmp_path / "router.yaml")])
    assert shown.exit_code == 0, shown.output
    assert "Apache 2.0 with attribution" in shown.output
