"""One small HTTP client: plain requests with limits, and errors that say what went wrong in words.

A request either gets an `Answer`, of any status, or raises `Unanswered`: the question could not
be asked. `Answer.checked()` turns a status of 400 and above into `Declined`. Proxies of the
environment are not used, redirects are not followed, nothing is tried twice.
"""

from __future__ import annotations

import json as jsons
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ops.errors import Refused, Unreachable
from ops.values import Secret

if TYPE_CHECKING:
    import httpx

Cause = Literal["refused", "dns", "timeout", "tls", "closed", "too-large", "not-http", "unreachable"]
Form = Iterable[tuple[str, str]] | Mapping[str, str]

_FIXES: dict[str, str] = {
    "refused": "start what listens there, or correct the address",
    "dns": "check the host name and this machine's name service",
    "timeout": "check the network, or whether the other side hangs",
    "tls": "check the certificate, and this machine's clock and certificate store",
    "closed": "look into the other side's log: it hung up",
    "too-large": "check the address: the other side sends more than it should",
    "not-http": "check the address: what listens there does not speak HTTP",
    "unreachable": "check the network",
}


class Unanswered(Unreachable):
    """No answer came; `cause` is the reason as one word."""

    def __init__(self, url: str, cause: Cause, words: str) -> None:
        super().__init__(f"{url} {words}.", fix=_FIXES[cause])
        self.url = url
        self.cause = cause


class Declined(Refused):
    """An answer came and it was no: the HTTP status, the vendor's own number, its body."""

    def __init__(self, answer: Answer, message: str, *, fix: str, code: int | str | None = None) -> None:
        super().__init__(message, fix=fix, code=code)
        self.answer = answer
        self.status = answer.status

    @property
    def unknown_question(self) -> bool:
        """Whether the other side does not know what was asked (no such path or method there)."""
        return self.status in (404, 405, 501) and self.code is None


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers with lower-case names, body, and the seconds it took."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    seconds: float

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON; `Declined` when it is something else."""
        try:
            return jsons.loads(self.body)
        except (ValueError, RecursionError):
            kind = self.headers.get("content-type", "no content type")
            message = f"{self.url} answered {self.status} with {kind}, not with JSON."
            raise Declined(
                self, message, fix="check the address: it is not the API that was expected"
            ) from None

    def checked(self, *, fix: str = "look into the other side's log") -> Answer:
        """This answer, if its status is below 400; otherwise `Declined` with the start of its body."""
        if self.status < 300:
            return self
        said = f": {self.text[:200].strip()}" if self.body and self.status >= 400 else ""
        if self.status < 400:
            said = f", a redirect to {self.headers.get('location', 'nowhere')}"
            fix = "correct the address: redirects are not followed"
        raise Declined(self, f"{self.url} answered {self.status}{said}.", fix=fix)


class Http:
    """Requests to one base address; `timeout` in seconds for each phase and for the body as a whole.

    Use it as a context manager. `limit` is the most bytes of a body that are read.
    """

    def __init__(
        self,
        base: str,
        *,
        auth: tuple[str, Secret] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
        limit: int = 4 * 1024 * 1024,
    ) -> None:
        import httpx

        self.base = base.rstrip("/")
        self._timeout = timeout
        self._limit = limit
        self._client = httpx.Client(
            auth=(auth[0], auth[1].reveal()) if auth else None,
            headers={"User-Agent": "trunkline", "Accept-Encoding": "identity", **(headers or {})},
            timeout=timeout,
            trust_env=False,
            follow_redirects=False,
            verify=tls_context() if self.base.startswith("https") else False,  # plain HTTP: nothing to verify
        )

    def __enter__(self) -> Http:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str = "", params: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, params=params)

    def post(self, path: str, form: Form, *, headers: Mapping[str, str] | None = None) -> Answer:
        """POST of an HTML form; a sequence of pairs may repeat a name."""
        from urllib.parse import urlencode

        pairs = list(form.items() if isinstance(form, Mapping) else form)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.request(
            "POST", path, content=urlencode(pairs).encode(), headers={**kind, **(headers or {})}
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; `path` is appended to the base address."""
        import httpx

        url = self.base + path
        began = time.monotonic()
        try:
            with self._client.stream(
                method, url, params=params, content=content, headers=dict(headers or {})
            ) as response:
                body = self._read(response, url, began)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as problem:
            raise _unanswered(url, problem, self._timeout) from None
        return Answer(
            url=str(response.url),
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=body,
            seconds=time.monotonic() - began,
        )

    def _read(self, response: httpx.Response, url: str, began: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > self._limit:
                raise Unanswered(url, "too-large", f"sent more than {self._limit} bytes")
            if time.monotonic() - began > 2 * self._timeout:
                raise Unanswered(url, "timeout", f"was still sending after {2 * self._timeout:g} s")
        return bytes(body)


def tls_context() -> ssl.SSLContext:
    """Verifies against the system's certificates (and SSL_CERT_FILE) and those that came with httpx."""
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _unanswered(url: str, problem: Exception, timeout: float) -> Unanswered:
    """The cause of a failed request, found in its chain of exceptions."""
    import httpx

    chain = list(_chain(problem))
    where = urlsplit(url).netloc
    if isinstance(problem, httpx.TimeoutException):
        return Unanswered(url, "timeout", f"did not answer within {timeout:g} s")
    if any(isinstance(one, socket.gaierror) for one in chain):
        return Unanswered(url, "dns", f"cannot be asked: the name {urlsplit(url).hostname} is not known")
    if any(isinstance(one, ssl.SSLError) for one in chain):
        reason = next(str(one) for one in chain if isinstance(one, ssl.SSLError))
        return Unanswered(url, "tls", f"cannot be asked: TLS failed ({reason})")
    if any(isinstance(one, ConnectionRefusedError) for one in chain):
        return Unanswered(url, "refused", f"cannot be asked: nothing listens on {where}")
    if any(isinstance(one, ConnectionResetError) for one in chain) or isinstance(
        problem, httpx.ReadError | httpx.WriteError
    ):
        return Unanswered(url, "closed", "hung up before it answered")
    if isinstance(problem, httpx.RemoteProtocolError):
        hung_up = "without sending" in str(problem)
        words = "hung up before it answered" if hung_up else f"does not speak HTTP ({problem})"
        return Unanswered(url, "closed" if hung_up else "not-http", words)
    return Unanswered(url, "unreachable", f"cannot be asked: {problem or type(problem).__name__}")


def _chain(problem: BaseException | None) -> Iterable[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__
