from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import pytest
from starlette.datastructures import Headers

from ops.apps.guard import Guard, page_policy


@pytest.fixture
def guard() -> Guard:
    async def nobody(*_: Any) -> None:
        raise AssertionError

    return Guard(nobody, 3000)


@pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost:3000", "[::1]:3000", "LocalHost:3000"])
def test_this_machines_names_are_let_in(guard: Guard, host: str) -> None:
    """With the page's own port."""
    assert guard.refusal(Headers({"host": host})) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example:3000", "127.0.0.1", "127.0.0.1:3001", "localhost.evil.example:3000", "", "0.0.0.0:3000", "127.0.0.1:3000@evil.example"],
)  # fmt: skip
def test_other_names_are_refused(guard: Guard, host: str) -> None:
    """A name that was rebound to this machine still stands in the Host header."""
    assert guard.refusal(Headers({"host": host}))


def test_no_host_or_two_are_refused(guard: Guard) -> None:
    """Nothing is guessed."""
    assert guard.refusal(Headers({}))
    assert guard.refusal(Headers(raw=[(b"host", b"127.0.0.1:3000"), (b"host", b"evil.example")]))


@pytest.mark.parametrize(
    ("header", "value", "refused"),
    [
        ("origin", "http://127.0.0.1:3000", False),
        ("origin", "http://localhost:3000", False),
        ("origin", "https://evil.example", True),
        ("origin", "http://127.0.0.1:8081", True),
        ("origin", "https://127.0.0.1:3000", True),
        ("origin", "null", True),
        ("sec-fetch-site", "same-origin", False),
        ("sec-fetch-site", "none", False),
        ("sec-fetch-site", "cross-site", True),
        ("sec-fetch-site", "same-site", True),
        ("x-forwarded-for", "203.0.113.7", True),
        ("forwarded", "for=203.0.113.7", True),
    ],
)
def test_other_sites_and_tunnels_are_refused(guard: Guard, header: str, value: str, refused: bool) -> None:
    """Only this page itself, a person's own tools and nobody through a proxy."""
    headers = Headers({"host": "127.0.0.1:3000", header: value})
    assert (guard.refusal(headers) is not None) is refused


def test_the_policy_lets_exactly_the_pages_own_script_and_style_run() -> None:
    """By their hashes; nothing inline beside them."""
    html = "<style>a { }</style><p>text</p><script>let b;</script>"
    policy = page_policy(html)
    for tag in ("script", "style"):
        (block,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy
    assert policy.startswith("default-src 'none'")
