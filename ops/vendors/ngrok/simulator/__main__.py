"""`python -m ops.vendors.ngrok.simulator --api-port 4040 --edge-port 8103 --forward 8081`."""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import sys
from pathlib import Path

from ops.config import Settings
from ops.errors import SettingsError
from ops.journal import write
from ops.vendors.ngrok.simulator import errors
from ops.vendors.ngrok.simulator.agent import Agent
from ops.vendors.ngrok.simulator.faults import Faults, catalogue

TOKEN = re.compile(r"[A-Za-z0-9]{20,}_[A-Za-z0-9]{15,}")
START_CODES = {
    "malformed-token": "ERR_NGROK_105", "invalid-token": "ERR_NGROK_107",
    "session-limit": "ERR_NGROK_108", "already-online": "ERR_NGROK_334",
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the agent until SIGTERM or SIGINT.

    Exit code 1 with ngrok's own words where it may not start, 2 when the settings are unusable.
    """
    options = _options(argv)
    try:
        settings = Settings.load(options.root, files=False)
    except SettingsError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    write.setup("ngrok", settings.logs, level=settings.log_level, secrets=settings.secrets)
    faults = Faults()
    for name in options.fault:
        faults.arm(name)
    token = settings.ngrok_auth_token
    refused = faults.take("start")
    code = START_CODES[refused.fault.name] if refused else ""
    if token is not None and not TOKEN.fullmatch(token.reveal()):
        code = "ERR_NGROK_105"
    try:
        return _refused(code, options.edge_port) if code else asyncio.run(_run(options, faults))
    finally:
        write.close()


async def _run(options: argparse.Namespace, faults: Faults) -> int:
    log = write.logger("ngrok.simulator")
    agent = Agent(faults, inspect=options.inspect == "true")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    try:
        edge = await agent.tunnel("command_line", "127.0.0.1", options.forward, options.edge_port)
    except OSError:
        return _refused("ERR_NGROK_334", options.edge_port)
    if faults.take("now"):
        await edge.move()
    await agent.open(options.api_port)
    log.info(
        "tunnel.online", "started tunnel", url=edge.public_url, addr=f"http://127.0.0.1:{options.forward}",
        api=f"http://127.0.0.1:{agent.port}",
    )  # fmt: skip
    await stopping.wait()
    await agent.close()
    log.info("tunnel.offline", "stopped")
    return 0


def _refused(code: str, edge_port: int) -> int:
    text = errors.startup(code, url=f"http://127.0.0.1:{edge_port}")
    sys.stderr.write(text)
    write.logger("ngrok.simulator").error("tunnel.refused", " ".join(text.split()), code=code)
    return 1


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="ngrok simulator", description="A stand-in for the ngrok agent.")
    parser.add_argument(
        "--api-port", type=int, default=4040, help="the agent API; the next free one if taken"
    )
    parser.add_argument("--edge-port", type=int, default=8103, help="the public side, on 127.0.0.1")
    parser.add_argument("--forward", type=int, default=8081, help="the local port behind the tunnel")
    parser.add_argument(
        "--inspect", choices=("true", "false"), default="true", help="keep requests to look at"
    )
    parser.add_argument("--root", type=Path, default=Path(), help="where logs/ is")
    parser.add_argument(
        "--fault", action="append", default=[], choices=list(catalogue()), help="fail so, once; repeatable"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
