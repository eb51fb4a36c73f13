"""Faults in the settings' files and on this machine: each is seeded in real files."""

from __future__ import annotations

import resource
import sys
from datetime import date
from pathlib import Path

import pytest

from ops.config import Settings
from ops.doctor import environment, host, security
from ops.errors import SettingsError
from ops.findings import Finding
from ops.world import World

TODAY = date(2026, 11, 23)


def _world(root: Path, env: str | None = None, **files: str) -> World:
    if env is not None:
        (root / ".env").write_text(env)
        (root / ".env").chmod(0o600)
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).chmod(0o600)
    return World.of(Settings.load(root, {}), today=TODAY)


def _ask(world: World) -> dict[str, Finding]:
    return {check.id: check.ask(world) for check in environment.CHECKS}


def _alarms(world: World) -> dict[str, str]:
    return {id: one.status for id, one in _ask(world).items() if one.status != "ok"}


def test_settings_without_fault_raise_no_alarm(root: Path) -> None:
    """An ordinary .env with quotes, comments and exports is well."""
    text = (
        "# ours\nexport LOG_LEVEL='INFO'\nOPENAI_INSTRUCTIONS=\"Say 'hello' first.\"\nFOO_BAR=1\nNODE_ENV=x\n"
    )
    assert _alarms(_world(root, text)) == {}


def test_no_env_at_all_is_well(root: Path) -> None:
    """A fresh clone runs on simulators: that is no fault."""
    assert _alarms(_world(root)) == {}


def test_a_number_that_nobody_is_transferred_to_is_pointed_out(root: Path) -> None:
    """A premium-rate TWILIO_AGENT_NUMBER is read and never dialled; the ordinary one raises no alarm."""
    assert _alarms(_world(root, "TWILIO_AGENT_NUMBER=+12025550142\n")) == {}
    found = _ask(_world(root, "TWILIO_AGENT_NUMBER=+19005550100\n"))["env.numbers"]
    assert found.status == "warn"
    assert "premium-rate" in found.summary
    assert found.fix == "set TWILIO_AGENT_NUMBER to an ordinary number"


@pytest.mark.parametrize("name", [".env.local", "env", ".env.txt"])
def test_a_misnamed_env_is_pointed_out(root: Path, name: str) -> None:
    """A file that was meant to be .env is named with the command that renames it."""
    (root / name).write_text("LOG_LEVEL=DEBUG\n")
    found = _ask(_world(root))["env.file"]
    assert found.status == "warn"
    assert f"mv {name} .env" in (found.fix or "")


def test_a_misspelled_name_is_pointed_out(root: Path) -> None:
    """TWILIO_AUTHTOKEN looks right and has no effect."""
    found = _ask(_world(root, "OPENAI_APIKEY=whatever\nLOGLEVEL=DEBUG\n"))["env.names"]
    assert found.status == "warn"
    assert found.fix == "rename OPENAI_APIKEY to OPENAI_API_KEY in .env"


def test_a_misspelled_list_of_numbers_is_pointed_out(root: Path) -> None:
    """With ALLOWED_NUMBER every ordinary number would be dialled."""
    found = _ask(_world(root, "ALLOWED_NUMBER=+1555*\n"))["env.names"]
    assert found.fix == "rename ALLOWED_NUMBER to ALLOWED_NUMBERS in .env"


def test_files_that_disagree_are_one_finding(root: Path) -> None:
    """Two disagreements are one finding that names both variables."""
    world = _world(
        root,
        "OPENAI_API_KEY=sk-a1b2c3\nNGROK_AUTH_TOKEN=t1a2b3c4\n",
        **{"websocket-server/.env": "OPENAI_API_KEY=sk-d4e5f6\nNGROK_AUTH_TOKEN=t9z8y7x6\n"},
    )
    assert _alarms(world) == {"env.disagree": "warn"}
    found = _ask(world)["env.disagree"]
    assert "OPENAI_API_KEY" in found.summary
    assert "NGROK_AUTH_TOKEN" in found.summary


def test_a_readable_env_is_one_finding(root: Path) -> None:
    """A mode that lets others read is named with chmod."""
    (root / ".env").write_text("OPENAI_API_KEY=sk-a1b2c3\n")
    (root / ".env").chmod(0o644)
    world = _world(root)
    assert _alarms(world) == {"env.permissions": "warn"}
    assert _ask(world)["env.permissions"].fix == "chmod 600 .env"


def test_a_number_without_plus_is_shown(root: Path) -> None:
    """A repaired number is shown as it is used."""
    world = _world(root, "TWILIO_PHONE_NUMBER=12025550100\n")
    assert _alarms(world) == {"env.repaired": "warn"}
    assert "+12025550100" in _ask(world)["env.repaired"].summary


def test_a_webhook_path_in_public_url_is_a_fault(root: Path) -> None:
    """PUBLIC_URL with /twiml would be asked at /twiml/twiml."""
    found = _ask(_world(root, "PUBLIC_URL=https://a.test/twiml\n"))["env.public-url"]
    assert found.status == "fail"
    assert found.fix == "set PUBLIC_URL to the origin alone: https://a.test"


def test_two_public_names_that_differ_are_a_warning(root: Path) -> None:
    """PUBLIC_URL of another tunnel than NGROK_DOMAIN."""
    text = "PUBLIC_URL=https://old.ngrok.app\nNGROK_DOMAIN=new.ngrok.app\nNGROK_AUTH_TOKEN=t1a2b3c4\n"
    assert _ask(_world(root, text))["env.public-url"].status == "warn"


def test_unusable_settings_become_findings(root: Path) -> None:
    """Each bad setting is a failure with its own id, source and fix."""
    (root / ".env").write_text("TWILIO_ACCOUNT_SID=AC123\nWEBAPP_PORT=http\n")
    with pytest.raises(SettingsError) as caught:
        Settings.load(root, {})
    found = {one.id: one for one in environment.unusable(caught.value)}
    assert {"env.twilio-account-sid", "env.webapp-port"} <= set(found)
    assert all(one.status == "fail" and one.fix for one in found.values())


@pytest.mark.parametrize(("ahead", "status"), [(0.4, "ok"), (-5.5, "ok"), (30, "warn"), (-3600, "warn")])
def test_the_clock_is_judged(ahead: float, status: str) -> None:
    """Whole seconds of a Date header are allowed for; half a minute is not."""
    assert host.judge_clock(ahead, "https://a.test").status == status


@pytest.mark.parametrize(("hard", "status"), [(4096, "ok"), (1024, "warn"), (resource.RLIM_INFINITY, "ok")])
def test_the_descriptor_limit_is_judged(hard: int, status: str) -> None:
    """500 calls need 1,564 files; the fix names the calls that would fit."""
    found = host.judge_descriptors(1024, hard, 500)
    assert found.status == status
    if status == "warn":
        assert "MAX_LIVE_CALLS to 320" in (found.fix or "")


@pytest.mark.parametrize(("free", "status"), [(5 << 30, "ok"), (500 << 20, "warn"), (1 << 20, "fail")])
def test_the_disk_is_judged(free: int, status: str) -> None:
    """Below 1 GiB is a warning, below 64 MiB a failure."""
    assert host.judge_disk(free, "logs").status == status


def test_an_old_python_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running version is compared with what is needed."""
    world = _world(root)
    assert host.python(world).status == "ok"
    monkeypatch.setattr(sys, "version_info", (3, 10, 2, "final", 0))
    assert host.python(world).status == "fail"


@pytest.mark.parametrize(
    ("installed", "words"),
    [
        ({"invoke": "2.2.1", "fabric": "3.2.3"}, ""),
        ({"invoke": "2.10", "fabric": "3.2.10"}, ""),
        ({"invoke": "3.0.3", "fabric": "3.2.3"}, "invoke 3.0.3 is installed, invoke>=2.2.1,<3 is needed"),
        ({"invoke": "2.2.1", "fabric": "3.2.2"}, "fabric 3.2.2 is installed"),
        ({"invoke": "2.2.1"}, "fabric is missing"),
    ],
    ids=str,
)
def test_packages_are_judged_by_their_ranges(installed: dict[str, str], words: str) -> None:
    """Versions compare by number, not by text; what is missing counts too."""
    found = host.judge_packages(["invoke>=2.2.1,<3", "fabric>=3.2.3,<4"], installed)
    assert found.status == ("fail" if words else "ok")
    assert words in found.summary


def test_this_environment_has_what_is_needed(root: Path) -> None:
    """The real requirements are all understood, and the environment of the tests meets them."""
    found = host.packages(_world(root))
    assert found.status == "ok", found
    assert int(found.summary.split()[0]) >= 10


def test_loose_run_files_are_found(root: Path) -> None:
    """A run file that others can read is a warning; a private one is well."""
    world = _world(root)
    (root / "logs" / "run").mkdir(exist_ok=True)
    (root / "logs" / "run" / "stack.json").write_text("{}")
    (root / "logs" / "run" / "stack.json").chmod(0o644)
    assert security.files(world).status == "warn"
    (root / "logs" / "run" / "stack.json").chmod(0o600)
    assert security.files(world).status == "ok"
