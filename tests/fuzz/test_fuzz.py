"""Whatever is sent, the gateway answers: no 5xx of its own, always in the envelope. `make fuzz` sends 10,000."""

from __future__ import annotations

import json

import jsonschema
import pytest

from tests.fuzz.bodies import REQUESTS
from tests.fuzz.running import fuzz, gateway
from tests.fuzz.verdict import wrong_with


async def test_malformed_requests_are_answered_in_the_envelope(tmp_path):
    report = await fuzz(400, 1, tmp_path)
    assert not report.faults, "\n".join(report.faults)
    assert report.statuses[400] > 100  # most are wrong, and some come through
    assert report.statuses[200] > 20


async def test_the_requests_that_are_made_wrong_are_right(tmp_path):
    async with gateway(tmp_path) as (http, caller, boss):
        for valid in REQUESTS:
            headers = {"authorization": f"Bearer {boss if valid.admin else caller}"}
            reply = await http.request(valid.method, valid.path, json=valid.body, headers=headers)
            unknown = valid.path == "/v1/feedback"  # whose decision does not exist
            assert reply.status_code == 404 if unknown else reply.status_code in (200, 201), reply.text


@pytest.mark.parametrize(
    ("path", "status", "body", "wrong"),
    [
        ("/v1/models", 500, "{}", "status 500"),
        ("/v1/models", 404, '{"detail": "Not Found"}', "without a message"),
        ("/v1/models", 404, '{"error": {"message": "no"}}', "not OpenAI's"),
        ("/v1/messages", 400, '{"error": {"message": "no", "type": "x", "param": null, "code": null}}', "not Anth"),
        ("/v1/models", 400, "Internal Server Error", "no JSON object"),
        ("/v1/models", 200, 'Traceback (most recent call last)', "inside"),
    ],
)  # fmt: skip
def test_the_verdict_sees_what_is_wrong(path, status, body, wrong):
    headers = {"content-type": "application/json", "x-request-id": "r"}
    assert wrong in wrong_with(path, status, headers, body)
    cut = "data: " + json.dumps({"choices": []}) + "\n\n"
    assert (
        wrong_with(path, 200, {**headers, "content-type": "text/event-stream"}, cut)
        == "a stream without an end"
    )


async def test_replies_are_as_the_openapi_document_says(tmp_path):
    async with gateway(tmp_path) as (http, caller, boss):
        document = (await http.get("/openapi.json")).json()
        asked = [(valid.method, valid.path, valid.body, valid.admin) for valid in REQUESTS]
        read = (
            "/v1/models",
            "/v1/models/auto",
            "/v1/router/key",
            "/v1/router/decisions",
            "/v1/value/policies",
        )
        asked += [("GET", path, None, False) for path in (*read, "/healthz", "/readyz", "/v1/models/none")]
        asked += [
            ("GET", path, None, True) for path in ("/v1/router/keys", "/v1/router/keys/spare", "/metrics")
        ]
        asked += [("POST", "/v1/router/keys/spare/rotate", None, True)]
        seen = set()
        for method, path, given, admin in asked:
            template = _template(document, path)
            operation = document["paths"][template][method.lower()]
            for body in [{**given, "stream": each} for each in (False, True)] if _streams(given) else [given]:
                headers = {"authorization": f"Bearer {boss if admin else caller}"}
                reply = await http.request(method, path, json=body, headers=headers)
                if body is not None:
                    schema = operation["requestBody"]["content"]["application/json"]["schema"]
                    _check(document, schema, body)
                status = str(reply.status_code)
                said = operation["responses"].get(status) or operation["responses"][f"{status[0]}XX"]
                kind = reply.headers["content-type"].partition(";")[0]
                if kind == "application/json":
                    _check(document, said["content"][kind]["schema"], reply.json())
                elif kind == "text/event-stream":
                    for event in reply.text.strip().split("\n\n"):
                        fields = dict(line.split(": ", 1) for line in event.splitlines())
                        _check(document, said["content"][kind]["schema"], fields)
            seen.add((template, method.lower()))
        every = {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert {method for _, method in every - seen} <= {"delete"}


def _check(document, schema, instance):
    whole = {**schema, "components": document["components"]}  # where its references look
    jsonschema.Draft202012Validator(whole).validate(instance)


def _streams(body):
    return body is not None and "stream" in body


def _template(document, path):
    if path in document["paths"]:
        return path
    parts = path.split("/")
    return next(
        each
        for each in document["paths"]
        if len(each.split("/")) == len(parts)
        and all(a == b or a.startswith("{") for a, b in zip(each.split("/"), parts, strict=True))
    )
