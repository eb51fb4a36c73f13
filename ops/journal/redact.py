"""Takes secrets out of what is about to be written: by value, and by shape. Pure.

By value: every known secret, also as base64 (at any offset, as inside a Basic header), URL-encoded
and with JSON or Python escapes. By shape: what looks like a credential although nobody told us.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from ops.journal.entry import json_text

MASK = "•••"
SHORTEST = 4  # a shorter secret would blot out ordinary words

_NAMES = r"auth[_\- ]?token|api[_\- ]?(?:key|secret)|client[_\- ]?secret|secret[_\- ]?key|password|passwd"
_QUOTE = r"""\\?["']?"""
_IS = rf"{_QUOTE}\s*[:=]\s*b?{_QUOTE}"
# Words of which one must be in the text in any case, and then the pattern, whose group `s` is the secret.
_PATTERNS = {
    ("sk",): r"(?<![a-z0-9])(?P<s>SK[0-9a-f]{32})(?![a-z0-9])",
    ("sk-", "ek_"): r"(?<![a-z0-9])(?P<s>(?:sk-|ek_)[\w\-]{16,})",
    ("bearer",): r"\bbearer\s+(?P<s>(?=\S*\d|\S{20})[\w.~+/\-]{8,}=*)",
    ("basic",): r"\bbasic\s+(?P<s>[\w+/\-]{6,}=*)",
    ("authorization",): rf"authorization{_IS}(?!bearer|basic)(?P<s>[^\s\"',;]+)",
    ("signature",): rf"signature{_QUOTE}[\s:=,]+b?{_QUOTE}(?P<s>[\w+/\-]{{20,}}=*)",
    ("://",): r"[a-z][a-z0-9+.\-]*://[^\s/:@\"']*:(?P<s>[^\s/\"']+)@",
    ("auth", "api", "secret", "passw"): rf"(?:{_NAMES}){_IS}(?P<s>[^\s\"',;&{{}}\\]{{4,}})",
    ("auth",): r"auth[_\- ]?token\W{0,4}(?:\s(?:is|was)\s)?\W{0,4}(?P<s>[0-9a-f]{32}|\w{20,})\b",
}
_SHAPES = [(words, re.compile(pattern, re.IGNORECASE)) for words, pattern in _PATTERNS.items()]
_GATE = ("cookie", *{word for words in _PATTERNS for word in words})
_SECRET_KEY = re.compile(rf"(?:{_NAMES}|authorization|signature|cookie|secret)$", re.I)


class Redactor:
    """Knows the secrets of this process; `clean` a text, `clean_record` a whole record."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {secret for secret in secrets if len(secret) >= SHORTEST}
        forms = {form for secret in known for form in _forms(secret)}
        self._forms = tuple(sorted(forms, key=len, reverse=True))
        self._gate = tuple(json_text(form)[1:-1] for form in self._forms)

    def suspects(self, text: str) -> bool:
        """Whether a record, as `json_text` writes it, could hold a secret at all: cheap, never wrongly no."""
        lower = text.lower()
        return any(word in lower for word in _GATE) or any(form in text for form in self._gate)

    def clean(self, text: str) -> str:
        """`text` with every known secret and everything shaped like one masked."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        lower = text.lower()
        for words, pattern in _SHAPES:
            if any(word in lower for word in words):
                text = pattern.sub(_masked, text)
        return text

    def clean_record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record of plain values with all its texts and names cleaned; secret-named fields masked."""
        return {self.clean(key): self._clean_value(key, value) for key, value in record.items()}

    def _clean_value(self, key: str, value: Any) -> Any:
        if isinstance(value, str):
            return MASK if value and _SECRET_KEY.search(key) else self.clean(value)
        if isinstance(value, dict):
            return self.clean_record(value)
        if isinstance(value, list):
            return [self._clean_value(key, one) for one in value]
        if isinstance(value, int) and not isinstance(value, bool) and f"{value}" in self._forms:
            return MASK
        return value


def _masked(match: re.Match[str]) -> str:
    whole, secret = match[0], match["s"]
    if whole[:5].lower() == "basic" and not _is_pair(secret):
        return whole  # the English word
    if MASK in secret:
        return whole
    start = match.start("s") - match.start()
    return whole[:start] + MASK + whole[start + len(secret) :]


def _is_pair(text: str) -> bool:
    """Whether `text` is the base64 of `name:password`."""
    try:
        return b":" in base64.b64decode(
            text + "=" * (-len(text) % 4), altchars=b"-_" if "-" in text else None
        )
    except (binascii.Error, ValueError):
        return False


def _forms(secret: str) -> set[str]:
    """The texts under which a secret may appear."""
    plain = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret)}
    plain |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    return plain | {form for form in _base64_forms(secret.encode("utf-8", "surrogatepass")) if len(form) >= 8}


def _base64_forms(secret: bytes) -> set[str]:
    """Base64 of the secret at each of the three offsets it can have in a longer text; only the
    characters that the neighbours do not touch, in both alphabets."""
    forms = set()
    for offset in range(3):
        text = base64.b64encode(b"\0" * offset + secret).decode().rstrip("=")
        first = -(-offset * 8 // 6)
        inner = text[first : (offset + len(secret)) * 8 // 6]
        forms |= {inner, inner.replace("+", "-").replace("/", "_")}
    return forms
