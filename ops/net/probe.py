"""One websocket handshake as a question: does it open, how fast, and what came instead."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ops.errors import Refused
from ops.net.http import Unanswered, tls_context

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection


class UpgradeRefused(Refused):
    """The handshake was answered with an HTTP status other than 101; `code` is that status."""

    def __init__(self, url: str, status: int, body: str, headers: Mapping[str, str]) -> None:
        said = f": {body.strip()[:200]}" if body.strip() else ""
        super().__init__(
            f"{url} refused the websocket with {status}{said}.",
            fix="check the path and the credentials of the websocket",
            code=status,
        )
        self.url = url
        self.status = status
        self.body = body
        self.headers = headers


@dataclass(frozen=True)
class Opened:
    """An open websocket, and the seconds its handshake took (with DNS, TCP and TLS)."""

    socket: ClientConnection
    seconds: float


@contextmanager
def opened(url: str, *, headers: Mapping[str, str] | None = None, timeout: float = 5.0) -> Iterator[Opened]:
    """Opens a websocket and closes it at the end.

    Raises `UpgradeRefused` when the answer was not 101 and `Unanswered` when none came.
    """
    from websockets.exceptions import InvalidHandshake, InvalidStatus
    from websockets.sync.client import connect

    began = time.monotonic()
    try:
        connection = connect(
            url,
            additional_headers=dict(headers or {}),
            compression=None,
            proxy=None,
            open_timeout=timeout,
            close_timeout=1.0,
            ssl=tls_context() if url.startswith("wss") else None,
        )
    except InvalidStatus as problem:
        body = (problem.response.body or b"")[:1000].decode("utf-8", "replace")
        found = {name.lower(): value for name, value in problem.response.headers.raw_items()}
        raise UpgradeRefused(url, problem.response.status_code, body, found) from None
    except TimeoutError:
        raise Unanswered(url, "timeout", f"did not open within {timeout:g} s") from None
    except socket.gaierror:
        name = urlsplit(url).hostname
        raise Unanswered(url, "dns", f"cannot be asked: the name {name} is not known") from None
    except ssl.SSLError as problem:
        raise Unanswered(url, "tls", f"cannot be asked: TLS failed ({problem})") from None
    except ConnectionRefusedError:
        where = urlsplit(url).netloc
        raise Unanswered(url, "refused", f"cannot be asked: nothing listens on {where}") from None
    except OSError as problem:
        raise Unanswered(url, "closed", f"hung up in the handshake ({problem.strerror or problem})") from None
    except (InvalidHandshake, EOFError) as problem:
        raise Unanswered(url, "not-http", f"did not answer the handshake ({problem})") from None
    with connection:
        yield Opened(connection, time.monotonic() - began)
