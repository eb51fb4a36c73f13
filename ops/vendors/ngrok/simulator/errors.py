"""ngrok's errors by their numbers, from ngrok.com/docs/errors: pages at the edge, refusals at start-up."""

from __future__ import annotations

import html

from ops.vendors.ngrok.simulator import http1

PAGES = {
    "ERR_NGROK_702": ("429 Too Many Requests", "Too many connections! This tunnel's rate limit is reached."),
    "ERR_NGROK_3004": (
        "502 Bad Gateway",
        "ngrok gateway error: the server returned an invalid or incomplete HTTP response.",
    ),
    "ERR_NGROK_3200": ("404 Not Found", "The endpoint {host} is offline."),
    "ERR_NGROK_8012": (
        "502 Bad Gateway",
        "Traffic was successfully tunneled to the ngrok agent, but the agent failed to establish "
        "a connection to the upstream web service at {upstream}. The error encountered was: {reason}",
    ),
}
STARTUP = {
    "ERR_NGROK_105": "authentication failed: "
    "The authtoken you specified does not look like a proper ngrok authtoken.",
    "ERR_NGROK_107": "authentication failed: "
    "The authtoken you specified is properly formed, but it is invalid.",
    "ERR_NGROK_108": "authentication failed: Your account is limited to 1 simultaneous ngrok agent sessions.",
    "ERR_NGROK_334": "failed to start tunnel: The endpoint '{url}' is already online.",
}


def page(code: str, *, host: str = "", upstream: str = "", reason: str = "") -> bytes:
    """The edge's answer for an error: its status, the header `Ngrok-Error-Code`, and a page that names it."""
    status, text = PAGES[code]
    said = html.escape(text.format(host=host, upstream=upstream, reason=reason))
    content = f"<!DOCTYPE html>\n<html><body><p>{said}</p><p>{code}</p></body></html>\n".encode()
    return http1.response(
        status, "text/html; charset=utf-8", content, ("Ngrok-Error-Code", code), ("Connection", "close")
    )


def startup(code: str, *, url: str = "") -> str:
    """The lines that the agent prints before it ends with exit code 1."""
    return f"ERROR:  {STARTUP[code].format(url=url)}\nERROR:\nERROR:  {code}\n"
