"""A small web server with faults on request: serve.py PORT [fault…]. Port 0 serves nothing and only lives.

deaf: ignores SIGTERM · crash: says so and exits with 3 · setsid, double, naked: leaves a helper in a
session of its own, double-forked, double-forked without an environment · sleep=S: listens after S
seconds · flood: prints 4 MB first · calls=N: tells of N live calls, and drains until the file `calls`
beside it is gone · secret=NAME: prints that variable · say=TEXT: prints it
"""

import os
import signal
import socket
import sys
import time


def helper(kind):
    """A process that only lives; forked, so that it starts at once."""
    if os.fork():
        if kind != "setsid":
            os.wait()
        return
    os.setsid()
    if kind != "setsid" and os.fork():
        os._exit(0)
    if kind == "naked":
        os.execve("/bin/sleep", ["sleep", "120"], {})
    time.sleep(120)
    os._exit(0)


def main(port, faults):
    calls, draining = 0, []
    for fault in faults:
        name, _, value = fault.partition("=")
        if name == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif name == "crash":
            print("Error: the shop has no door", flush=True)
            sys.exit(3)
        elif name in ("setsid", "double", "naked"):
            helper(name)
        elif name == "sleep":
            time.sleep(float(value))
        elif name == "flood":
            for _ in range(4096):
                sys.stdout.write("x" * 1023 + "\n")
            sys.stdout.flush()
        elif name == "secret":
            print(f"the secret is {os.environ[value]}", flush=True)
        elif name == "say":
            print(value, flush=True)
        elif name == "calls":
            calls = int(value)
            signal.signal(signal.SIGTERM, lambda *_: draining.append(1))
    if port == 0:
        time.sleep(600)
    serve(port, calls, draining)


def serve(port, calls, draining):
    body = b'{"status": "ok", "live_calls": %d, "calls": [%s]}' % (
        calls,
        b", ".join([b'{"seconds": 41}'] * calls),
    )
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)
    server = socket.create_server(("127.0.0.1", port))
    server.settimeout(0.02 if calls else None)
    while not (draining and not os.path.exists("calls")):  # noqa: PTH110  (pathlib takes long to import)
        try:
            connection, _ = server.accept()
        except TimeoutError:
            continue
        with connection:
            connection.settimeout(1)
            try:
                if connection.recv(4096):
                    connection.sendall(answer)
            except OSError:
                pass


main(int(sys.argv[1]), sys.argv[2:])
