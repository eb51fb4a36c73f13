"""Finds credentials in texts, also in prose and command lines, where common scanners miss them. Pure.

A match is reported by rule, file and line, never by its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ops.values import is_placeholder


@dataclass(frozen=True)
class Shape:
    """One kind of credential: its pattern, whose first group is the credential itself."""

    name: str
    pattern: re.Pattern[str]


@dataclass(frozen=True)
class Leak:
    """A credential stands in this file at this line."""

    shape: str
    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.shape} in {self.file}:{self.line}"


def _shape(name: str, pattern: str) -> Shape:
    return Shape(name, re.compile(pattern, re.IGNORECASE))


_HEX32 = r"(?<![0-9a-f])([0-9a-f]{32})(?![0-9a-f])"
SHAPES: tuple[Shape, ...] = (
    _shape("Twilio auth token", rf"(?:twilio|auth[\s_-]*token|\bAC[0-9a-f]{{32}})[^\n]{{0,80}}?{_HEX32}"),
    _shape("Twilio auth token", rf"{_HEX32}[^\n]{{0,40}}?(?:twilio|auth[\s_-]?token)"),
    _shape("Twilio API key", r"(?<![0-9A-Za-z])(SK[0-9a-f]{32})(?![0-9A-Za-z])"),
    _shape("Twilio API secret", r"api[\s_-]*secret[^\n]{0,30}?[\s:=\"'`]([A-Za-z0-9]{32})(?![A-Za-z0-9])"),
    _shape("OpenAI key", r"(?<![\w-])(sk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,})"),
    _shape("ngrok authtoken", r"authtoken[\s:=\"'`]+([A-Za-z0-9]{20,}_[A-Za-z0-9]{15,}|[A-Za-z0-9_]{36,})"),
    _shape("ngrok authtoken", r"NGROK_AUTH_?TOKEN[\s:=\"'`]+([A-Za-z0-9_]{30,})"),
    _shape("private key", r"(-----BEGIN (?:RSA |EC |OPENSSH |DSA )?PRIVATE KEY-----)"),
    _shape("Authorization header", r"authorization\W{1,4}(?:bearer|basic)\s+([A-Za-z0-9._~+/=-]{20,})"),
    _shape("password in a URL", r"[a-z][a-z0-9+.-]*://[^\s/:@\"'`{}<>$]+:([^\s/:@\"'`{}<>$]{6,})@[\w.-]+"),
    _shape("AWS access key", r"(?<![A-Z0-9])((?-i:AKIA)[0-9A-Z]{16})(?![A-Z0-9])"),
    _shape("GitHub token", r"(?<!\w)(gh[pousr]_[A-Za-z0-9]{36,})"),
    _shape("Slack token", r"(?<!\w)(xox[abpr]-[A-Za-z0-9-]{20,})"),
    _shape("SSH password", r"sshpass\s+-p\s*([^\s${}\"'`]{4,})"),
)
_HARMLESS = re.compile(
    r"^(.)\1+$|x{6,}|example|sample|dummy|fake|your[_-]|0{8,}|1234567|test[_-]?key", re.IGNORECASE
)


# one cheap pass that leaves out what no shape can match
_LIKELY = re.compile(
    r"[0-9a-f]{32}|sk-|authtoken|auth_token|secret|BEGIN|authorization|://[^/\s]*@|AKIA|gh[pousr]_|xox[abpr]|sshpass",
    re.IGNORECASE,
)


def likely(text: str) -> bool:
    """Whether a text is worth a scan line by line."""
    return _LIKELY.search(text) is not None


def scan(file: str, lines: Iterable[str]) -> Iterator[Leak]:
    """The credentials in a text, at most one of each shape a line."""
    for number, line in enumerate(lines, 1):
        if not _LIKELY.search(line):
            continue
        seen: set[str] = set()
        for shape in SHAPES:
            if shape.name in seen:
                continue
            if any(_real(found[1]) for found in shape.pattern.finditer(line[:4000])):
                seen.add(shape.name)
                yield Leak(shape.name, file, number)


def _real(text: str) -> bool:
    """Whether it could be a credential, and is not a placeholder, a repeated letter or a reference."""
    if text.startswith("-----BEGIN"):
        return True
    if is_placeholder(text) or _HARMLESS.search(text):
        return False
    return len(set(text)) >= 5
