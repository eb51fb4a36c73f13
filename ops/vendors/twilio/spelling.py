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
    url: str,
    *,
    hosts: Iterable[str] = (),
    ports: Iterable[int] = (),
    prefixes: Iterable[str] = (),
    websocket: bool = False,
) -> Iterator[Variant]:
    """All spellings over scheme, host, port, path prefix, trailing slash and query; the URL itself first,
    then those that differ in the fewest ways.

    `hosts` are other names of the server, such as `127.0.0.1:8081`; `ports` those that a server adds to a
    name, beside the scheme's own; `prefixes` are paths that a proxy may add or strip, such as `/api`.
    """
    found: dict[str, Variant] = {}
    for one in _matrix(url, hosts, tuple(ports), tuple(prefixes), websocket):
        found.setdefault(one.url, one)
    yield from sorted(found.values(), key=lambda one: (one.url != url, one.difference.count(",")))


def _matrix(
    url: str, hosts: Iterable[str], ports: tuple[int, ...], prefixes: tuple[str, ...], websocket: bool
) -> Iterator[Variant]:
    parts = urlsplit(url)
    schemes = ("wss", "ws", "https", "http") if websocket else ("https", "http")
    own = parts.hostname or ""
    for scheme in schemes:
        for host in dict.fromkeys((parts.netloc, own, *hosts)):
            for port in _ports(scheme, host, ports):
                for prefix, path in _paths(parts.path, prefixes):
                    for query in dict.fromkeys((parts.query, "")):
                        spelled = urlunsplit((scheme, host + port, path, query, ""))
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


def _ports(scheme: str, host: str, more: Iterable[int]) -> tuple[str, ...]:
    return ("",) if ":" in host else ("", *(f":{port}" for port in dict.fromkeys((PORTS[scheme], *more))))


def _paths(path: str, prefixes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every path with the prefix that was added or taken away, in words; each with and without its slash."""
    prefixed = [("", path)]
    for prefix in (one.rstrip("/") for one in prefixes):
        prefixed.append((f"with {prefix} in front", prefix + path))
        if path.startswith(prefix + "/"):
            prefixed.append((f"without {prefix} in front", path.removeprefix(prefix)))
    for words, one in prefixed:
        bare = one.rstrip("/")
        for spelled in dict.fromkeys((one, bare, bare + "/")):
            yield words, spelled


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
    if other.path.endswith("/") != called.path.endswith("/"):
        found.append("a trailing slash" if other.path.endswith("/") else "no trailing slash")
    if other.query != called.query:
        found.append("without the query")
    return ", ".join(found) or "as called"
