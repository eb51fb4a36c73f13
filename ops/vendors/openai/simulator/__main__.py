"""`python -m ops.vendors.openai.simulator --port 8102`.

The right key is OPENAI_API_KEY of the environment; without it every key is right.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

FRAME_LIMIT = 24 << 20  # bytes: 15 MiB of audio in base64, and its envelope


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; 2 when the settings are unusable."""
    import uvicorn

    from ops.config import Settings
    from ops.errors import SettingsError
    from ops.journal import write
    from ops.vendors.openai.simulator import rules
    from ops.vendors.openai.simulator.app import Simulator
    from ops.vendors.openai.simulator.faults import Faults

    options = _options(argv)
    try:
        settings = Settings.load(options.root, files=False)
        answers = rules.load(options.rules) if options.rules else None
    except (SettingsError, OSError, ValueError, KeyError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    write.setup("openai-simulator", settings.logs, level=settings.log_level, secrets=settings.secrets)
    faults = Faults()
    for name in options.fault:
        faults.arm(name)
    key = settings.openai_api_key
    simulator = Simulator(
        key.reveal() if key else None,
        faults,
        lifetime=options.session_seconds,
        seed=options.seed,
        answers=answers,
    )
    config = uvicorn.Config(
        simulator.app(),
        host="127.0.0.1",
        port=options.port,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        ws_max_size=FRAME_LIMIT,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn raises them again when it has stopped
    log = write.logger("openai.simulator")
    log.info("simulator.started", port=options.port)
    try:
        uvicorn.Server(config).run()
        log.info("simulator.stopped")
    finally:
        write.close()
    return 0


def _options(argv: list[str] | None) -> argparse.Namespace:
    from ops.vendors.openai.simulator.faults import catalogue

    parser = argparse.ArgumentParser(
        prog="openai simulator", description="A stand-in for the OpenAI Realtime API."
    )
    parser.add_argument("--port", type=int, default=8102)
    parser.add_argument("--root", type=Path, default=Path(), help="where logs/ is")
    parser.add_argument(
        "--session-seconds", type=float, default=3600.0, help="how long a session lasts at most"
    )
    parser.add_argument("--rules", type=Path, help="other answers, in the form of rules.json")
    parser.add_argument("--seed", type=int, help="makes identifiers repeatable")
    parser.add_argument(
        "--fault", action="append", default=[], choices=list(catalogue()), help="fail so, once; repeatable"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
