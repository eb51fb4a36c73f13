"""Reads one setting's text into its typed value; every refusal says what was expected. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")
PLACEHOLDER = re.compile(
    r"""^(your[_\- ].*|.*[_\-]your[_\-].*|<.*>|\.\.\.|x{4,}|changeme|change[_\-]me|todo|placeholder
    |(AC|SK|PN)x+|\+?1?x{7,}|none|null)$""",
    re.IGNORECASE | re.VERBOSE,
)
E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
PREFIX = re.compile(r"\+[1-9]\d{0,13}\*", re.ASCII)


class Secret:
    """A text that prints as dots; `reveal()` is the only way to the text itself."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(•••)"

    def __str__(self) -> str:
        return "•••"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)


@dataclass(frozen=True)
class Repaired:
    """A value that was mended on the way in, and what was wrong with its text."""

    value: object
    warning: str


def is_placeholder(text: str) -> bool:
    """Whether a text stands where a value should be: empty quotes, `your_…`, `<token>`."""
    return not text.strip() or PLACEHOLDER.match(text.strip()) is not None


def text(raw: str) -> str:
    return raw


def secret(raw: str) -> Secret:
    if any(c.isspace() for c in raw):
        raise ValueError("a credential without spaces")
    return Secret(raw)


def sid(prefix: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if not re.fullmatch(prefix + "[0-9a-fA-F]{32}", raw):
            raise ValueError(f"{prefix} followed by 32 hexadecimal digits")
        return raw

    return parse


def phone_number(raw: str) -> str | Repaired:
    """An E.164 number (ITU-T E.164); a missing `+` is put back with a warning."""
    compact = re.sub(r"[ ()\-.]", "", raw)
    if E164.fullmatch(compact):
        return compact if compact == raw else Repaired(compact, "has spaces or punctuation")
    if E164.fullmatch("+" + compact):
        return Repaired("+" + compact, "has no leading +")
    raise ValueError("a phone number in E.164 form, like +12025550123")


def numbers_and_prefixes(raw: str) -> str:
    """E.164 numbers and prefixes like `+1555*`, in one text with commas and without blanks."""
    found = [part.strip() for part in raw.split(",")]
    for part in found:
        if not E164.fullmatch(part) and not PREFIX.fullmatch(part):
            raise ValueError(
                f"E.164 numbers or prefixes like +1555*, separated by commas (there is {part[:20]!r})"
            )
    return ",".join(found)


def ipv4(raw: str) -> str:
    try:
        return str(ipaddress.IPv4Address(raw))
    except ValueError:
        raise ValueError(f"expected an IPv4 address like 127.0.0.1, got {raw[:60]!r}") from None


def name(raw: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", raw, re.ASCII):
        raise ValueError(f"expected letters, digits, dots and dashes, got {raw[:60]!r}")
    return raw


def whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        if not re.fullmatch(r"\d{1,9}", raw, re.ASCII) or not low <= int(raw) <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return int(raw)

    return parse


def amount(low: float, high: float, unit: str) -> Callable[[str], float]:
    def parse(raw: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", raw, re.ASCII) or not low <= float(raw) <= high:
            raise ValueError(f"{unit} from {low:g} to {high:g}")
        return float(raw)

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        for word in allowed:
            if raw.lower() == word.lower():
                return word
        raise ValueError("one of " + ", ".join(allowed))

    return parse


def url(*schemes: str) -> Callable[[str], str]:
    """An absolute URL without credentials, query or fragment; a trailing slash is dropped."""

    def parse(raw: str) -> str:
        wanted = " or ".join(f"{scheme}://" for scheme in schemes)
        try:
            parts = urlsplit(raw)
            parts.port  # noqa: B018  (raises on a bad port)
        except ValueError:
            raise ValueError(f"a URL beginning with {wanted}") from None
        if parts.scheme not in schemes or not parts.hostname or raw != raw.strip():
            raise ValueError(f"a URL beginning with {wanted}")
        if parts.username or parts.password:
            raise ValueError(f"a URL beginning with {wanted}, without user name and password")
        if parts.query or parts.fragment or any(ord(c) < 33 for c in raw):
            raise ValueError(f"a URL beginning with {wanted}, without query or fragment")
        return raw.rstrip("/")

    return parse


def public_url(raw: str) -> str:
    """The public origin: https, or http where it is this machine."""
    origin = url("https", "http")(raw)
    if urlsplit(origin).scheme == "http" and not is_loopback(origin):
        raise ValueError("an https:// URL (http:// only on loopback)")
    return origin


def is_loopback(address: str) -> bool:
    """Whether a URL points at this machine."""
    host = urlsplit(address).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def domain(raw: str) -> str | Repaired:
    """A host name; a scheme in front of it is dropped with a warning."""
    bare = re.sub(r"^https?://", "", raw).rstrip("/")
    if not re.fullmatch(r"(?!-)[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", bare):
        raise ValueError("a host name, like my-agent.ngrok.app")
    return bare if bare == raw else Repaired(bare, "has a scheme or a slash")
