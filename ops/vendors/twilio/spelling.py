"""Explains a signature that does not fit: which spelling of the URL would have. Pure.

Behind a proxy or tunnel a server sees another scheme, host, port or path than Twilio called, and
checks the signature against what it sees. The matrix here has the spellings that occur.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

from ops.vendors.twilio import wire

PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


@dataclass(frozen=True)
class Variant:
    """One spelling of a URL, and in words how it differs from the one that was called."""

    url: str
    difference: str


def variants(
    url: str, *, hosts: Iterable[str] = (), prefixes: Iterable[str] = (), websocket: bool = False
) -> Iterator[Variant]:
    """All spellings over scheme, host, port, path prefix, trailing slash and query; the URL itself first.

    `hosts` are other names of the server, such as `127.0.0.1:8081`; `prefixes` are paths that a
    proxy may add or strip, such as `/api`.
    """
    parts = urlsplit(url)
    schemes = ("wss", "ws", "https", "http") if websocket else ("https", "http")
    own = parts.hostname or ""
    seen = set()
    for scheme in sorted(schemes, key=lambda one: one != parts.scheme):
        for host in dict.fromkeys((parts.netloc, own, *hosts)):
            for port in _ports(scheme, host):
                for prefix, path in _paths(parts.path, prefixes):
                    for query in dict.fromkeys((parts.query, "")):
                        spelled = urlunsplit((scheme, host + port, path, query, ""))
                        if spelled not in seen:
                            seen.add(spelled)
                            yield Variant(spelled, _difference(parts, spelled, prefix))


def explain(
    token: str, form: Mapping[str, str], signature: str, candidates: Iterable[Variant]
) -> Variant | None:
    """The spelling whose signature is the one that came; None when none fits (a wrong token, then)."""
    for variant in candidates:
        expected = wire.sign(token, variant.url, form)
        if hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            return variant
    return None


def _ports(scheme: str, host: str) -> tuple[str, ...]:
    return ("",) if ":" in host else ("", f":{PORTS[scheme]}")


def _paths(path: str, prefixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    bare = path.rstrip("/")
    for spelled in dict.fromkeys((path, bare, bare + "/")):
        yield "", spelled
    for prefix in prefixes:
        yield f"with {prefix} in front", prefix.rstrip("/") + path
        if path.startswith(prefix):
            yield f"without {prefix} in front", path.removeprefix(prefix.rstrip("/"))


def _difference(called: SplitResult, spelled: str, prefix: str) -> str:
    other = urlsplit(spelled)
    found = []
    if other.scheme != called.scheme:
        found.append(f"scheme {other.scheme} in place of {called.scheme}")
    if other.hostname != called.hostname:
        found.append(f"host {other.netloc} in place of {called.netloc}")
    elif other.port != called.port:
        found.append(f"port {other.port}" if other.port else "without the port")
    if prefix:
        found.append(f"path {prefix}")
    elif other.path != called.path:
        found.append("a trailing slash" if other.path.endswith("/") else "no trailing slash")
    if other.query != called.query:
        found.append("without the query")
    return ", ".join(found) or "as called"
