"""A TLS server whose certificate nobody signed: `main(ADDRESS, PORT)` shakes hands with everybody."""

from __future__ import annotations

import socket
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from ops.bench.bridge import certificate


def main(address: str, port: str) -> None:
    """Serve until it is ended; says `ready` when it listens."""
    with tempfile.TemporaryDirectory() as folder:
        _, context = certificate.make(Path(folder))
    with socket.create_server((address, int(port))) as listener:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            plain, _ = listener.accept()
            with suppress(OSError), context.wrap_socket(plain, server_side=True) as secure:
                secure.recv(1)
