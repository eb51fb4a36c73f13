"""What Twilio itself can be asked: credentials, account, balance, the agent's number."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from ops.findings import Check, Finding, Knowledge, fail, ok, skip, warn
from ops.net.http import Declined, Unanswered
from ops.vendors.twilio.client import Twilio, monitor
from ops.vendors.twilio.codes import explain
from ops.world import World

RECENT = timedelta(hours=1)
MANY_QUEUED = 5  # outgoing calls: at one a second the last one waits as many seconds
TRIAL_CALLS = 5  # at once, https://help.twilio.com/articles/223180028
LOW_BALANCE = 2.0  # of the account's currency: a few minutes of calls and the next number's rent


def credentials(world: World) -> Finding:
    settings = world.settings
    try:
        with Twilio.of(settings) as twilio:
            account = twilio.account()
    except Declined as problem:
        if problem.status == 429:  # it says nothing about the credentials
            return skip("twilio.credentials", "Twilio refuses any request now.", waits_for="twilio.limits")
        raise
    used = "API key" if settings.twilio_api_key else "auth token"
    asked = f"{settings.twilio_api_url}{twilio.path}.json"
    if account.sid != settings.twilio_account_sid:
        return fail(
            "twilio.credentials",
            f"The {used} is accepted, but for another account ({account.sid[:4]}…).",
            fix="use TWILIO_ACCOUNT_SID and credentials of one and the same account",
            asked=asked,
        )
    return ok(
        "twilio.credentials", f"Twilio accepts the {used}.", asked=asked, used=used, account=account.sid
    )


def account(world: World) -> Finding:
    with Twilio.of(world.settings) as twilio:
        found = twilio.account()
    evidence = {
        "status": found.status,
        "kind": found.kind,
        "asked": f"{world.settings.twilio_api_url}{twilio.path}.json",
    }
    if found.status != "active":
        return fail(
            "twilio.account",
            f"The Twilio account is {found.status or 'in no known state'}, not active.",
            fix="open the Twilio console: it says why, and how to make the account active again",
            **evidence,
        )
    if found.kind == "Trial":
        return warn(
            "twilio.account",
            "The Twilio account is a trial: it calls verified numbers only and speaks a notice first.",
            fix="verify the numbers you call, or upgrade the account",
            **evidence,
        )
    return ok("twilio.account", f"The Twilio account is active ({found.kind or 'kind unknown'}).", **evidence)


def balance(world: World) -> Finding:
    with Twilio.of(world.settings) as twilio:
        found = twilio.balance()
    shown = f"{found.amount:.2f} {found.currency}"
    evidence = {"balance": shown, "asked": f"{world.settings.twilio_api_url}{twilio.path}/Balance.json"}
    if found.amount <= 0:
        return fail(
            "twilio.balance",
            f"The Twilio balance is {shown}: calls are refused.",
            fix="add funds in the Twilio console, and switch auto-recharge on",
            **evidence,
        )
    if found.amount < LOW_BALANCE:
        return warn(
            "twilio.balance",
            f"The Twilio balance is low: {shown}.",
            fix="add funds in the Twilio console, and switch auto-recharge on",
            **evidence,
        )
    return ok("twilio.balance", f"The Twilio balance is {shown}.", **evidence)


def limits(world: World) -> Finding:
    """Twilio tells no account's limits, so what is known are a trial's, the calls that wait, and refusals."""
    id = "twilio.limits"
    try:
        with Twilio.of(world.settings) as twilio:
            account = twilio.account()
            live, queued = len(twilio.calls("in-progress")), len(twilio.calls("queued"))
    except Unanswered:
        return skip(id, "Twilio does not answer.", waits_for="twilio.credentials")
    except Declined as problem:
        if problem.status == 429:
            raise
        if problem.unknown_question:
            return skip(id, "Nobody keeps a list of calls there.")
        return skip(id, "The credentials are not accepted.", waits_for="twilio.credentials")
    asked = f"{world.settings.twilio_api_url}{twilio.path}/Calls.json"
    evidence = {"asked": asked, "live": live, "queued": queued}
    if queued >= MANY_QUEUED:
        return warn(
            id,
            f"{queued} outgoing calls wait in Twilio's queue: the account starts fewer calls a second than "
            "are asked for.",
            fix="place calls more slowly (one a second unless Twilio raised it), or ask Twilio for more "
            "calls per second",
            **evidence,
        )
    if account.kind == "Trial" and live >= TRIAL_CALLS - 1:
        return warn(
            id,
            f"{live} calls are live, and a trial account may have {TRIAL_CALLS}.",
            fix="upgrade the account, or wait for calls to end",
            **evidence,
        )
    return ok(id, f"Twilio has room: {live} calls live, {queued} waiting.", **evidence)


def number(world: World) -> Finding:
    wanted = world.settings.twilio_phone_number
    with Twilio.of(world.settings) as twilio:
        owned = twilio.numbers()
    asked = f"{world.settings.twilio_api_url}{twilio.path}/IncomingPhoneNumbers.json"
    if wanted is None:
        return warn(
            "twilio.number",
            f"TWILIO_PHONE_NUMBER is not set; the account owns {len(owned)} numbers.",
            fix="set TWILIO_PHONE_NUMBER to the agent's number"
            + (f", for example {owned[0].phone_number}" if owned else ""),
            asked=asked,
        )
    found = next((one for one in owned if one.phone_number == wanted), None)
    if found is None:
        others = ", ".join(one.phone_number for one in owned[:5]) or "none"
        return fail(
            "twilio.number",
            f"The account does not own {wanted}; it owns {others}.",
            fix="set TWILIO_PHONE_NUMBER to a number of this account, or buy the number",
            asked=asked,
        )
    if not found.voice:
        return fail(
            "twilio.number",
            f"{wanted} cannot take calls: it is not voice capable.",
            fix="use a number with the voice capability",
            asked=asked,
            number_sid=found.sid,
        )
    return ok("twilio.number", f"{wanted} is owned and voice capable.", asked=asked, number_sid=found.sid)


def token(world: World) -> Finding:
    """With an API key REST says nothing about the auth token, but every signature is checked with it."""
    settings = world.settings
    sid, secret = settings.twilio_account_sid, settings.twilio_auth_token
    if not settings.twilio_api_key or sid is None or secret is None:
        return ok("twilio.token", "The auth token is what REST is asked with.")
    asked = f"{settings.twilio_api_url}/2010-04-01/Accounts/{sid}.json"
    try:
        with Twilio(settings.twilio_api_url, sid, (sid, secret)) as twilio:
            twilio.account()
    except Declined as problem:
        if problem.code is None:
            raise
        return fail(
            "twilio.token",
            "The API key works, but the auth token is refused: no signature of Twilio's will fit.",
            fix="copy the primary TWILIO_AUTH_TOKEN again; a secondary one checks no signatures until "
            "promoted",
            asked=asked,
            code=problem.code,
        )
    return ok("twilio.token", "The auth token is accepted beside the API key.", asked=asked)


def alerts(world: World) -> Finding:
    since = datetime.now(UTC) - RECENT
    base = world.settings.twilio_api_url
    asked = f"{monitor(base)}/v1/Alerts"
    try:
        with Twilio.of(world.settings) as twilio:
            found = [one for one in twilio.alerts(since) if one.level in ("error", "warning")]
    except Declined as problem:
        if problem.unknown_question:
            return skip("twilio.alerts", "Nobody keeps a Debugger there.", asked=asked)
        raise
    if not found:
        return ok("twilio.alerts", "Twilio's Debugger has nothing new.", asked=asked)
    counts = Counter(one.code for one in found)
    code, times = counts.most_common(1)[0]
    known = explain(code)
    meaning = f": {known.meaning}" if known else ""
    return warn(
        "twilio.alerts",
        f"Twilio's Debugger noted {len(found)} faults in the last hour, {times} times {code}{meaning}.",
        fix=known.fix if known else f"see https://www.twilio.com/docs/api/errors/{code}",
        asked=asked,
        codes=dict(counts),
        newest=max(found, key=lambda one: one.date).resource_sid,
    )


CHECKS: tuple[Check[World], ...] = (
    Check(
        "twilio.limits",
        "Do Twilio's limits of calls and requests leave room?",
        limits,
        unless=("env.quoting", "twilio.region"),
        about=Knowledge(
            symptom="Outgoing calls start minutes late; callers hear busy (10004); requests fail with 20429.",
            evidence="The calls in progress and in the queue, the account's type, and a refusal with 429.",
            cause="More calls or requests at once than the account may have.",
            fix="Slow down, upgrade a trial, or ask Twilio for more concurrency or calls per second.",
            verify="No request is refused with 20429, and fewer than five outgoing calls wait.",
            source="https://www.twilio.com/docs/api/errors/10004",
            vantage="vendor",
        ),
    ),
    Check(
        "twilio.credentials",
        "Does Twilio accept the credentials?",
        credentials,
        unless=("env.quoting", "twilio.region"),
        about=Knowledge(
            symptom="No call can be placed; every request to Twilio fails with 20003.",
            evidence="Twilio's answer to a request for the account.",
            cause="A wrong, rotated or mixed-up account SID, auth token or API key.",
            fix="Copy TWILIO_ACCOUNT_SID and the primary TWILIO_AUTH_TOKEN again; an API key must be of "
            "the same account.",
            verify="The account can be fetched with the credentials.",
            source="https://www.twilio.com/docs/api/errors/20003",
            vantage="vendor",
        ),
    ),
    Check(
        "twilio.account",
        "Is the account active?",
        account,
        needs=("twilio.credentials",),
        about=Knowledge(
            symptom="Calls stop from one day to the next, or only some numbers can be called.",
            evidence="The account's status and type.",
            cause="The account is suspended or closed, or it is a trial that calls verified numbers only.",
            fix="The Twilio console says why; verify the numbers you call or upgrade.",
            verify="The account's status is active.",
            source="https://www.twilio.com/docs/usage/tutorials/how-to-use-your-free-trial-account",
            vantage="vendor",
        ),
    ),
    Check(
        "twilio.balance",
        "Is there money for calls?",
        balance,
        needs=("twilio.credentials",),
        about=Knowledge(
            symptom="Callers hear a busy tone or an error; outgoing calls are refused.",
            evidence="The account's balance and currency.",
            cause="The account's balance is used up.",
            fix="Add funds and switch auto-recharge on.",
            verify="The balance is above the low mark.",
            source="https://www.twilio.com/docs/usage/api/account-balance",
            vantage="vendor",
        ),
    ),
    Check(
        "twilio.number",
        "Is the agent's number ours, and voice capable?",
        number,
        needs=("twilio.credentials",),
        about=Knowledge(
            symptom="The number rings somewhere else or not at all; outgoing calls fail with 21210 or 21212.",
            evidence="The account's incoming numbers and their voice capability.",
            cause="TWILIO_PHONE_NUMBER is of another account or cannot take calls.",
            fix="Set TWILIO_PHONE_NUMBER to a voice capable number of this account.",
            verify="The account's incoming numbers contain it, with the voice capability.",
            source="https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource",
            vantage="vendor",
        ),
    ),
    Check(
        "twilio.token",
        "Is the auth token the account's, also when an API key is used?",
        token,
        needs=("twilio.credentials",),
        about=Knowledge(
            symptom="Calls can be placed, but every webhook is answered 403.",
            evidence="Twilio's answer to the same request with SID and auth token in place of the API key.",
            cause="REST uses the API key; the auth token, which checks signatures, is old, secondary or "
            "mistyped.",
            fix="Copy the primary auth token again.",
            verify="The account can be fetched with SID and auth token too.",
            source="https://www.twilio.com/docs/usage/webhooks/webhooks-security",
            vantage="vendor",
        ),
    ),
    Check(
        "twilio.alerts",
        "Has Twilio's Debugger noted faults in the last hour?",
        alerts,
        needs=("twilio.credentials",),
        about=Knowledge(
            symptom="Callers report something that no log of ours shows.",
            evidence="The Debugger's entries of the last hour, counted by number.",
            cause="Twilio saw a fault on its side of the line: the webhook, the stream, the TwiML.",
            fix="The number says which; each is explained.",
            verify="The Debugger has no errors or warnings of the last hour.",
            source="https://www.twilio.com/docs/usage/monitor-alert",
            vantage="vendor",
        ),
    ),
)
