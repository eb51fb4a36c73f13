"""Who may see the private page: requests of this machine that no other site's page has made.

Against DNS rebinding the Host header must name this machine and port; against other sites' pages
Origin and Sec-Fetch-Site must be the page's own; and nothing may have come through a proxy or tunnel.
"""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ops.journal import write as journal

FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via")
SEALS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
]

log = journal.logger(__name__)


class Guard:
    """Lets a request through when it comes from this machine's own page or tools, and only reads."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        names = ("127.0.0.1", "localhost", "[::1]")
        self._app = app
        self._hosts = {f"{name}:{port}" for name in names} | ({*names} if port == 80 else set())
        self._origins = {f"http://{host}" for host in self._hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        reason = self.refusal(Headers(scope=scope))
        if reason is not None:
            log.warning("page.refused", f"Refused: {reason}.", path=scope["path"][:200])
            await PlainTextResponse(f"Refused: {reason}.\n", 403)(scope, receive, send)
            return

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *SEALS]
            await send(message)

        await self._app(scope, receive, sealed)

    def refusal(self, headers: Headers) -> str | None:
        """Why a request is not answered, or None."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return "the Host header names another machine or port"
        if any(name in headers for name in FORWARDING):
            return "it came through a proxy or a tunnel"
        if any(origin.lower() not in self._origins for origin in headers.getlist("origin")):
            return "it comes from another site's page"
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return "it comes from another site's page"
        return None


def page_policy(html: str) -> str:
    """A content security policy that lets exactly this page's own style and script run."""

    def hashes(tag: str) -> str:
        blocks = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digests = (base64.b64encode(hashlib.sha256(block.encode()).digest()).decode() for block in blocks)
        return " ".join(f"'sha256-{digest}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "connect-src 'self'; media-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
