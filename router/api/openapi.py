"""The OpenAPI document: what every endpoint has in common, added to what each says of itself."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from router.api.describe import STRING, always, fields, maybe

if TYPE_CHECKING:
    from fastapi import FastAPI

ENVELOPE = fields(error=fields(message=STRING, type=STRING, param=maybe(STRING), code=maybe(STRING)))
ANTHROPICS = fields(type=always("error"), error=fields(type=STRING, message=STRING), request_id=STRING)
SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "a key of `router keys`, where one is needed",
    },
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}
OPEN = ("/healthz", "/readyz")  # to everybody
ADMINS = ("/v1/router/keys", "/metrics")


def document(app: FastAPI) -> None:
    """Make the app tell of errors in their envelope, of keys, and of nothing that FastAPI only assumes."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            # a copy, since what endpoints say of themselves is part of it
            found = deepcopy(get_openapi(title=app.title, version=app.version, routes=app.routes))
            schemas = found.setdefault("components", {}).setdefault("schemas", {})
            for assumed in ("HTTPValidationError", "ValidationError"):
                schemas.pop(assumed, None)
            schemas |= {"Error": ENVELOPE, "AnthropicError": ANTHROPICS}
            found["components"]["securitySchemes"] = SCHEMES
            for path, operations in found["paths"].items():
                for operation in operations.values():
                    _complete(path, operation)
                    schemas |= _inner(operation)
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(path: str, operation: dict[str, Any]) -> None:
    envelope = "AnthropicError" if path.startswith("/v1/messages") else "Error"
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{envelope}"}}}
    responses = operation["responses"]
    responses.pop("422", None)
    responses["4XX"] = {"description": "What is wrong with the request", "content": content}
    responses["5XX"] = {"description": "What failed behind the gateway", "content": content}
    if path not in OPEN:
        needed: list[dict[str, list[str]]] = [{name: []} for name in SCHEMES]
        operation["security"] = needed if path.startswith(ADMINS) else [*needed, {}]


def _inner(operation: dict[str, Any]) -> dict[str, Any]:
    """Takes the shapes inside a body out of it."""
    content = operation.get("requestBody", {}).get("content", {})
    shapes: dict[str, Any] = content.get("application/json", {}).get("schema", {}).pop("$defs", {})
    return shapes
