"""GET /v1/models: `auto`, the presets and the fleet, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter

from fleet.model import Model
from router.api.describe import INTEGER, STRING, always, fields, many, replied
from router.api.request import Caller, ServicesOf
from router.call import AUTO
from router.errors import UnknownModel
from router.store.rows import KeyRow

api = APIRouter(tags=["models"])

CREATED = 0  # OpenAI's field for a model's birth, which we do not know
ENTRY = fields(id=STRING, object=always("model"), created=INTEGER, owned_by=STRING)


@api.get("/v1/models", openapi_extra=replied(fields(object=always("list"), data=many(ENTRY))))
async def list_models(built: ServicesOf, key: Caller) -> dict[str, Any]:
    """`auto` first, then the presets, then the fleet as far as the key may ask it, in the order of router.yaml."""
    ours = [_entry(name, "router") for name in (AUTO, *built.gateway.settings.presets)]
    return {"object": "list", "data": [*ours, *map(_of_fleet, _fleet(built, key).values())]}


@api.get("/v1/models/{name:path}", openapi_extra=replied(ENTRY))
async def get_model(name: str, built: ServicesOf, key: Caller) -> dict[str, Any]:
    """One of them."""
    if name == AUTO or name in built.gateway.settings.presets:
        return _entry(name, "router")
    model = _fleet(built, key).get(name)
    if model is None:
        raise UnknownModel(name)
    return _of_fleet(model)


def _fleet(built: ServicesOf, key: KeyRow | None) -> Mapping[str, Model]:
    models = built.gateway.fleet.models
    return {name: model for name, model in models.items() if key is None or key.limits.allows(name)}


def _of_fleet(model: Model) -> dict[str, Any]:
    return _entry(model.name, model.provider)


def _entry(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": CREATED, "owned_by": owner}
