"""Runs the stand-in: `python -m ops.vendors.twilio.simulator --port 8101 --voice-url URL`.

Credentials and the account's number come from TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN and
TWILIO_PHONE_NUMBER in the environment, so that they do not show in the list of processes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from ops.config import Settings
from ops.errors import SettingsError
from ops.journal import write as journal

DEFAULT_NUMBER = "+12025550100"


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ops.vendors.twilio.simulator", description=__doc__)
    parser.add_argument("--port", type=int, default=8101)
    parser.add_argument("--voice-url", required=True, help="what the account's number asks when it is called")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="where logs/ is")
    parser.add_argument("--calls-per-second", type=float, default=1.0, help="how many outbound calls start")
    parser.add_argument(
        "--concurrent-requests", type=int, default=100, help="how many REST answers at once (else 20429)"
    )
    parser.add_argument("--trial", action="store_true", help="the rules of a trial account")
    parser.add_argument("--no-resume", action="store_true", help="a lost media stream ends the call")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="NAME", help="fail so, once; repeatable"
    )
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    """Serve until SIGTERM; 2 when the settings are unusable."""
    options = arguments(argv)
    try:
        settings = Settings.load(options.root, files=False)
    except SettingsError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    sid, token = settings.twilio_account_sid, settings.twilio_auth_token
    if sid is None or token is None:
        sys.stderr.write(
            "Expected TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN in the environment, got none. "
            "Fix: set both; any AC… of 34 characters and any token will do.\n"
        )
        return 2
    journal.setup("twilio-simulator", settings.logs, level=settings.log_level, secrets=settings.secrets)
    try:
        return serve(options, settings, sid, token.reveal())
    finally:
        journal.close()


def serve(options: argparse.Namespace, settings: Settings, sid: str, token: str) -> int:
    import uvicorn
    from starlette.applications import Starlette

    from ops.vendors.twilio.simulator import control, rest
    from ops.vendors.twilio.simulator.account import Account, Number
    from ops.vendors.twilio.simulator.calls import Instructions, utc_now
    from ops.vendors.twilio.simulator.disguise import Dated
    from ops.vendors.twilio.simulator.exchange import Exchange

    log = journal.logger("twilio.simulator")
    now = utc_now()
    keys = {}
    if settings.twilio_api_key and settings.twilio_api_secret:
        keys[settings.twilio_api_key] = settings.twilio_api_secret.reveal()
    agent = frozenset({settings.twilio_agent_number} if settings.twilio_agent_number else ())
    account = Account(
        sid,
        token,
        now,
        keys,
        trial=options.trial,
        verified=agent,
        calls_per_second=options.calls_per_second,
        concurrent_requests=options.concurrent_requests,
    )
    phone_number = settings.twilio_phone_number or DEFAULT_NUMBER

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: None)  # uvicorn raises them again when it has stopped

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        gc.freeze()
        log.info("simulator.started", port=options.port, number=phone_number, voice_url=options.voice_url)
        warm = asyncio.create_task(asyncio.to_thread(exchange.requester.client))
        yield
        await warm
        await exchange.close()
        log.info("simulator.stopped")

    exchange = Exchange(account, (), resume_after_loss=not options.no_resume)
    number = Number(exchange.new_sid("PN"), phone_number, "", now, now, Instructions(url=options.voice_url))
    exchange.numbers[number.sid] = number
    try:
        for name in options.fault:
            exchange.faults.arm(name)
    except ValueError as problem:
        sys.stderr.write(f"--fault: {problem}\n")
        return 2
    # With its protocol named: asyncio switches Nagle's algorithm off only then (40 ms an answer).
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", options.port))
    except OSError as problem:
        listening.close()
        sys.stderr.write(
            f"Expected to listen at 127.0.0.1:{options.port}, got: {problem.strerror}. "
            "Fix: stop what listens there, or give another --port.\n"
        )
        return 3
    app = Starlette(routes=[*control.routes(exchange), *rest.routes(exchange)], lifespan=lifespan)
    config = uvicorn.Config(
        Dated(app, exchange.faults),
        ws="none",
        http="h11",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
