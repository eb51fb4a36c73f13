"""Signed requests to the customer: voice webhooks, status callbacks, sounds to play.

Sources: Twilio, "Webhooks security", "Webhooks: connection overrides" (the URL's fragment: how often
and on what to try again) and the 11200 family of errors.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote_plus, urljoin, urlsplit, urlunsplit

from ops.vendors.twilio.simulator.errors import Notice
from ops.vendors.twilio.simulator.signature import sign

if TYPE_CHECKING:
    import httpx

TOTAL_SECONDS = 15.0
CONNECT_SECONDS = 5.0
MAX_BODY = 16 * 1024 * 1024
MAX_REDIRECTS = 10
AGENT = "TwilioProxy/1.1"


@dataclass(frozen=True)
class Answer:
    """What the customer's server answered."""

    status: int
    content_type: str
    body: bytes
    ms: float
    url: str


class Failed(Exception):
    """No usable answer, with the debugger's number for it."""

    def __init__(self, notice: Notice, url: str) -> None:
        super().__init__(notice.message)
        self.notice = notice
        self.url = url


@dataclass(frozen=True)
class Overrides:
    """How one URL wants to be called: tries, on what to try again, seconds."""

    retries: int = 1
    policy: frozenset[str] = frozenset({"ct"})
    connect: float = CONNECT_SECONDS
    read: float = TOTAL_SECONDS
    total: float = TOTAL_SECONDS

    @staticmethod
    def of(url: str, policy: frozenset[str] = frozenset({"ct"})) -> Overrides:
        """From the URL's fragment: rc, rp, ct, rt, tt (the last three in ms)."""
        found = {name: values[-1] for name, values in parse_qs(urlsplit(url).fragment).items()}

        def seconds(name: str, default: float) -> float:
            raw = found.get(name, "")
            return min(int(raw), 15_000) / 1000 if raw.isdigit() and int(raw) >= 100 else default

        retries = found.get("rc", "")
        return Overrides(
            retries=min(int(retries), 5) if retries.isdigit() else 1,
            policy=frozenset(found["rp"].split(",")) if "rp" in found else policy,
            connect=seconds("ct", CONNECT_SECONDS),
            read=seconds("rt", TOTAL_SECONDS),
            total=seconds("tt", TOTAL_SECONDS),
        )

    def again(self, fault: str) -> bool:
        """Whether to try again after ct (no connection), rt (no answer), 4xx or 5xx."""
        return fault in self.policy or "all" in self.policy


class Requester:
    """Sends this account's requests; one connection pool for all calls."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._client: httpx.AsyncClient | None = None

    def client(self) -> httpx.AsyncClient:
        """The pool, made on first use: its import would double the time of a cold start."""
        if self._client is None:
            import httpx

            self._client = httpx.AsyncClient(
                trust_env=False,
                follow_redirects=False,
                # A kept connection may be closed by the server at the moment of its next use.
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            )
        return self._client

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def send(
        self,
        method: str,
        url: str,
        form: Mapping[str, str],
        *,
        retry_on: frozenset[str] = frozenset({"ct"}),
        signed_with: str | None = None,
    ) -> Answer:
        """One webhook with its retries and redirects; raises Failed.

        `retry_on` is what is tried again unless the URL's fragment says otherwise.
        """
        overrides = Overrides.of(url, retry_on)
        try:
            async with asyncio.timeout(overrides.total):
                return await self._tried(method, url, form, overrides, signed_with or self._token)
        except TimeoutError:
            raise Failed(Notice(11203, f"no answer within {overrides.total:g} s from {url}"), url) from None

    async def _tried(
        self, method: str, url: str, form: Mapping[str, str], overrides: Overrides, token: str
    ) -> Answer:
        idempotency = secrets.token_hex(16)  # the same for every try
        for left in range(overrides.retries, -1, -1):
            try:
                answer = await self._redirected(method, url, form, overrides, token, idempotency)
            except Failed as problem:
                if left and overrides.again(_FAULTS.get(problem.notice.code, "")):
                    continue
                raise
            if left and answer.status >= 400 and overrides.again(f"{answer.status // 100}xx"):
                continue
            return answer
        raise AssertionError("unreachable")

    async def _redirected(
        self,
        method: str,
        url: str,
        form: Mapping[str, str],
        overrides: Overrides,
        token: str,
        idempotency: str,
    ) -> Answer:
        for _ in range(MAX_REDIRECTS + 1):
            address = without_fragment(url)
            if method == "GET" and form:
                address = with_query(address, form)
            signature = sign(token, address, form if method == "POST" else None)
            headers = {
                "User-Agent": AGENT,
                "Accept": "*/*",
                "Cache-Control": "max-age=259200",
                "I-Twilio-Idempotency-Token": idempotency,
                "X-Home-Region": "us1",
                "X-Twilio-Signature": signature,
            }
            body = form_body(form) if method == "POST" else None
            answer, location = await self._once(method, address, headers, body, overrides)
            if not 300 <= answer.status < 400:
                return answer
            if answer.status not in (301, 302, 303, 307) or not location:
                raise Failed(Notice(11216, f"{url} answered {answer.status} to {location or 'nowhere'}"), url)
            url = urljoin(address, location)
            method = method if answer.status == 307 else "GET"
        raise Failed(Notice(11215, f"more than {MAX_REDIRECTS} redirects from {url}"), url)

    async def _once(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None, overrides: Overrides
    ) -> tuple[Answer, str]:
        import httpx

        began = time.monotonic()
        timeout = httpx.Timeout(overrides.read, connect=overrides.connect)
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded; charset=UTF-8"
        client, received = self.client(), bytearray()
        try:
            async with client.stream(method, url, content=body, headers=headers, timeout=timeout) as answer:
                async for part in answer.aiter_bytes():
                    received += part
                    if len(received) > MAX_BODY:
                        break
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as problem:
            raise Failed(Notice(11100, f"{url}: {problem}"), url) from None
        except httpx.ConnectTimeout:
            raise Failed(Notice(11201, f"{url}: no connection in {overrides.connect:g} s"), url) from None
        except httpx.ConnectError as problem:
            raise Failed(_no_connection(str(problem), url), url) from None
        except httpx.TimeoutException:
            raise Failed(Notice(11205, f"no answer within {overrides.read:g} s from {url}"), url) from None
        except httpx.HTTPError as problem:
            raise Failed(Notice(11206, f"{url}: {problem}"), url) from None
        client.cookies.clear()
        ms = round((time.monotonic() - began) * 1000, 1)
        kind = answer.headers.get("content-type", "").split(";")[0].strip().lower()
        found = Answer(answer.status_code, kind, bytes(received), ms, url)
        return found, answer.headers.get("location", "")


# What the policy of a retry calls a failure.
_FAULTS = {11201: "ct", 11202: "ct", 11210: "ct", 11220: "ct", 11203: "rt", 11205: "rt", 11206: "rt"}


def _no_connection(problem: str, url: str) -> Notice:
    if "CERTIFICATE_VERIFY_FAILED" in problem:
        return Notice(11237, f"{url}: {problem}")
    if "SSL" in problem:
        return Notice(11220, f"{url}: {problem}")
    if any(words in problem for words in ("not known", "getaddrinfo", "name resolution", "No address")):
        return Notice(11210, f"{url}: {problem}")
    return Notice(11202, f"{url}: {problem or 'no connection'}")


def form_body(form: Mapping[str, str]) -> bytes:
    """A form as Twilio writes it."""
    pairs = (f"{quote_plus(name)}={quote_plus(value, errors='replace')}" for name, value in form.items())
    return "&".join(pairs).encode()


def with_query(url: str, form: Mapping[str, str]) -> str:
    """A GET webhook's address: the form behind the query that is there."""
    parts = urlsplit(url)
    query = "&".join(filter(None, (parts.query, form_body(form).decode())))
    return urlunsplit((parts.scheme, parts.netloc, parts.path, query, ""))


def without_fragment(url: str) -> str:
    """The fragment tells Twilio how to connect; it is neither sent nor signed."""
    return url.split("#", 1)[0]
