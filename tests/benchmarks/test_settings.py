from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.settings import Settings, SettingsError, parse_betas, parse_seeds, pick, settings


def test_a_count_a_list_and_a_single_beta():
    assert parse_betas("3") == parse_betas(3) == (0.0, 0.5, 1.0)
    assert parse_betas("1,0.5, 0") == parse_betas([1, 0.5, 0]) == (0.0, 0.5, 1.0)
    assert parse_betas("0.5") == (0.5,)
    assert parse_betas("1") == (1.0,)
    for wrong in ("2.5", "0.5,2", "many", "nan", ""):
        with pytest.raises(SettingsError, match="betas"):
            parse_betas(wrong)


def test_a_count_or_a_list_of_seeds():
    assert parse_seeds("3") == parse_seeds(3) == (0, 1, 2)
    assert parse_seeds("42,999,42") == parse_seeds([42, 999]) == (42, 999)
    assert parse_seeds("7,") == (7,)
    for wrong in ("0", "-1,2", "1.5,2", "x"):
        with pytest.raises(SettingsError, match="seeds"):
            parse_seeds(wrong)


def test_options_win_over_the_file_and_the_file_over_defaults(tmp_path):
    config = tmp_path / "sweep.yaml"
    config.write_text("seeds: 5\nbetas: [0, 1]\ndata: [one, two]\nrouters: umr,v0-*\njobs: 2\n")
    made = settings({"seeds": "2", "out": None, "data": None}, config)
    assert made.seeds == (0, 1)
    assert made.betas == (0.0, 1.0)
    assert made.data == ("one", "two")
    assert made.routers == ("umr", "v0-*")
    assert made.jobs == 2
    assert made.out == Settings().out
    assert settings({}) == Settings()


def test_a_wrong_file_is_told_with_its_lines(tmp_path):
    config = tmp_path / "sweep.yaml"
    config.write_text("seeds: 3\nrouter: umr\nsplit: people\nbetas: 2.5\njobs: 0\n")
    with pytest.raises(SettingsError) as caught:
        settings({}, config)
    said = str(caught.value).splitlines()
    assert [line.removeprefix(f"{config}:").partition(":")[0] for line in said] == ["2", "3", "4", "5"]
    assert "routers" in said[0]
    config.write_text("seeds: 3\nbetas: 2.5\n")
    with pytest.raises(SettingsError, match=r"sweep.yaml:2: betas: 2.5"):
        settings({}, config)
    with pytest.raises(SettingsError, match=r"none.yaml:1: cannot be read"):
        settings({}, tmp_path / "none.yaml")


def test_options_are_checked():
    for options, said in (
        ({"split": "people"}, "split: 'people' is none of prompts, models, datasets"),
        ({"device": "tpu"}, "device"),
        ({"test_size": 1.5}, "test size"),
        ({"tabpfn": Path("nowhere.ckpt")}, "does not exist"),
        ({"data": []}, "data"),
    ):
        with pytest.raises(SettingsError, match=said):
            settings(options)


def test_picking_by_name_and_pattern_keeps_the_known_order():
    known = ["umr", "v0-256", "v0-1024"]
    assert pick(["v0-*", "umr"], known, "router") == known
    assert pick(["all"], known, "router") == known
    with pytest.raises(SettingsError, match="no router is called 'umrr'; did you mean 'umr'"):
        pick(["umrr"], known, "router")
