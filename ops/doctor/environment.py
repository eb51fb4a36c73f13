"""The settings' own faults: the .env files, names that nobody reads, values that were mended."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

from ops.config import variables
from ops.config.sources import ENV_FILES
from ops.errors import SettingsError
from ops.findings import Check, Finding, Knowledge, fail, ok, warn
from ops.values import Secret
from ops.vendors.twilio.destinations import Destinations
from ops.world import World

MISNAMED = (".env.local", ".env.txt", "env", ".env.development", ".env.production")
QUOTES = "\"'“”‘’«»`"
FAMILY = re.compile(
    r"(ALLOWED|TWILIO|OPENAI|NGROK|WEBSOCKET|WEBAPP|OPS|TIMEOUT|MAX|RETRY|PUBLIC)_?[A-Z]", re.ASCII
)


def unusable(problem: SettingsError) -> tuple[Finding, ...]:
    """One finding for each bad setting, in the order found; ids are `env.` and the variable's name."""
    return tuple(
        fail(
            "env." + (re.sub(r"[^a-z0-9]+", "-", fault.variable.lower()).strip("-") or "settings"),
            fault.message,
            fix=fault.fix,
            variable=fault.variable,
            source=fault.source,
        )
        for fault in problem.faults
    )


def env_file(world: World) -> Finding:
    root = world.settings.root
    found = [name for name in ENV_FILES if (root / name).is_file()]
    if found:
        return ok("env.file", f"Settings come from {', '.join(found)}.", files=found)
    near = [name for name in MISNAMED if (root / name).is_file()]
    if near:
        return warn(
            "env.file",
            f"There is {near[0]}, but no .env: {near[0]} is not read.",
            fix=f"rename it: `mv {near[0]} .env && chmod 600 .env`",
            looked_in=list(ENV_FILES),
        )
    given = [name for name, source in world.settings.sources.items() if source == "the environment"]
    where = "the process environment alone" if given else "the defaults alone: every vendor is simulated"
    return ok("env.file", f"There is no .env; settings are {where}.", looked_in=list(ENV_FILES))


def unknown_names(world: World) -> Finding:
    """Names in the .env files that nobody reads but that look like one of ours."""
    known = variables()
    odd = []
    for file in ENV_FILES:
        path = world.settings.root / file
        for line in path.read_text("utf-8-sig", "replace").splitlines() if path.is_file() else ():
            name = line.partition("=")[0].strip().removeprefix("export ").strip()
            if "=" not in line or name in known or not FAMILY.match(name):
                continue
            near = difflib.get_close_matches(name, known, 1, cutoff=0.85)
            if near and near[0] not in world.settings.sources:
                odd.append((file, name, near[0]))
    if odd:
        words = "; ".join(f"{name} in {file} (meant {meant}?)" for file, name, meant in odd)
        file, name, meant = odd[0]
        return warn(
            "env.names",
            f"Nobody reads {words}.",
            fix=f"rename {name} to {meant} in {file}",
            names=[name for _, name, _ in odd],
        )
    return ok("env.names", "No setting's name is misspelled.")


def quoting(world: World) -> Finding:
    """Values that kept their quotes, as with `docker --env-file`, or got typographic ones by copying."""
    settings = world.settings
    kept = []
    for name in settings.sources:
        value = getattr(settings, name.lower())
        text = value.reveal() if isinstance(value, Secret) else value
        is_prose = name in ("OPENAI_INSTRUCTIONS", "DEBUG")
        if isinstance(text, str) and not is_prose and text and (text[0] in QUOTES or text[-1] in QUOTES):
            kept.append(name)
    if kept:
        return fail(
            "env.quoting",
            f"{', '.join(kept)}: the value has a quotation mark in it.",
            fix=f"write the value of {kept[0]} in {settings.sources[kept[0]]} without quotes",
            variables=kept,
        )
    return ok("env.quoting", "No value has kept its quotes.")


def numbers(world: World) -> Finding:
    own, other = world.settings.twilio_phone_number, world.settings.twilio_agent_number
    if own and own == other:
        return warn(
            "env.numbers",
            "TWILIO_PHONE_NUMBER and TWILIO_AGENT_NUMBER are the same: the agent would call itself.",
            fix="set TWILIO_AGENT_NUMBER to the human or test number that the agent dials",
        )
    if other and "TWILIO_AGENT_NUMBER" in world.settings.sources:  # not the simulators' own
        refusal = Destinations.of(world.settings).refusal(other)
        if refusal is not None:
            return warn(
                "env.numbers",
                f"Nobody can be transferred to TWILIO_AGENT_NUMBER. {refusal.message}",
                fix="set TWILIO_AGENT_NUMBER to an ordinary number",
            )
    return ok("env.numbers", "The agent's number and the number it dials differ.")


def public_url(world: World) -> Finding:
    settings = world.settings
    if settings.public_url is None:
        return ok("env.public-url", "PUBLIC_URL is not set; the tunnel's address is used.")
    path = re.sub(r"^https?://[^/]+", "", settings.public_url)
    evidence = {"public_url": settings.public_url, "source": settings.sources.get("PUBLIC_URL", "")}
    if path.endswith(("/twiml", "/call")):
        return fail(
            "env.public-url",
            f"PUBLIC_URL ends with {path}: the webhook would be asked at {settings.public_url}/twiml.",
            fix=f"set PUBLIC_URL to the origin alone: {settings.public_url.removesuffix(path)}",
            **evidence,
        )
    if settings.ngrok_domain and settings.vendors.get("ngrok") == "live" and settings.ngrok_auth_token:
        host = re.sub(r"^https?://", "", settings.public_url).partition("/")[0]
        if host != settings.ngrok_domain and ".ngrok" in host:
            return warn(
                "env.public-url",
                f"PUBLIC_URL ({host}) and NGROK_DOMAIN ({settings.ngrok_domain}) differ; no tunnel is "
                "started.",
                fix="remove PUBLIC_URL to use the tunnel, or NGROK_DOMAIN to use PUBLIC_URL",
                **evidence,
            )
    return ok("env.public-url", f"PUBLIC_URL is {settings.public_url}.", **evidence)


def _noted(id: str, fine: str) -> Callable[[World], Finding]:
    """What reading the settings noted under this id, all in one finding."""

    def ask(world: World) -> Finding:
        found = [one for one in world.settings.warnings if one.id == id]
        if not found:
            return ok(id, fine)
        return warn(
            id,
            " ".join(one.summary for one in found),
            fix="; ".join(dict.fromkeys(one.fix or "" for one in found)),
            found=[dict(one.evidence) for one in found],
        )

    return ask


CHECKS: tuple[Check[World], ...] = (
    Check(
        "env.file",
        "Where do the settings come from?",
        env_file,
        about=Knowledge(
            symptom="Everything is simulated although credentials were set.",
            evidence="Which of .env, webapp/.env and websocket-server/.env exist, and files whose "
            "names are near.",
            cause="The .env is missing, or has a name that nobody reads.",
            fix="`inv validate --fix` makes a .env from .env.example with mode 0600; or rename the file.",
            verify=".env exists and is read.",
            source=".env.example",
            mend="automatic",
        ),
    ),
    Check(
        "env.names",
        "Is every name in the .env files one that is read?",
        unknown_names,
        about=Knowledge(
            symptom="A setting has no effect.",
            evidence="Each name in the .env files that nobody reads, and the name that was meant.",
            cause="Its name is misspelled.",
            fix="Rename it to the name in .env.example.",
            verify="Every name of ours in the .env files is known.",
            source=".env.example",
        ),
    ),
    Check(
        "env.quoting",
        "Are the values free of quotation marks?",
        quoting,
        about=Knowledge(
            symptom="Credentials are refused although they look right.",
            evidence="The variables whose values begin or end with a quotation mark.",
            cause="Quotes became part of the value: `docker --env-file` keeps them, editors make "
            "typographic ones.",
            fix="Write the value without quotes.",
            verify="No value begins or ends with a quotation mark.",
            source="https://docs.docker.com/reference/cli/docker/container/run/#env",
        ),
    ),
    Check(
        "env.numbers",
        "Are the agent's number and the number it dials two numbers, and may that one be dialled?",
        numbers,
        about=Knowledge(
            symptom="A test call is busy, the agent talks to itself, or no caller is transferred.",
            evidence="TWILIO_PHONE_NUMBER and TWILIO_AGENT_NUMBER as they are read.",
            cause="TWILIO_AGENT_NUMBER is the agent's own number, or of a kind that is never dialled: "
            "emergency, premium rate, satellite.",
            fix="Set TWILIO_AGENT_NUMBER to the human or test number.",
            verify="The two numbers differ, and the second is an ordinary one.",
            source=".env.example",
        ),
    ),
    Check(
        "env.public-url",
        "Is PUBLIC_URL an origin, and the one in use?",
        public_url,
        about=Knowledge(
            symptom="Twilio shows 11200 with a doubled path, or calls reach an old address.",
            evidence="PUBLIC_URL and where it was set; NGROK_DOMAIN beside it.",
            cause="PUBLIC_URL holds the webhook's path, or another tunnel's name than NGROK_DOMAIN.",
            fix="Set PUBLIC_URL to scheme and host alone, or remove it to use the tunnel.",
            verify="PUBLIC_URL has no webhook path and does not contradict NGROK_DOMAIN.",
            source="https://github.com/twilio-samples/live-translation-openai-realtime-api/issues/13",
        ),
    ),
    Check(
        "env.disagree",
        "Do the .env files agree on the credentials?",
        _noted("env.disagree", "No two .env files disagree on a credential."),
        about=Knowledge(
            symptom="One part of the stack works, another is refused.",
            evidence="The variable and the files that hold different values of it; never the values.",
            cause="Two .env files hold different values of one credential, and only one wins.",
            fix="Keep the credential in one file.",
            verify="The files agree, or one of them has it.",
            source="https://github.com/openai/openai-realtime-twilio-demo",
        ),
    ),
    Check(
        "env.permissions",
        "Can only we read the .env files?",
        _noted("env.permissions", "No .env file with secrets can be read by others."),
        about=Knowledge(
            symptom="Nobody notices until the keys are used by someone else.",
            evidence="The file and its mode.",
            cause="A file with secrets has a mode that lets others read it.",
            fix="`inv validate --fix`, or `chmod 600` of the file.",
            verify="The file's mode gives nothing to group and others.",
            source="https://man7.org/linux/man-pages/man1/chmod.1.html",
            mend="automatic",
        ),
    ),
    Check(
        "env.repaired",
        "Are the numbers written in full?",
        _noted("env.repaired", "No value had to be mended."),
        about=Knowledge(
            symptom="A tool that reads the same .env refuses the number (21211).",
            evidence="The variable, the file, and the value that is used.",
            cause="A number without +, or with spaces; or a domain with a scheme.",
            fix="`inv validate --fix` writes the + into the file; the rest is shown.",
            verify="The value is read as it stands.",
            source="https://www.twilio.com/docs/api/errors/21211",
            mend="automatic",
        ),
    ),
)
