"""X-Twilio-Signature: how a request proves that it comes from the account's Twilio. Pure.

Source: Twilio, "Webhooks security": HMAC-SHA1 with the auth token over the URL followed by every
form name and value, sorted by name. A websocket upgrade has no form; its URL begins with wss.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping


def sign(token: str, url: str, form: Mapping[str, str] | None = None) -> str:
    """The header's value for a request to `url` that posts `form` (None: a GET, an upgrade)."""
    text = url + "".join(name + value for name, value in sorted((form or {}).items()))
    digest = hmac.new(token.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()
