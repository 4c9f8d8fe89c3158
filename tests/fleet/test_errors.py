from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from fleet.errors import FleetError, UnknownModel, UpstreamError


@pytest.mark.parametrize("status", [307, 401, 402, 403, 404, 408, 409, 429, 500, 502, 503, 529])
def test_another_model_may_succeed_where_the_request_is_not_at_fault(status):
    assert UpstreamError("m", "status", status).retryable


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_bad_request_is_bad_everywhere(status):
    assert not UpstreamError("m", "status", status).retryable


def test_another_window_may_hold_a_prompt_that_is_too_long():
    body = b'{"error": {"code": "context_length_exceeded"}}'
    assert UpstreamError("m", "status", 400, body=body).retryable


@pytest.mark.parametrize("cause", ["connect", "timeout", "cut", "key"])
def test_no_status_is_worth_another_model(cause):
    error = UpstreamError("m", cause)
    assert error.retryable
    assert error.status is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
    ],
)
def test_retry_after_is_seconds_or_nothing(headers, seconds):
    assert UpstreamError("m", "status", 429, headers).retry_after == seconds


def test_retry_after_may_be_a_date():
    headers = {"retry-after": formatdate(time.time() + 60, usegmt=True)}
    assert UpstreamError("m", "status", 503, headers).retry_after == pytest.approx(60, abs=2)


def test_a_message_names_the_model_and_never_the_body():
    error = UpstreamError("gpt", "status", 400, {"x-secret": "h"}, b"the prompt")
    assert str(error) == "gpt answered 400"
    assert "prompt" not in repr(error)


def test_an_unknown_model_names_those_that_exist():
    error = UnknownModel("sgae", ["sage", "clerk"])
    assert isinstance(error, FleetError)
    assert str(error) == "no model is called 'sgae'; the fleet has sage, clerk"
