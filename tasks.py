"""Trunkline's tasks. Each is thin: settings → one function of `ops` → report → exit code.

Nothing heavy is imported here: `inv --list` must cost what plain Invoke costs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invoke.context import Context
from invoke.tasks import task

from ops.program import adopt

adopt()  # teaches the running `inv` its flag -H, before it reads the tasks' own flags

ROOT = Path(__file__).parent
ONLY = "Only these, a,b,c."
JSON = "Standard output is exactly one JSON document."
OFFLINE = "Simulate every vendor, whatever is set."
LIVE = "Demand the real vendors."


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _hosts(c: Context) -> str:
    """What -H named, for the tasks that run here and drive the hosts."""
    return str(c.config.get("hosts", ""))


def _carry_out(name: str, work: Any, **options: Any) -> None:
    from ops.cli import carry_out

    carry_out(name, work, root=ROOT, **options)


@task(
    help={
        "only": ONLY, "offline": OFFLINE, "live": LIVE, "json": JSON,
        "attach": "Stay; Ctrl-C stops everything.",
        "take_over": "End whoever holds a port that is needed, after showing it.",
        "serve": "Become the bridge itself, in the foreground: what a systemd slot runs.",
    }
)  # fmt: skip
def start(
    c: Context,
    only: str = "",
    offline: bool = False,
    live: bool = False,
    attach: bool = False,
    take_over: bool = False,
    serve: bool = False,
    json: bool = False,
) -> None:
    """Start the stack, wait until all of it is healthy, and prove the line."""
    if serve:
        from ops.commands.serve import serve as become

        _carry_out("start", lambda settings, _: become(settings), offline=offline, live=live, running=False)

    from ops.processes.standby import standing_by

    with standing_by(ROOT) as standby:
        from ops.commands.start import start as command

        _carry_out(
            "start",
            lambda settings, printer: command(
                settings, printer, only=_names(only), attach=attach, take_over=take_over, standby=standby
            ),
            as_json=json, offline=offline, live=live, running=False,
        )  # fmt: skip


@task(help={"only": ONLY, "json": JSON, "offline": OFFLINE})
def basic(c: Context, only: str = "", offline: bool = False, json: bool = False) -> None:
    """Start quickly for development: no tunnel, nobody outside asked, restart on code change."""
    from ops.processes.standby import standing_by

    with standing_by(ROOT) as standby:
        from ops.commands.start import basic as command

        _carry_out(
            "basic",
            lambda settings, printer: command(settings, printer, only=_names(only), standby=standby),
            as_json=json, offline=offline, running=False,
        )  # fmt: skip


@task(
    help={
        "seconds": "Follow for so long, then end.", "service": "Follow only these, a,b,c.",
        "json": JSON + " Nothing is followed then.",
    }
)  # fmt: skip
def debug(c: Context, seconds: float = 0.0, service: str = "", json: bool = False) -> None:
    """Inspect the state, try the connections, then follow every log at DEBUG."""
    from ops.commands.debug import debug as command

    _carry_out(
        "debug",
        lambda settings, printer: command(
            settings, printer, seconds=seconds or None, service=service or None
        ),
        as_json=json,
    )


@task(
    help={
        "drain": "Seconds that live calls may go on.", "now": "Do not wait for live calls.", "json": JSON,
        "reset": "Clear the run state too.",
    }
)  # fmt: skip
def cleanup(
    c: Context, drain: float = 30.0, now: bool = False, reset: bool = False, json: bool = False
) -> None:
    """Stop the stack in reverse order, let live calls finish, prove that nothing is left."""
    from ops.commands.stack import cleanup as command

    _carry_out(
        "cleanup",
        lambda settings, printer: command(settings, printer, drain=drain, now=now, reset=reset),
        as_json=json,
    )


@task(help={"watch": "Show it again every second, until Ctrl-C.", "json": JSON})
def status(c: Context, watch: bool = False, json: bool = False) -> None:
    """What runs, since when, pid, port, restarts, live calls, public URL, mode."""
    from ops.commands.stack import status as command

    _carry_out("status", lambda settings, printer: command(settings, printer, watch=watch), as_json=json)


@task(
    help={
        "only": "Only these checks or groups, like env,twilio.number.",
        "at": "Prove a bridge at this address, like http://127.0.0.1:18081, as if calls came there.",
        "deep": "Ring through the public URL with two seconds of speech, too.",
        "fix": "Mend what is safe, then ask again.",
        "restore_webhook": "Give the number the voice URL back that --fix replaced.",
        "explain": "Tell what this check means, like webhook.drift.", "watch": "Ask again, until Ctrl-C.",
        "junit": "Write the findings to this file as JUnit.", "json": JSON, "offline": OFFLINE, "live": LIVE,
    }
)  # fmt: skip
def validate(
    c: Context,
    only: str = "",
    deep: bool = False,
    at: str = "",
    fix: bool = False,
    restore_webhook: bool = False,
    explain: str = "",
    watch: bool = False,
    junit: str = "",
    offline: bool = False,
    live: bool = False,
    json: bool = False,
) -> None:
    """Ask everything that could keep a caller from getting through."""
    from ops.commands import validate as command

    def work(settings: Any, printer: Any) -> Any:
        if explain:
            return command.explain(settings, printer, explain)
        return command.validate(
            settings,
            printer,
            only=_names(only),
            deep=deep,
            at=at,
            fix=fix,
            restore_webhook=restore_webhook,
            watch=watch,
        )

    first = command.mend_files if fix else None
    _carry_out("validate", work, as_json=json, offline=offline, live=live, junit=junit, first=first)


@task(
    help={
        "to": "Call this number (E.164) instead of TWILIO_AGENT_NUMBER.",
        "scenario": "What the caller does: a .json or .toml file.",
        "fault": "Ask a simulator to fail so.", "json": JSON,
        "webhook": "A simulated caller rings this voice webhook instead, whoever's bridge answers there.",
    }
)  # fmt: skip
def call(
    c: Context, to: str = "", scenario: str = "", fault: str = "", webhook: str = "", json: bool = False
) -> None:
    """Place a test call, watch every hop, and judge it."""
    from ops.commands.call import call as command

    _carry_out(
        "call",
        lambda settings, printer: command(
            settings,
            printer,
            to=to or None,
            scenario=scenario or None,
            fault=fault or None,
            webhook=webhook or None,
        ),
        as_json=json,
    )


@task(
    help={
        "only": "Only these, twilio,openai,ngrok.", "json": JSON,
        "forward": "The port of your bridge; the tunnel leads there.",
    }
)  # fmt: skip
def simulate(c: Context, only: str = "", forward: int = 0, json: bool = False) -> None:
    """Start the vendors' simulators alone, for a bridge of your own."""
    from ops.commands.simulate import simulate as command

    _carry_out(
        "simulate",
        lambda settings, printer: command(settings, printer, only=_names(only), forward=forward or None),
        as_json=json,
    )


@task(
    help={
        "level": "At least this level (INFO).", "service": ONLY, "call": "A call SID, or its beginning.",
        "since": "90s, 5m, 1h, 14:05, an ISO time, run (the running stack's start) or all.",
        "until": "Up to then.", "grep": "A regular expression.", "lines": "At most so many, the last ones.",
        "follow": "Go on as they are written, until Ctrl-C.", "seconds": "Follow for so long, then end.",
        "export": "Write them to this file.", "format": "json, csv or otlp, for --export.",
        "rotate": "Close and pack the log files.", "json": "One JSON object a line.",
        "story": "Tell one --call in seconds since it began.",
    }
)  # fmt: skip
def logs(
    c: Context,
    level: str = "",
    service: str = "",
    call: str = "",
    since: str = "",
    until: str = "",
    grep: str = "",
    lines: int = 200,
    follow: bool = False,
    seconds: float = 0.0,
    export: str = "",
    format: str = "json",
    rotate: bool = False,
    story: bool = False,
    json: bool = False,
) -> None:
    """All services' logs as one stream: filter, follow, sum up, export, rotate."""
    from ops.commands.logs import LogOptions
    from ops.commands.logs import logs as command

    options = LogOptions(
        level=level or None, service=service or None, call=call or None,
        since=since or None, until=until or None, grep=grep or None,
        lines=lines, follow=follow, seconds=seconds or None, export=export or None,
        format=format, rotate=rotate, story=story,
    )  # fmt: skip
    _carry_out("logs", lambda settings, printer: command(settings, printer, options), as_json=json)


@task(
    help={
        "dirty": "Ship the working tree, not the last commit.", "dry_run": "Print the plan, change nothing.",
        "again": "Ship under a new name what is there already, or was marked bad.",
        "take_lock": "Take over the lock of a deploy that died elsewhere.",
        "keep": "So many releases stay on a host.", "wave": "So many hosts at a time, after the first one.",
        "reason": "Stands beside the lock and in the audit log.", "json": JSON,
    }
)  # fmt: skip
def deploy(
    c: Context,
    dirty: bool = False,
    dry_run: bool = False,
    again: bool = False,
    take_lock: bool = False,
    keep: int = 5,
    wave: int = 0,
    reason: str = "",
    json: bool = False,
) -> None:
    """Ship this project to hosts, one first: inv -H web1,web2 deploy."""
    from ops.commands.deploy import DeployOptions
    from ops.commands.deploy import deploy as command

    options = DeployOptions(
        dirty=dirty, dry_run=dry_run, again=again, take_lock=take_lock, keep=keep, wave=wave, reason=reason
    )
    _carry_out(
        "deploy",
        lambda settings, printer: command(settings, printer, _hosts(c), options),
        as_json=json, running=False,
    )  # fmt: skip


@task(
    help={
        "to": "This release, instead of the one before.", "dry_run": "Print the plan, change nothing.",
        "take_lock": "Take over the lock of a deploy that died elsewhere.", "json": JSON,
    }
)  # fmt: skip
def rollback(
    c: Context, to: str = "", dry_run: bool = False, take_lock: bool = False, json: bool = False
) -> None:
    """Go back to the last good release on hosts: inv -H web1,web2 rollback."""
    from ops.commands.deploy import rollback as command

    _carry_out(
        "rollback",
        lambda settings, printer: command(
            settings, printer, _hosts(c), to=to, take_lock=take_lock, dry_run=dry_run
        ),
        as_json=json, running=False,
    )  # fmt: skip


@task(help={"json": JSON})
def releases(c: Context, json: bool = False) -> None:
    """List the releases on hosts: inv -H web1,web2 releases."""
    from ops.commands.deploy import releases as command

    _carry_out(
        "releases",
        lambda settings, printer: command(settings, printer, _hosts(c)),
        as_json=json, running=False,
    )  # fmt: skip


@task(
    help={
        "args": "More arguments for pytest.", "live": "Run the contract tests against the real vendors.",
        "long": "The long fuzz, soak and rig modes too.", "json": JSON,
    }
)  # fmt: skip
def test(c: Context, args: str = "", live: bool = False, long: bool = False, json: bool = False) -> None:
    """Run the project's own tests."""
    import shlex

    from ops.commands.selftest import selftest as command

    def run(argv: list[str]) -> int:
        with c.cd(str(ROOT)):
            result = c.run(shlex.join(argv), warn=True, hide=json, in_stream=False)
        return int(result.exited) if result is not None else 1

    arguments = (*(["--live"] if live else []), *(["--long"] if long else []), *shlex.split(args))
    _carry_out(
        "test",
        lambda settings, printer: command(settings, printer, run=run, arguments=arguments),
        as_json=json,
    )


@task(
    help={
        "what": "processes, bridge, simulators, deploy or doctor; the first two beside others of their kind.",
        "rounds": "How often each is measured.",
        "long": "simulators: ten minutes of calls; bridge: an hour of calls that come and go.",
        "only": "Only these tools (processes), designs, churn (bridge), rules (doctor) or parts (deploy).",
        "write": "Write the section of docs/benchmarks.md.",
        "install": "First install what we are compared with, outside the checkout.", "json": JSON,
    }
)  # fmt: skip
def bench(
    c: Context,
    what: str,
    rounds: int = 5,
    long: bool = False,
    only: str = "",
    install: bool = False,
    write: bool = False,
    json: bool = False,
) -> None:
    """Measure what is promised in figures, each beside its goal."""
    from ops.commands.bench import BenchOptions
    from ops.commands.bench import bench as command

    options = BenchOptions(what, rounds, long=long, only=_names(only), install=install, write=write)
    _carry_out(
        "bench", lambda settings, printer: command(settings, printer, options), as_json=json, offline=True
    )
