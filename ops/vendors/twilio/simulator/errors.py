"""Twilio's error numbers: what REST refuses with, and what the debugger shows of a call. Pure.

Source: Twilio's error dictionary, https://www.twilio.com/docs/api/errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MORE = "https://www.twilio.com/docs/errors/"


class RestError(Exception):
    """A refusal of the REST interface: HTTP status, Twilio's number, and its sentence."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> dict[str, Any]:
        """The JSON that the official SDKs read."""
        return {
            "code": self.code,
            "message": self.message,
            "more_info": f"{MORE}{self.code}",
            "status": self.status,
        }


def unauthorized() -> RestError:
    return RestError(401, 20003, "Authenticate")


def not_found(path: str) -> RestError:
    return RestError(404, 20404, f"The requested resource {path} was not found")


def method_not_allowed(method: str) -> RestError:
    return RestError(405, 20004, f"Method {method} is not allowed on this resource")


def too_many() -> RestError:
    return RestError(429, 20429, "Too Many Requests")


def server_error() -> RestError:
    return RestError(500, 20500, "An internal server error has occurred")


def invalid(code: int, message: str) -> RestError:
    """A request that Twilio understood and will not carry out: HTTP 400."""
    return RestError(400, code, message)


@dataclass(frozen=True)
class Notice:
    """One line of the debugger: Twilio's number, its title and what happened here."""

    code: int
    detail: str = ""

    @property
    def message(self) -> str:
        title = TITLES.get(self.code, "Unknown error")
        return f"{title}: {self.detail}" if self.detail else title

    @property
    def level(self) -> str:
        return "warning" if self.code in WARNINGS else "error"


TITLES = {
    11100: "Invalid URL format",
    11200: "HTTP retrieval failure",
    11201: "TCP connection timed out",
    11202: "TCP connection refused",
    11203: "HTTP communication total time out triggered",
    11205: "HTTP connection failure",
    11206: "HTTP protocol violation",
    11210: "HTTP bad host name",
    11215: "HTTP too many redirects",
    11216: "HTTP invalid redirect",
    11217: "HTTP error response code",
    11220: "SSL/TLS Handshake Error",
    11237: "Certificate Invalid - Could not find path to certificate",
    11750: "TwiML response body too large",
    11770: "Empty TwiML response body",
    12100: "Document parse failure",
    12200: "Schema validation warning",
    12300: "Invalid Content-Type",
    12400: "Internal Failure",
    13214: "Dial: Invalid callerId value",
    13215: "Dial: Invalid nested element",
    13223: "Dial: Invalid phone number format",
    13310: "Gather: Invalid finishOnKey value",
    13312: "Gather: Invalid method value",
    13313: "Gather: Invalid timeout value",
    13314: "Gather: Invalid numDigits value",
    13320: "Gather: Invalid nested element",
    13410: "Play: Invalid loop value",
    13420: "Play: Invalid Content-Type",
    13510: "Say: Invalid loop value",
    13520: "Say: Invalid text",
    13610: "Pause: Invalid length value",
    13710: "Redirect: Invalid method value",
    15003: "Call Progress: Warning Response to Callback URL",
    31901: "Stream - WebSocket - Connection Timeout",
    31902: "Stream - WebSocket - Connection Refused",
    31903: "Stream - WebSocket - Connection Broken Pipe",
    31910: "Stream - WebSocket - SSL Protocol Error",
    31920: "Stream - WebSocket - Handshake Error",
    31921: "Stream - WebSocket - Close Error",
    31923: "Stream - WebSocket - Malformed URL",
    31924: "Stream - Websocket - Protocol Error",
    31930: "Stream - Media - Buffer Overflow",
    31931: "Stream - Media - Media Discarded",
    31950: "Stream - Protocol - Malformed Message",
    31951: "Stream - Protocol - Invalid Message",
}
WARNINGS = frozenset({12200, *range(13300, 13800), 13215, 15003, 31930, 31931, 31950, 31951}) - {13420}
