"""Per vendor: live, simulated or partly set; and what stands in for a simulated one."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops import values
from ops.config.sources import ENV_FILES, Text
from ops.config.variable import Variable
from ops.errors import Fault
from ops.values import Secret

if TYPE_CHECKING:
    from ops.config import Settings

_CREDENTIALS = {
    "twilio": ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"),
    "openai": ("OPENAI_API_KEY",),
    "ngrok": ("NGROK_AUTH_TOKEN",),
}
_PAIRS = (("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"), ("TWILIO_API_KEY", "TWILIO_API_SECRET"))
_ADDRESSES = ("TWILIO_API_URL", "OPENAI_BASE_URL", "OPENAI_REALTIME_URL", "NGROK_API_URL", "PUBLIC_URL")


def reaches_out(name: str, text: str) -> bool:
    """Whether a setting would take an offline run to a real service."""
    if name in _ADDRESSES:
        return not values.is_loopback(text)
    credentials = {key for keys in _CREDENTIALS.values() for key in keys}
    return name in credentials or name in ("TWILIO_API_KEY", "TWILIO_API_SECRET", "NGROK_DOMAIN")


def modes(
    texts: Mapping[str, Text],
    parsed: Mapping[str, Any],
    known: Mapping[str, Variable],
    faults: list[Fault],
    *,
    live: bool,
) -> dict[str, str]:
    """Per vendor: live, simulated, or error when its credentials are partly set."""

    def missing(name: str) -> Fault:
        where = known[name].where
        return Fault(
            name,
            f"Missing required environment variable {name} "
            f"(looked in {', '.join(ENV_FILES[:2])}, the environment).",
            f"add it to .env; {where}" if where else "add it to .env",
        )

    bad = {fault.variable for fault in faults}
    vendors = {}
    for vendor, names in _CREDENTIALS.items():
        present = [name for name in names if name in texts]
        vendors[vendor] = "live" if len(present) == len(names) else "error" if present else "simulated"
        if bad & set(present):
            vendors[vendor] = "error"
    if vendors["twilio"] == "simulated" and "TWILIO_API_KEY" in texts:
        faults.extend(missing(name) for name in _PAIRS[0])
        vendors["twilio"] = "error"
    if vendors["ngrok"] == "simulated" and not values.is_loopback(
        parsed.get("public_url") or "http://localhost"
    ):
        vendors["ngrok"] = "live"  # the public address is real, whoever forwards it
    for pair in _PAIRS:
        lacking = [name for name in pair if name not in texts]
        if len(lacking) == 1:
            faults.append(missing(lacking[0]))
            vendors["twilio"] = "error"
    if live:
        for vendor, names in _CREDENTIALS.items():
            if vendors[vendor] == "simulated":
                faults.extend(missing(name) for name in names)
                vendors[vendor] = "error"
    return vendors


def with_stand_ins(settings: Settings) -> Settings:
    """Credentials and addresses of the simulators, for each vendor that is simulated.

    They are derived from one random key of this project, so every command of a run agrees.
    """
    simulated = {name for name, how in settings.vendors.items() if how == "simulated"}
    if not simulated:
        return settings
    key = stand_in_key(settings.run_dir)

    def derived(name: str) -> str:
        return hmac.new(key, name.encode(), hashlib.sha256).hexdigest()

    base = settings.simulator_port
    stand_ins: dict[str, Any] = {}
    if "twilio" in simulated:
        stand_ins |= {
            "twilio_account_sid": "AC" + derived("account")[:32],
            "twilio_auth_token": Secret(derived("token")[:32]),
            "twilio_phone_number": settings.twilio_phone_number or "+12025550100",
            "twilio_agent_number": settings.twilio_agent_number or "+12025550199",
        }
        if "TWILIO_API_URL" not in settings.sources:
            stand_ins["twilio_api_url"] = f"http://127.0.0.1:{base}"
    if "openai" in simulated:
        stand_ins["openai_api_key"] = Secret("sk-" + derived("openai"))
        if "OPENAI_BASE_URL" not in settings.sources:
            stand_ins["openai_base_url"] = f"http://127.0.0.1:{base + 1}/v1"
        if "OPENAI_REALTIME_URL" not in settings.sources:
            stand_ins["openai_realtime_url"] = f"ws://127.0.0.1:{base + 1}/v1/realtime"
    return replace(settings, **stand_ins)


def stand_in_key(run_dir: Path) -> bytes:
    """32 random bytes of this project, made on first use, readable by its owner alone."""
    path = run_dir / "stand-in.key"
    run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        return path.read_bytes()
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_bytes(32))
    return path.read_bytes()
