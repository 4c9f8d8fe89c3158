"""GET /v1/models."""

from __future__ import annotations

from tests.router.fakes import model


async def test_auto_and_the_fleet_are_listed_in_openais_shape(start):
    async with start() as running:
        listed = (await running.http.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert [each["id"] for each in listed["data"]] == ["auto", "strong", "middle", "weak"]
    assert listed["data"][1] == {"id": "strong", "object": "model", "created": 0, "owned_by": "openai"}


async def test_a_model_is_found_by_its_id_slashes_included(start):
    async with start(fleet=(model("meta/llama", 1.0),)) as running:
        assert (await running.http.get("/v1/models/meta/llama")).json()["id"] == "meta/llama"
        assert (await running.http.get("/v1/models/auto")).json()["owned_by"] == "router"
        missing = await running.http.get("/v1/models/none")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_a_path_or_method_that_does_not_exist_is_answered_in_the_envelope(start):
    async with start() as running:
        path = await running.http.get("/v1/nothing")
        method = await running.http.get("/v1/feedback")
    assert (path.status_code, method.status_code) == (404, 405)
    assert path.json()["error"]["type"] == method.json()["error"]["type"] == "invalid_request_error"
    assert method.headers["allow"] == "POST"


async def test_the_openapi_document_describes_every_endpoint(start):
    async with start() as running:
        paths = (await running.http.get("/openapi.json")).json()["paths"]
    assert {"/v1/chat/completions", "/v1/feedback", "/v1/models", "/v1/router/explain", "/readyz"} <= set(
        paths
    )
    asking = (
        "chat/completions",
        "completions",
        "embeddings",
        "messages",
        "messages/count_tokens",
        "responses",
    )
    for path in (*(f"/v1/{name}" for name in asking), "/v1/feedback", "/v1/router/explain"):
        schema = paths[path]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert schema["properties"]
