"""The bug zoo: every seeded fault as a row, with the rule that must name it. Data alone.

The rows here break settings and this machine; `zoo_vendors` has those of vendors and the way in,
`zoo_own` those of a user's own stack, and all of them as `FAULTS`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ops.bench.doctor.seeds import Arm, Commit, Env, Export, File, Halt, Mode, Program, Seed, Track

Where = Literal["live", "own", "bare"]
LISTEN = (
    "import socket, sys, time; s = socket.create_server((sys.argv[1], int(sys.argv[2])));"
    "print('ready', flush=True); time.sleep(300)"
)
SLEEP = "import time; print('ready', flush=True); time.sleep(300)"
FEW_FILES = ("sh", "-c", 'ulimit -n 300 && exec "$@"', "sh")
SMALL_DISK = ("unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=32m none logs && exec "$@"', "sh")
DEAD = '{"supervisor": {"pid": 1, "start_ticks": 1, "boot_id": "gone"}, "services": []}'


@dataclass(frozen=True)
class Fault:
    """One fault: how it is seeded and where, the rule that must find it, words that its finding must have.

    `fix` marks those that `validate --fix` must mend; `deep` those that only `--deep` asks about;
    `wrapper` is put before the command; `known` are findings of the set-up itself.
    """

    name: str
    rule: str
    words: str
    seeds: tuple[Seed, ...] = ()
    where: Where = "live"
    fix: str = ""
    deep: bool = False
    wrapper: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


NOT_STARTED = ("service.stack",)

SETTINGS: tuple[Fault, ...] = (
    Fault(
        "a placeholder", "env.openai-api-key", "placeholder", (Env({"OPENAI_API_KEY": "sk-your-key-here"}),)
    ),
    Fault("half of a pair", "env.twilio-auth-token", "Missing", (Env({"TWILIO_AUTH_TOKEN": None}),)),
    Fault("a port that is none", "env.webapp-port", "WEBAPP_PORT", (Env({"WEBAPP_PORT": "http"}),)),
    Fault(
        "a misnamed .env",
        "env.file",
        ".env.local",
        (
            Export(),
            File(".env.local", "LOG_LEVEL=DEBUG\n"),
            File(".gitignore", "/.env.local\n", more=True),
        ),
        where="bare",
        fix="fix.env-file",
        known=NOT_STARTED,
    ),
    Fault(
        "a misspelled name",
        "env.names",
        "TIMEOUT_WEBSOCKET_CONNECTION",
        (Env({"TIMEOUT_WEBSOCKET_CONECTION": "5"}),),
    ),
    Fault(
        "typographic quotes", "env.quoting", "OPENAI_API_KEY", (Env({"OPENAI_API_KEY": "“{openai_key}”"}),)
    ),
    Fault(
        "the agent calls itself",
        "env.numbers",
        "call itself",
        (Env({"TWILIO_AGENT_NUMBER": "+12025550100"}),),
    ),
    Fault(
        "a path in PUBLIC_URL", "env.public-url", "the origin alone", (Env({"PUBLIC_URL": "{public}/twiml"}),)
    ),
    Fault(
        "two files disagree",
        "env.disagree",
        "webapp/.env",
        (File("webapp/.env", "OPENAI_API_KEY=sk-{hex}{hex}\n"),),
    ),
    Fault("others can read .env", "env.permissions", "0644", (Mode(".env", 0o644),), fix="fix.permissions"),
    Fault(
        "a number without +",
        "env.repaired",
        "+12025550100",
        (Env({"TWILIO_PHONE_NUMBER": "12025550100"}),),
        fix="fix.number",
    ),
)

MACHINE: tuple[Fault, ...] = (
    Fault(
        "a package too old",
        "env.packages",
        "invoke",
        (File("pyproject.toml", '[project]\ndependencies = ["invoke>=9,<10"]\n'),),
    ),
    Fault("a wrong clock", "env.clock", "behind", (Arm("twilio", "rest-clock", {"seconds": 3600}),)),
    Fault("few open files", "env.descriptors", "300", wrapper=FEW_FILES),
    Fault("a full disk", "env.disk", "full", where="bare", wrapper=SMALL_DISK, known=NOT_STARTED),
    Fault("nothing started", "service.stack", "does not run", where="bare"),
    Fault(
        "stale run state",
        "service.stack",
        "left from one that ended",
        (File("logs/run/stack.json", DEAD),),
        where="bare",
        fix="fix.stale-state",
    ),
    Fault(
        "settings changed since the start",
        "service.stack",
        "openai was live",
        (Env({"OPENAI_API_KEY": None, "OPENAI_BASE_URL": None, "OPENAI_REALTIME_URL": None}),),
    ),
    Fault("a service hangs", "service.webapp", "did not answer", (Halt("webapp"),)),
    Fault("two services, one port", "port.clash", "both want", (Env({"WEBAPP_PORT": "{port}"}),)),
    Fault(
        "a stranger on a port",
        "port.webapp",
        "cannot have its port",
        (Program(LISTEN, ("127.0.0.1", "{spare}")), Env({"WEBAPP_PORT": "{spare}"})),
    ),
    Fault(
        "others can read a run file",
        "security.files",
        "stack.json",
        (Mode("logs/run/stack.json", 0o644),),
        fix="fix.permissions",
    ),
    Fault(
        "a secret in a command line",
        "security.command-lines",
        "command line",
        (Program(SLEEP, ("--key={openai_key}",)),),
    ),
    Fault(
        "an agent's API for everyone",
        "security.listeners",
        "0.0.0.0",
        (Program(LISTEN, ("0.0.0.0", "{spare}")), Env({"NGROK_PORT": "{spare}"})),
    ),
    Fault(
        "debugging in production",
        "security.production",
        "DEBUG",
        (Env({"OPS_ENV": "production", "DEBUG": "*"}),),
    ),
    Fault(
        "a token in prose",
        "security.leaks",
        "Twilio auth token in NOTES.md:1",
        (File("NOTES.md", "The auth token of our Twilio account is {hex}.\n"),),
    ),
    Fault(
        "a token in a command line of a document",
        "security.leaks",
        "ngrok authtoken in NOTES.md:2",
        (File("NOTES.md", "Once:\n    ngrok config add-authtoken 2{hex}_{hex}\n"),),
    ),
    Fault(
        "a key of a project",
        "security.leaks",
        "OpenAI key in test.http:1",
        (File("test.http", "X-Key: sk-proj-{hex}{hex}\n"),),
    ),
    Fault(
        "a token in the history",
        "security.history",
        "Twilio API key",
        (Commit("NOTES.md", "curl -u SK{hex}:secret\n"),),
    ),
    Fault("git holds .env", "security.env-tracked", "git tracks .env", (Track(".env"),)),
)
