"""One line a request, in text or JSON, and nothing in it that was asked or answered."""

from __future__ import annotations

import io
import json
import logging
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from router.config import ConfigError, load
from router.logs import TEXT, Gathered, Json, configure
from tests.router.fakes import Fails, Says
from tests.router.running import ASK

FLEET = "fleet: [{name: tally, target: replay/tally}]\n"


@pytest.fixture
def lines(caplog):
    """The JSON of every request's line so far."""
    caplog.set_level(logging.INFO, logger="router")

    def lines():
        return [json.loads(Json().format(each)) for each in caplog.records if each.name == "router.logs"]

    return lines


async def test_a_request_is_one_line_that_says_what_it_cost_and_where_time_went(start, lines):
    async with start(beta=0.25) as running:
        reply = await running.chat(headers={"x-request-id": "abc-1"})
        await running.http.get("/healthz")  # asked all the time: not worth a line
    [line] = lines()
    parts = [line.pop(name) for name in ("decide_ms", "upstream_ms", "overhead_ms")]
    assert line.pop("ms") == pytest.approx(sum(parts), abs=0.05)
    assert line.pop("time").endswith("+00:00")
    assert line.pop("message").startswith("request_id=abc-1 endpoint=/v1/chat/completions status=200 ")
    assert line == {
        "level": "INFO",
        "logger": "router.logs",
        "request_id": "abc-1",
        "decision_id": reply.headers["x-router-decision"],
        "endpoint": "/v1/chat/completions",
        "status": 200,
        "asked": "auto",
        "model": "weak",
        "reason": "best_score",
        "beta": 0.25,
        "stream": False,
        "input_tokens": 10,
        "output_tokens": 5,
        "cached_tokens": 0,
        "cost_usd": pytest.approx(15e-6),
    }


async def test_no_line_quotes_a_prompt_a_reply_a_key_or_an_unknown_name(start, caplog, settings):
    caplog.set_level(logging.DEBUG)
    secret = "sk-v0-not-a-key"
    async with start({"weak": Says("a private reply")}) as running:
        await running.chat(headers={"authorization": f"Bearer {secret}"})
        await running.chat("a-name-that-may-be-a-secret")
    async with start(server=replace(settings.server, require_key=True)) as running:
        assert (await running.chat(headers={"authorization": f"Bearer {secret}"})).status_code == 401
    text = "\n".join(Json().format(each) for each in caplog.records)
    for private in (ASK[0]["content"], "private reply", secret, "may-be-a-secret"):
        assert private not in text


async def test_refusals_and_failures_have_their_line_too(start, lines):
    async with start({name: Fails(503) for name in ("strong", "middle", "weak")}) as running:
        await running.chat()
        await running.chat("nobody")
        await running.http.get("/nowhere")
    failed, unknown, lost = lines()
    assert (failed["status"], failed["error"]) == (503, "UpstreamRefused")
    assert failed["decision_id"].startswith("dec_")
    assert (unknown["status"], unknown["error"]) == (404, "UnknownModel")
    assert "model" not in unknown
    assert (lost["endpoint"], lost["status"]) == ("unmatched", 404)


def test_an_exception_is_told_without_its_message():
    try:
        raise RuntimeError("cannot read: my private prompt")
    except RuntimeError:
        record = logging.LogRecord("x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info())
    line = json.loads(Json().format(record))
    assert line["exception"].startswith("RuntimeError at test_logs.py:")
    assert "private" not in str(line)


@pytest.mark.parametrize(("kind", "formatter"), [("json", Json), ("text", logging.Formatter)])
def test_the_setting_chooses_the_form(kind, formatter):
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    root.handlers = []
    try:
        configure(kind)
        assert type(root.handlers[0].formatter) is formatter
        assert kind == "json" or root.handlers[0].formatter._fmt == TEXT
    finally:
        root.handlers, root.level = before, level


def test_router_yaml_takes_text_or_json_and_nothing_else(tmp_path):
    path = tmp_path / "router.yaml"
    path.write_text(FLEET)
    assert load(path, {}).server.log == "text"
    path.write_text(FLEET + "server: {log: json}\n")
    assert load(path, {}).server.log == "json"
    path.write_text(FLEET + "server:\n  log: xml\n")
    with pytest.raises(ConfigError, match=r"router.yaml:3: server.log should be 'text' or 'json'"):
        load(path, {})


class Counting(io.StringIO):
    """Counts its writes."""

    writes = 0

    def write(self, text):
        self.writes += 1
        return super().write(text)


@pytest.fixture
def gathered():
    """A logger of its own, and what it has written."""
    log, stream = logging.Logger("one"), Counting()
    log.addHandler(Gathered(stream))
    return log, stream


def test_lines_of_a_moment_are_written_together_and_soon(gathered):
    log, stream = gathered
    for number in range(100):
        log.info("line %d", number)
    assert stream.writes == 0
    until = time.monotonic() + 5
    while not stream.writes and time.monotonic() < until:
        time.sleep(0.01)
    assert stream.getvalue().splitlines() == [f"line {number}" for number in range(100)]
    assert stream.writes == 1
    log.info("later")
    log.handlers[0].flush()
    assert stream.getvalue().splitlines()[-1] == "later"


def test_a_handler_that_is_closed_leaves_no_thread(gathered):
    log, stream = gathered
    log.info("last")
    handler = log.handlers[0]
    handler.close()
    handler._thread.join(5)
    assert not handler._thread.is_alive()
    assert stream.getvalue() == "last\n"


def test_a_warning_is_written_at_once_after_what_came_before_it(gathered):
    log, stream = gathered
    log.info("first")
    log.warning("second")
    assert stream.getvalue() == "first\nsecond\n"


def test_what_waits_is_written_when_the_process_ends():
    said = "import logging; from router.logs import configure; configure('text'); logging.getLogger('x').info('last')"
    ended = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert ended.stderr.endswith(" INFO x last\n")


def test_a_reader_that_is_gone_is_no_error(gathered, capsys):
    log, stream = gathered
    stream.close()
    log.warning("nobody hears")
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGTERM to catch")
def test_the_last_lines_are_written_before_sigterm_ends_the_process():
    program = """
import logging, signal
from router.logs import configure, write_before_sigterm
configure("text")
write_before_sigterm()
logging.getLogger("router").info("the last line")
signal.raise_signal(signal.SIGTERM)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == -signal.SIGTERM
    assert "the last line" in ended.stderr
