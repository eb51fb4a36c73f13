"""A trivial HTTP service, for measuring those who start, restart and stop it; standard library alone.

    python service.py PORT STARTS             answers every GET with its process number
    python service.py PORT STARTS helpers     the same, with three helpers that outlive their parent
    python service.py helper KIND             one of those

Each start adds its process number to the file STARTS. Everything ends by itself after LIFETIME
seconds, whoever forgets about it.
"""

from __future__ import annotations

import os
import signal
import sys

LIFETIME = 300
KINDS = ("group", "setsid", "double")  # same process group; own session; own session and no parent


def serve(port: int, starts: str, with_helpers: bool) -> None:
    import socketserver
    from http.server import BaseHTTPRequestHandler

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = str(os.getpid()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is logged."""

    handle = os.open(starts, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, f"{os.getpid()}\n".encode())
    os.close(handle)
    if with_helpers:
        for kind in KINDS:
            detach(kind)
    socketserver.TCPServer.allow_reuse_address = True
    with socketserver.TCPServer(("127.0.0.1", port), Answer) as server:
        server.serve_forever()


def detach(kind: str) -> None:
    """Start a helper that nobody waits for."""
    child = os.fork()
    if child == 0:
        if kind != "group":
            os.setsid()
        if kind == "double" and os.fork():
            os._exit(0)
        os.execv(sys.executable, [sys.executable, "-I", "-S", __file__, "helper", kind])
    if kind == "double":
        os.waitpid(child, 0)


if __name__ == "__main__":
    signal.alarm(LIFETIME)
    if sys.argv[1] == "helper":
        signal.pause()
    else:
        serve(int(sys.argv[1]), sys.argv[2], sys.argv[3:] == ["helpers"])
