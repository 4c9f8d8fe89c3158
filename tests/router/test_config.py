from __future__ import annotations

import os
import re
from dataclasses import FrozenInstanceError
from pathlib import Path
from textwrap import dedent

import pytest

from fleet.model import Model, Prices, Timeouts
from fleet.nano.commands import shipped
from fleet.nano.prices import models_in
from router.config import ConfigError, load, read

ONE = "fleet: [{name: sage, target: replay/sage}]\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "router.yaml"


@pytest.fixture
def settings(path):
    """Load a text."""

    def settings(text: str, **environ: str):
        path.write_text(dedent(text))
        return load(path, environ)

    return settings


@pytest.fixture
def problems(path):
    """(line, message) of everything that is wrong with a text or with bytes."""

    def problems(text: str | bytes, **environ: str) -> list[tuple[int, str]]:
        path.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
        with pytest.raises(ConfigError) as caught:
            load(path, environ)
        assert str(caught.value).splitlines() == [str(problem) for problem in caught.value.problems]
        assert all(str(problem).startswith(f"{path}:{problem.line}: ") for problem in caught.value.problems)
        return [(problem.line, problem.message) for problem in caught.value.problems]

    return problems


def test_the_shipped_file_works_without_a_key_and_is_what_init_writes():
    root = Path(__file__).parents[2]
    settings = load(root / "router.yaml", {})
    assert [model.name for model in settings.fleet] == [
        "nano-xs",
        "nano-note",
        "nano-maths",
        "nano-clerk",
        "nano-think",
    ]
    costs = [model.prices.output for model in settings.fleet]
    assert costs == sorted(costs)
    assert (root / "router.yaml").read_bytes() == (root / "router/templates/router.yaml").read_bytes()


def test_the_shipped_files_commented_examples_work_too(path):
    text = (Path(__file__).parents[2] / "router.yaml").read_text()
    lines = []
    for line in text.splitlines():
        bare = line.strip().removeprefix("# ")
        is_entry = line.startswith("  # ") and (bare.startswith("- ") or line.startswith("  #   "))
        lines.append("  " + line.strip().removeprefix("# ") if is_entry else line)
    path.write_text("\n".join(lines))
    keys = {"OPENAI_API_KEY": "a", "ANTHROPIC_API_KEY": "b", "VLLM_API_KEY": "c"}
    names = [model.name for model in load(path, keys).fleet]
    assert names[5:] == ["nano-dates", "gpt-4o-mini", "claude-haiku", "llama", "qwen"]


def test_the_shipped_prices_are_those_of_the_shipped_models():
    served = {model.name: model for model in models_in(shipped(), "http://127.0.0.1:8100/v1")}
    for model in load(Path(__file__).parents[2] / "router.yaml", {}).fleet:
        assert model == served[model.name]


def test_what_is_left_out_has_defaults(settings, path):
    loaded = settings(ONE)
    sage = Model("sage", "replay/sage", Prices(5, 20), abilities=frozenset({"completions"}))
    assert loaded.fleet == (sage,)
    assert (loaded.beta, loaded.exploration, loaded.combine, loaded.context_size) == (
        0.8,
        0.0,
        "separate",
        1024,
    )
    assert (loaded.server.host, loaded.server.port) == ("127.0.0.1", 8000)
    assert (loaded.server.max_body_mb, loaded.server.require_key) == (32, None)
    assert (loaded.value.weights, loaded.value.backbone, loaded.value.device) == (None, None, "auto")
    assert loaded.timeouts == Timeouts(5, 600)
    assert loaded.store.url == f"sqlite:///{path.parent}/router.db"
    assert not loaded.store.store_prompts
    assert loaded.path == path


def test_everything_can_be_said(settings, path):
    (path.parent / "v0.safetensors").touch()
    (path.parent / "encoder").mkdir()
    loaded = settings(
        """
        fleet:
          - name: qwen
            target: hosted_vllm/Qwen/Qwen3-8B
            api_base: http://localhost:8001/v1
            api_key_env: VLLM_API_KEY
            prices: {input: 1, output: 0.15, cached_input: 0.01}
            parameter_ratio: 0.1
            context_window: 40960
            abilities: [tools, json]
        beta: 1
        exploration: 0.05
        combine: weighted
        context_size: 256
        server: {host: 0.0.0.0, port: 9000, max_body_mb: 0.5, require_key: true}
        store: {url: "postgresql://me:secret@db/router", store_prompts: true}
        value: {weights: v0.safetensors, backbone: ./encoder, device: cpu}
        timeouts: {connect: 0.5, read: 30}
        """,
        VLLM_API_KEY="k",
    )
    assert loaded.fleet[0] == Model(
        name="qwen",
        target="hosted_vllm/Qwen/Qwen3-8B",
        prices=Prices(1, 0.15, 0.01),
        api_base="http://localhost:8001/v1",
        api_key_env="VLLM_API_KEY",
        parameter_ratio=0.1,
        context_window=40960,
        abilities=frozenset({"tools", "json"}),
    )
    assert (loaded.beta, loaded.exploration, loaded.combine, loaded.context_size) == (
        1,
        0.05,
        "weighted",
        256,
    )
    assert (loaded.server.host, loaded.server.port, loaded.server.require_key) == ("0.0.0.0", 9000, True)
    assert loaded.store.url == "postgresql://me:secret@db/router"
    assert "secret" not in repr(loaded)
    assert loaded.value.weights == path.parent / "v0.safetensors"
    assert loaded.value.backbone == str(path.parent / "encoder")
    assert loaded.timeouts == Timeouts(0.5, 30)


def test_prices_window_and_abilities_come_from_litellms_map_when_left_out(settings):
    (model,) = settings("fleet: [{name: small, target: openai/gpt-4o-mini}]", OPENAI_API_KEY="k").fleet
    assert model.prices == Prices(0.15, 0.6, 0.075)
    assert model.context_window == 128_000
    assert {"tools", "vision", "json"} <= model.abilities
    assert model.api_key_env == "OPENAI_API_KEY"


def test_what_is_given_stands_against_litellms_map(settings):
    text = """
    fleet:
      - {name: a, target: openai/gpt-4o-mini, prices: {input: 9, output: 9}, context_window: 7, abilities: []}
    """
    (model,) = settings(text, OPENAI_API_KEY="k").fleet
    assert (model.prices, model.context_window, model.abilities) == (Prices(9, 9), 7, frozenset())


def test_an_openai_server_of_ones_own_needs_no_key(settings):
    text = "fleet: [{name: a, target: openai/x, api_base: http://h/v1, prices: {input: 0, output: 0}}]"
    assert settings(text).fleet[0].api_key_env is None


def test_a_section_whose_lines_are_all_commented_out_has_its_defaults(settings):
    assert settings(ONE + "server:\nvalue:\nstore:\n").server.port == 8000


def test_entries_may_share_values_by_anchor_and_merge(settings):
    text = """
    fleet:
      - &first {name: a, target: replay/sage, prices: {input: 1, output: 2}}
      - {<<: *first, name: b}
    """
    assert [(model.name, model.prices) for model in settings(text).fleet] == [
        ("a", Prices(1, 2)),
        ("b", Prices(1, 2)),
    ]


def test_settings_are_frozen(settings):
    with pytest.raises(FrozenInstanceError):
        settings(ONE).beta = 0.1


def test_all_problems_are_told_at_once_in_the_order_of_their_lines(problems):
    found = problems(
        """\
        beta: high
        fleeet: []
        fleet:
          - name: a
            target: openai/gpt-4o
          - name: a
            target: opnai/gpt-4o
            prices: {input: 1, output: -2, cachd_input: 3}
          - {name: c, target: replay/sage, abilities: [tool]}
          - {name: d, target: openai/no-such-model, api_key_env: KEY_D}
        server:
          port: 99999
        value: {weights: nope.safetensors, device: gpu}
        store: {url: "sqlite:///nowhere/router.db", store_prompt: true}
        """
    )
    lines = [line for line, _ in found]
    text = "\n".join(f"{line} {message}" for line, message in found)
    assert lines == [1, 2, 5, 6, 7, 8, 8, 9, 10, 10, 12, 13, 13, 14, 14], text
    for expected in (
        "1 beta should be a valid number",
        "2 unknown key 'fleeet'; did you mean 'fleet'?",
        "5 openai/gpt-4o takes its key from the environment variable OPENAI_API_KEY, which is not set",
        "6 two models are called 'a'; the first is on line 4",
        "7 unknown provider 'opnai'; did you mean openai/gpt-4o?",
        "8 fleet[1].prices.output should be greater than or equal to 0",
        "8 unknown key 'cachd_input'; did you mean 'cached_input'?",
        "9 fleet[2].abilities[0] should be 'tools', 'vision', 'json', 'logprobs', 'audio', 'reasoning', 'co",
        "10 fleet[3] needs prices: {input: …, output: …} in USD per million tokens; none are known for openai/no-",
        "10 openai/no-such-model takes its key from the environment variable KEY_D, which is not set",
        "12 server.port should be less than or equal to 65535",
        "13 value.weights: there is no file ",
        "13 value.device should be 'auto', 'cpu' or 'cuda'",
        "14 store.url: the folder ",
        "14 unknown key 'store_prompt'; did you mean 'store_prompts'?",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (ONE + "\nbeta: 1.5", 3, "beta should be less than or equal to 1"),
        (ONE + "beta: yes", 2, "beta should be a valid number"),
        (ONE + "beta: .nan", 2, "beta should be a finite number"),
        (ONE + "context_size: 1.5", 2, "context_size should be a valid integer"),
        (ONE + "combine: both", 2, "combine should be 'separate' or 'weighted'"),
        (
            ONE + "server: 8000",
            2,
            "server should be a mapping with the keys host, port, max_body_mb, require_key, log, drain_s, cors_origins",
        ),
        (
            ONE + "store: {url: mysql://h/n}",
            2,
            "store.url should be like sqlite:///router.db or postgresql://",
        ),
        (ONE + "timeouts: {read: 0}", 2, "timeouts.read should be greater than 0"),
        (ONE + "zzz: 1", 2, "unknown key 'zzz'; the keys here are fleet, beta, "),
        ("beta: 1", 1, "fleet lists no model"),
        ("beta: 1\nfleet:\n", 2, "fleet lists no model"),
        ("fleet: sage", 1, "fleet should be a list"),
        ("", 1, "fleet lists no model"),
        ("- a\n- b", 1, "the file should be a mapping"),
        ("fleet:\n  - sage", 2, "fleet[0] should be a mapping with the keys name, target, "),
        ("fleet:\n  - name: a", 2, "fleet[0].target is missing"),
        ("fleet:\n  - {name: 7, target: replay/sage}", 2, "fleet[0].name should be a valid string"),
        (
            "fleet:\n  - {name: auto, target: replay/sage}",
            2,
            "fleet[0].name 'auto' is the name that callers use",
        ),
        ("fleet:\n  - {name: a b, target: replay/sage}", 2, "fleet[0].name should be 1 to 128 visible ASCII"),
        ("fleet:\n  - name: a\n    target: gpt-4o", 3, "fleet[0].target should be PROVIDER/MODEL"),
        (
            "fleet:\n  - name: a\n    target: replay/sgae",
            3,
            "there is no simulated model 'sgae'; there are tally, ",
        ),
        ("fleet:\n  - name: a\n    target: hosted_vllm/x", 3, "hosted_vllm/x needs api_base, like http"),
        (
            "fleet:\n  - {name: a, target: x/y, api_base: localhost}",
            2,
            "fleet[0].api_base should be an address",
        ),
        (
            "fleet:\n  - {name: a, target: x/y, api_base: 'http://u:p@h/v1'}",
            2,
            "fleet[0].api_base should carry no user or password",
        ),
        ("fleet: [\n  {name: a", 2, "is not YAML: "),
        ("beta: 1\n\tfleet: 2", 2, "is not YAML: found character '\\t'"),
        ("beta: 1\n---\nbeta: 2", 2, "is not YAML: but found another document"),
        (ONE + "server:\n  port: 1\n  host: h\n  port: 2", 5, "'port' is given twice, first on line 3"),
        ("beta: !!python/object:os.system 1", 1, "is not YAML: could not determine a constructor"),
        (b"fleet:\n  - name: caf\xe9", 2, "byte 0xe9 is not UTF-8"),
        ("beta: 1\nfleet: \x01", 2, "character 0x01 is not allowed in YAML"),
        ("a: &a [*a]", 1, "is nested too deeply"),
        ("a: " + "[" * 5000, 1, "is nested too deeply"),
    ],
)
def test_each_mistake_is_told_with_its_line(problems, text, line, message):
    found = problems(text)
    assert any(at == line and said.startswith(message) for at, said in found), found


def test_a_file_that_does_not_exist_is_a_problem(path):
    with pytest.raises(ConfigError) as caught:
        load(path, {})
    assert str(caught.value) == f"{path}:1: cannot be read: No such file or directory"


@pytest.mark.parametrize("key", ["sk-abc123", "gsk_abcDEF123", "1KEY"])
def test_a_key_in_place_of_its_variables_name_is_refused_and_not_repeated(problems, key):
    ((_, message),) = problems(f"fleet: [{{name: a, target: openai/gpt-4o, api_key_env: {key}}}]")
    assert "should be the NAME of an environment variable" in message
    assert key not in message


def test_a_key_in_the_file_is_refused_and_not_repeated(problems):
    text = "fleet: [{name: a, target: openai/gpt-4o, api_key: sk-abc123}]"
    ((_, message),) = problems(text, OPENAI_API_KEY="k")
    assert message == "unknown key 'api_key'; did you mean 'api_key_env'?"


@pytest.mark.parametrize("value", [" ", "clé", "two\nlines"])
def test_a_key_that_cannot_be_sent_is_a_problem_and_not_shown(problems, value):
    ((_, message),) = problems("fleet: [{name: a, target: openai/gpt-4o}]", OPENAI_API_KEY=value)
    assert message.endswith("OPENAI_API_KEY, which holds no usable key")


def test_an_unreadable_weights_file_is_a_problem(problems, path, monkeypatch):
    (path.parent / "v0.safetensors").touch()
    monkeypatch.setattr(os, "access", lambda *_: False)  # a superuser may read anything
    ((line, message),) = problems(ONE + "value:\n  weights: v0.safetensors")
    assert line == 3
    assert message.endswith("v0.safetensors cannot be read")


def test_reading_gives_the_models_that_are_right_beside_those_that_are_not(path):
    path.write_text("fleet:\n  - {name: sage, target: replay/sage}\n  - {name: x}\n")
    reading = read(path, {})
    assert [model.name for model in reading.models] == ["sage"]
    assert len(reading.problems) == 1
    assert reading.settings is None


def test_a_key_may_come_from_a_file_beside_router_yaml(settings, path):
    (path.parent / "secret").write_text("sk-abc\n")
    text = "fleet: [{name: a, target: openai/gpt-4o, api_key_file: secret}]"
    [model] = settings(text).fleet
    assert (model.api_key_file, model.api_key_env) == (str(path.parent / "secret"), None)
    assert "sk-abc" not in repr(model)


@pytest.mark.parametrize(
    ("content", "more", "words"),
    [
        (None, "", "secret holds no usable key, or cannot be read"),
        ("  \n", "", "holds no usable key"),
        ("sk-abc", ", api_key_env: OPENAI_API_KEY", "name a file or a variable (api_key_env), not both"),
    ],
)
def test_a_file_without_a_key_is_a_problem(settings, path, content, more, words):
    if content is not None:
        (path.parent / "secret").write_text(content)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        settings(
            f"fleet: [{{name: a, target: openai/gpt-4o, api_key_file: secret{more}}}]", OPENAI_API_KEY="k"
        )
    assert "sk-abc" not in str(caught.value)
