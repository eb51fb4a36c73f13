"""A door that refuses a right signature: which spelling of the URL it checks against is found by asking it.

The matrix of spellings is `ops/vendors/twilio/spelling`; here is what this stack adds to it, and how
long the asking may take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from ops.config import Settings
from ops.vendors.twilio.spelling import Variant, variants

SECONDS = 3.0  # for all the asking
PREFIXES = ("/api", "/twilio", "/voice", "/webhook")  # that proxies commonly add or strip


def fitting(
    settings: Settings, url: str, taken: Callable[[str], bool], *, websocket: bool = False
) -> Variant | None:
    """The first spelling of `url` whose signature the door takes; None when none was within SECONDS."""
    until = time.monotonic() + SECONDS
    for variant in candidates(settings, url, websocket=websocket):
        if time.monotonic() > until:
            return None
        if taken(variant.url):
            return variant
    return None


def candidates(settings: Settings, url: str, *, websocket: bool = False) -> Iterator[Variant]:
    """The whole matrix with this stack's names, ports and prefixes."""
    local = (f"127.0.0.1:{settings.websocket_port}", f"localhost:{settings.websocket_port}", "localhost")
    configured = urlsplit(settings.public_url or "").netloc
    hosts = (*local, *(name for name in (configured, settings.ngrok_domain) if name))
    parts = urlsplit(url).path.strip("/").split("/")
    own = (f"/{parts[0]}",) if len(parts) > 1 else ()
    return variants(
        url, hosts=hosts, ports=(settings.websocket_port,), prefixes=(*own, *PREFIXES), websocket=websocket
    )
