"""An account and its phone numbers as values, and as Twilio's JSON. Pure.

Sources: Twilio, "Account", "IncomingPhoneNumber" and "Balance" resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ops.vendors.twilio.simulator.calls import API_VERSION, Instructions, formatted, rfc2822


@dataclass(frozen=True)
class Account:
    """Who may call and how: credentials, trial rules, how many calls start each second, and how many
    requests REST answers at once.

    On a trial only numbers in `verified` (and the account's own) may be called.
    """

    sid: str
    token: str = field(repr=False)
    created: datetime
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)  # API key SID → secret
    trial: bool = False
    verified: frozenset[str] = frozenset()
    calls_per_second: float = 1.0
    concurrent_requests: int = 100  # Twilio names no number
    balance: str = "15.50"

    def admits(self, user: str, password: str) -> bool:
        """Whether HTTP Basic credentials are this account's own, or one of its API keys."""
        return (user == self.sid and password == self.token) or self.keys.get(user, None) == password


@dataclass(frozen=True)
class Number:
    """A phone number of the account, and what it does when it is called."""

    sid: str
    phone_number: str
    friendly_name: str
    created: datetime
    updated: datetime
    voice: Instructions = field(default_factory=Instructions)


def account_resource(account: Account) -> dict[str, Any]:
    base = f"/{API_VERSION}/Accounts/{account.sid}"
    parts: tuple[str, ...] = (
        "AvailablePhoneNumbers",
        "Calls",
        "Conferences",
        "IncomingPhoneNumbers",
        "Notifications",
    )
    parts += ("OutgoingCallerIds", "Recordings", "Transcriptions", "Addresses", "Messages", "Keys", "Balance")
    return {
        "sid": account.sid,
        "owner_account_sid": account.sid,
        "friendly_name": "Simulated account",
        "status": "active",
        "type": "Trial" if account.trial else "Full",
        "auth_token": account.token,
        "date_created": rfc2822(account.created),
        "date_updated": rfc2822(account.created),
        "uri": f"{base}.json",
        "subresource_uris": {_snake(part): f"{base}/{part}.json" for part in parts},
    }


def balance_resource(account: Account) -> dict[str, Any]:
    return {"account_sid": account.sid, "balance": account.balance, "currency": "USD"}


def number_resource(account: Account, number: Number) -> dict[str, Any]:
    base = f"/{API_VERSION}/Accounts/{account.sid}/IncomingPhoneNumbers/{number.sid}"
    voice = number.voice
    return {
        "sid": number.sid,
        "account_sid": account.sid,
        "phone_number": number.phone_number,
        "friendly_name": number.friendly_name or formatted(number.phone_number),
        "api_version": API_VERSION,
        "beta": False,
        "capabilities": {"voice": True, "sms": False, "mms": False, "fax": False},
        "date_created": rfc2822(number.created),
        "date_updated": rfc2822(number.updated),
        "origin": "twilio",
        "type": "local",
        "status": "in-use",
        "address_requirements": "none",
        "address_sid": None,
        "bundle_sid": None,
        "identity_sid": None,
        "trunk_sid": None,
        "emergency_address_sid": None,
        "emergency_address_status": "unregistered",
        "emergency_status": "Inactive",
        "voice_url": voice.url or "",
        "voice_method": voice.method,
        "voice_fallback_url": voice.fallback_url or "",
        "voice_fallback_method": voice.fallback_method,
        "voice_application_sid": None,
        "voice_caller_id_lookup": False,
        "voice_receive_mode": "voice",
        "status_callback": voice.status_callback or "",
        "status_callback_method": voice.status_method,
        "sms_url": "",
        "sms_method": "POST",
        "sms_fallback_url": "",
        "sms_fallback_method": "POST",
        "sms_application_sid": "",
        "uri": f"{base}.json",
        "subresource_uris": {"assigned_add_ons": f"{base}/AssignedAddOns.json"},
    }


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
