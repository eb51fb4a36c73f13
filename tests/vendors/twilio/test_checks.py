"""Twilio's region rule and token rule; the rest of its checks is proved in the bug zoo."""

from __future__ import annotations

import base64
from datetime import date
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ops.config import Settings
from ops.vendors.twilio import checks, region
from ops.vendors.twilio.client import monitor
from ops.world import World
from tests.standin import StandIn, serving


def _world(settings: Settings) -> World:
    return World.of(settings, today=date(2026, 11, 23))


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("https://api.twilio.com", "ok"),
        ("https://api.us1.twilio.com", "ok"),
        ("https://api.ie1.twilio.com", "fail"),
        ("https://api.dublin.ie1.twilio.com", "ok"),
        ("http://127.0.0.1:8101", "ok"),
    ],
)
def test_a_region_needs_an_edge(root: Path, url: str, status: str) -> None:
    """Names with a region alone are not served any more."""
    assert region.region(_world(Settings.load(root, {"TWILIO_API_URL": url}))).status == status


@pytest.mark.parametrize(("right", "status"), [(True, "ok"), (False, "fail")])
def test_a_wrong_token_beside_a_good_api_key_is_found(root: Path, right: bool, status: str) -> None:
    """REST works with the key, so only this question shows that no signature will fit."""
    standin = StandIn()
    key, secret = "SK" + "1" * 32, "2" * 32

    async def account(request: Request) -> Response:
        given = base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode()
        if given in (f"{key}:{secret}", f"{standin.account_sid}:{standin.token}"):
            return JSONResponse({"sid": standin.account_sid, "status": "active", "type": "Full"})
        return JSONResponse({"code": 20003, "message": "Authenticate", "status": 401}, 401)

    with serving(Starlette(routes=[Route("/{rest:path}", account)])) as url:
        standin.url = url
        changes = {"TWILIO_API_KEY": key, "TWILIO_API_SECRET": secret}
        if not right:
            changes["TWILIO_AUTH_TOKEN"] = "3" * 32
        world = _world(standin.settings(root, **changes))
        assert checks.credentials(world).status == "ok"
        assert checks.token(world).status == status


def test_alerts_are_asked_on_their_own_host() -> None:
    """Twilio keeps them on monitor.twilio.com; a stand-in answers at its own address."""
    assert monitor("https://api.twilio.com") == "https://monitor.twilio.com"
    assert monitor("https://api.dublin.ie1.twilio.com") == "https://monitor.dublin.ie1.twilio.com"
    assert monitor("http://127.0.0.1:8101") == "http://127.0.0.1:8101"
