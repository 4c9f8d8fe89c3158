"""Managing keys over HTTP, and who may see what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.store.keys import add_key

KEYS = "/v1/router/keys"


def bearer(secret):
    return {"headers": {"authorization": f"Bearer {secret}"}}


@pytest.fixture
def boss():
    """Makes an admin key in a running gateway, and gives the header that bears it."""

    def making(running):
        return bearer(add_key(running.app.state.services.engine, "boss", admin=True)[1])

    return making


async def test_an_admin_key_makes_lists_changes_rotates_and_revokes_keys(start, boss):
    async with start() as running:
        http, admin = running.http, boss(running)
        limits = {"month_usd": 5, "models": ["weak"], "beta_max": 0.5}
        made = await http.post(KEYS, json={"name": "ci", "limits": limits}, **admin)
        assert made.status_code == 201
        secret = made.json()["secret"]
        assert (await http.get("/v1/models", **bearer(secret))).status_code == 200
        assert made.json()["budgets"][0]["left_usd"] == 5
        listed = await http.get(KEYS, **admin)
        assert [each["name"] for each in listed.json()["data"]] == ["boss", "ci"]
        assert secret not in listed.text
        assert listed.json()["data"][1]["hint"] == f"…{secret[-4:]}"

        changed = await http.patch(f"{KEYS}/ci", json={"limits": {"models": None, "day_usd": 1}}, **admin)
        assert changed.json()["limits"] == {"month_usd": 5.0, "day_usd": 1.0, "beta_max": 0.5}
        assert (await http.get(f"{KEYS}/ci", **admin)).json()["limits"] == changed.json()["limits"]
        rotated = (await http.post(f"{KEYS}/ci/rotate", **admin)).json()["secret"]
        assert (await http.get("/v1/router/key", **bearer(secret))).status_code == 401
        mine = await http.get("/v1/router/key", **bearer(rotated))
        assert (mine.json()["name"], "secret" in mine.json()) == ("ci", False)
        assert (await http.delete(f"{KEYS}/ci", **admin)).status_code == 204
        assert (await http.get("/v1/router/key", **bearer(rotated))).status_code == 401


async def test_nobody_else_manages_keys_also_where_no_key_is_asked_for(start, settings, boss):
    open_ = replace(settings.server, require_key=False)
    async with start(server=open_) as running:
        _, secret = add_key(running.app.state.services.engine, "ci")
        assert (await running.http.get(KEYS)).status_code == 401
        refused = await running.http.get(KEYS, **bearer(secret))
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "insufficient_permissions")
        assert (await running.http.get(KEYS, **boss(running))).status_code == 200
        assert (await running.http.get("/v1/router/key")).status_code == 401


async def test_callers_need_a_key_as_soon_as_there_is_one(start, settings):
    async with start(server=replace(settings.server, require_key=None)) as running:
        assert (await running.chat("weak")).status_code == 200
        services = running.app.state.services
        _, secret = add_key(services.engine, "ci")
        await services.book.refresh()
        assert (await running.chat("weak")).status_code == 401
        assert (await running.chat("weak", **bearer(secret))).status_code == 200


async def test_an_admin_key_asks_no_model(start, boss):
    async with start() as running:
        reply = await running.chat("weak", **boss(running))
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "insufficient_permissions")
    assert not running.upstream.asked


async def test_a_key_sees_the_models_that_it_may_ask(start, boss):
    async with start() as running:
        made = await running.http.post(KEYS, json={"name": "x", "limits": {"deny": ["st*"]}}, **boss(running))
        key = bearer(made.json()["secret"])
        listed = await running.http.get("/v1/models", **key)
        assert [each["id"] for each in listed.json()["data"]] == ["auto", "middle", "weak"]
        assert (await running.http.get("/v1/models/strong", **key)).status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"name": "a/b"}, 400, "name"),
        ({}, 400, "name"),
        ({"name": "x", "secret": "mine"}, 400, "secret"),
        ({"name": "x", "admin": 1}, 400, "admin"),
        ({"name": "x", "limits": []}, 400, "limits"),
        ({"name": "x", "limits": {"day_usd": -1}}, 400, "limits.day_usd"),
        ({"name": "x", "limits": {"monthly": 1}}, 400, "limits.monthly"),
        ({"name": "x", "admin": True, "limits": {"day_usd": 1}}, 400, "limits"),
        ({"name": "boss"}, 409, None),
    ],
)
async def test_a_key_that_cannot_be_is_refused_by_name(start, boss, body, status, param):
    async with start() as running:
        reply = await running.http.post(KEYS, json=body, **boss(running))
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/rotate"), ("PATCH", "")]
)
async def test_a_key_that_is_not_there_is_not_found(start, boss, method, path):
    async with start() as running:
        reply = await running.http.request(method, f"{KEYS}/none{path}", json={"limits": {}}, **boss(running))
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "key_not_found")


async def test_a_page_may_call_from_the_origins_of_router_yaml_only(start, settings):
    server = replace(settings.server, cors_origins=("https://app.example.com",), require_key=True)
    asking = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    async with start(server=server) as running:
        ours, other = ({"origin": f"https://{name}.example.com", **asking} for name in ("app", "evil"))
        allowed = await running.http.options("/v1/chat/completions", headers=ours)
        refused = await running.http.options("/v1/chat/completions", headers=other)
        unknown = await running.chat(headers={"origin": "https://app.example.com"})
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    assert "access-control-allow-origin" not in refused.headers
    # the page can read why it was refused
    assert unknown.status_code == 401
    assert unknown.headers["access-control-allow-origin"] == "https://app.example.com"


async def test_without_origins_no_page_may_call(start):
    async with start() as running:
        reply = await running.chat("weak", headers={"origin": "https://app.example.com"})
    assert "access-control-allow-origin" not in reply.headers
