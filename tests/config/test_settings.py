"""Settings: where they come from, how they are judged, what is never shown."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.config import Settings, variables
from ops.errors import SettingsError

REPOSITORY = Path(__file__).parents[2]


def sid(prefix: str = "AC") -> str:
    return prefix + secrets.token_hex(16)


def twilio() -> dict[str, str]:
    return {"TWILIO_ACCOUNT_SID": sid(), "TWILIO_AUTH_TOKEN": secrets.token_hex(16)}


def faults(root: Path, environ: Mapping[str, str], **options: str) -> dict[str, str]:
    """The faults of these settings, by variable; fails when there are none."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(root, environ, **options)  # type: ignore[arg-type]
    return {fault.variable: str(fault) for fault in caught.value.faults}


def test_nothing_set_runs_everything_simulated(root: Path) -> None:
    """With no setting at all every vendor is simulated and has stand-in credentials and addresses."""
    settings = Settings.load(root, {})
    assert dict(settings.vendors) == {"twilio": "simulated", "openai": "simulated", "ngrok": "simulated"}
    assert settings.twilio_auth_token is not None
    assert settings.twilio_api_url == "http://127.0.0.1:8101"
    assert settings.openai_realtime_url == "ws://127.0.0.1:8102/v1/realtime"


def test_stand_ins_agree_between_commands_and_differ_between_projects(tmp_path: Path) -> None:
    """Every command of one project sees the same stand-in credentials; another project sees others."""
    one, same, other = (Settings.load(tmp_path / name, {}) for name in ("a", "a", "b"))
    assert one.twilio_auth_token == same.twilio_auth_token != other.twilio_auth_token
    assert (tmp_path / "a/logs/run/stand-in.key").stat().st_mode & 0o077 == 0


def test_order_of_sources(root: Path) -> None:
    """Environment over .env over webapp/.env over websocket-server/.env over ops.toml over defaults."""
    (root / "webapp").mkdir()
    (root / "websocket-server").mkdir()
    rows = "\n".join(f'{name} = "{name}-toml"' for name in ("OPENAI_MODEL", "OPENAI_VOICE"))
    (root / "ops.toml").write_text(f"[settings]\n{rows}\nLOG_LEVEL = 'ERROR'\nWEBAPP_PORT = 3001\n")
    (root / "websocket-server/.env").write_text("LOG_LEVEL=WARNING\nWEBSOCKET_PORT=8003\nNGROK_PORT=4003\n")
    (root / "webapp/.env").write_text("LOG_LEVEL=INFO\nWEBSOCKET_PORT=8002\n")
    (root / ".env").write_text("LOG_LEVEL=DEBUG\n")
    settings = Settings.load(root, {"OPENAI_MODEL": "from-environment"})
    assert settings.openai_model == "from-environment"
    assert settings.log_level == "DEBUG"
    assert (settings.websocket_port, settings.ngrok_port, settings.webapp_port) == (8002, 4003, 3001)
    assert settings.openai_voice == "OPENAI_VOICE-toml"
    assert settings.retry_interval == 1.0
    assert settings.sources["WEBSOCKET_PORT"] == "webapp/.env"


def test_rows_of_the_environment_in_force(root: Path) -> None:
    """[env.staging] counts under OPS_ENV=staging and stands above [settings]."""
    (root / "ops.toml").write_text("[settings]\nLOG_LEVEL='INFO'\n[env.staging]\nlog_level='ERROR'\n")
    assert Settings.load(root, {}).log_level == "INFO"
    assert Settings.load(root, {"OPS_ENV": "staging"}).log_level == "ERROR"


def test_all_faults_at_once(root: Path) -> None:
    """Every bad setting is reported in one error, each with what was expected and a fix."""
    (root / ".env").write_text('WEBAPP_PORT=70000\nOPENAI_API_KEY=""\nTWILIO_PHONE_NUMBER=abc\n')
    (root / "ops.toml").write_text("[settings]\nRETRY_INTERVALL = 2\n")
    found = faults(
        root, {"TWILIO_ACCOUNT_SID": sid(), "PUBLIC_URL": "http://example.com", "LOG_LEVEL": "LOUD"}
    )
    assert set(found) == {
        "WEBAPP_PORT", "OPENAI_API_KEY", "TWILIO_PHONE_NUMBER", "RETRY_INTERVALL", "PUBLIC_URL", "LOG_LEVEL",
        "TWILIO_AUTH_TOKEN",
    }  # fmt: skip
    assert "whole number from 1 to 65535" in found["WEBAPP_PORT"]
    assert "RETRY_INTERVAL?" in found["RETRY_INTERVALL"]
    assert all("Fix:" in text for text in found.values())


def test_missing_half_of_a_pair_is_named_as_promised(root: Path) -> None:
    """A half-set credential is an error in the words of the contract, and the vendor is in error."""
    with pytest.raises(SettingsError) as caught:
        Settings.load(root, {"TWILIO_ACCOUNT_SID": sid()})
    assert str(caught.value) == (
        "Missing required environment variable TWILIO_AUTH_TOKEN "
        "(looked in .env, webapp/.env, the environment). Fix: add it to .env; the token is on the Twilio console's front page"
    )
    assert caught.value.vendors["twilio"] == "error"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("lacking", ["TWILIO_API_KEY", "TWILIO_API_SECRET"])
def test_api_key_and_secret_come_together(root: Path, lacking: str) -> None:
    """An API key without its secret is an error, and the other way round."""
    pair = {"TWILIO_API_KEY": sid("SK"), "TWILIO_API_SECRET": secrets.token_hex(16)}
    del pair[lacking]
    assert lacking in faults(root, twilio() | pair)


def test_the_reference_has_no_workers(root: Path) -> None:
    """Several worker processes need the library that can take over a connection; one is as good as none."""
    told = faults(root, {"WEBSOCKET_WORKERS": "2", "WEBSOCKET_LIBRARY": "websockets"})
    assert list(told) == ["WEBSOCKET_WORKERS"]
    assert "Expected WEBSOCKET_LIBRARY=picows" in told["WEBSOCKET_WORKERS"]
    assert "got websockets" in told["WEBSOCKET_WORKERS"]
    assert Settings.load(root, {"WEBSOCKET_WORKERS": "1", "WEBSOCKET_LIBRARY": "websockets"})
    assert Settings.load(root, {"WEBSOCKET_WORKERS": "2"}).websocket_workers == 2


@pytest.mark.parametrize(
    "text",
    ["", "your_auth_token", "sk-your-key-here", "<token>", "xxxxxxxx", "changeme", "ACxxxxxxxxxxxxxxxx"],
)
def test_placeholders_count_as_bad(root: Path, text: str) -> None:
    """A placeholder or empty quotes in a file are a fault, not a value."""
    (root / ".env").write_text(f'OPENAI_API_KEY="{text}"\n')
    assert "placeholder or empty" in faults(root, {})["OPENAI_API_KEY"]


@pytest.mark.parametrize("name", ["OPENAI_MODEL", "LOG_LEVEL", "WEBAPP_PORT", "NGROK_DOMAIN"])
def test_empty_quotes_are_no_value_of_any_setting(root: Path, name: str) -> None:
    """NAME="" in a file is a fault for every variable, text or not."""
    (root / ".env").write_text(f'{name}=""\n')
    assert "placeholder or empty" in faults(root, {})[name]


def test_a_word_that_means_something_is_no_placeholder(root: Path) -> None:
    """RECORD_CALLS=none says what it says."""
    assert Settings.load(root, {"RECORD_CALLS": "none"}).record_calls == "none"


def test_number_without_plus_is_repaired_with_a_warning(root: Path) -> None:
    """A missing + is put back, and said."""
    settings = Settings.load(root, twilio() | {"TWILIO_PHONE_NUMBER": "1 202 555 0142"})
    assert settings.twilio_phone_number == "+12025550142"
    assert [finding.id for finding in settings.warnings] == ["env.repaired"]


def test_allowed_numbers_are_numbers_or_beginnings(root: Path) -> None:
    """One text, without blanks; what is neither is a fault that names it, so that no list is half read."""
    settings = Settings.load(root, {"ALLOWED_NUMBERS": "+12025550123, +1555*"})
    assert settings.allowed_numbers == "+12025550123,+1555*"
    for bad in ("12025550123", "+*", "*", "+1202555????", "+1555*,", "+12025550123;+12025550142", "+1555*0"):
        told = faults(root, {"ALLOWED_NUMBERS": bad})["ALLOWED_NUMBERS"]
        assert "prefixes like +1555*" in told
        assert repr(bad) in told


def test_files_that_disagree_on_a_credential_are_named(root: Path) -> None:
    """Two env files with different tokens: a warning that names both files and shows neither value."""
    (root / "webapp").mkdir()
    one, two = twilio(), twilio()
    (root / ".env").write_text("".join(f"{k}={v}\n" for k, v in one.items()))
    (root / "webapp/.env").write_text(f"TWILIO_AUTH_TOKEN={two['TWILIO_AUTH_TOKEN']}\n")
    for name in (".env", "webapp/.env"):
        (root / name).chmod(0o600)
    settings = Settings.load(root, {})
    (warning,) = settings.warnings
    assert warning.id == "env.disagree"
    assert warning.evidence["files"] == [".env", "webapp/.env"]
    assert two["TWILIO_AUTH_TOKEN"] not in str(warning)


def test_open_secret_file_warns_and_is_refused_in_production(root: Path) -> None:
    """A secret file that others can read: a warning with its fix, and exit 2 in production."""
    (root / ".env").write_text(f"OPENAI_API_KEY=sk-{secrets.token_hex(20)}\n")
    (root / ".env").chmod(0o644)
    (warning,) = Settings.load(root, {}).warnings
    assert warning.fix == "chmod 600 .env"
    assert "OPS_ENV" in faults(root, {"OPS_ENV": "production"})
    (root / ".env").chmod(0o600)
    assert Settings.load(root, {"OPS_ENV": "production"}).warnings == ()


@pytest.mark.parametrize("kind", ["folder", "not utf-8", "bad toml"])
def test_unreadable_files_are_faults(root: Path, kind: str) -> None:
    """A file that cannot be read is one clear fault, never a traceback."""
    if kind == "folder":
        (root / ".env").mkdir()
    elif kind == "not utf-8":
        (root / ".env").write_bytes(b"LOG_LEVEL=\xff\xfe\n")
    else:
        (root / "ops.toml").write_text("[settings\n")
    assert any("cannot be read" in text for text in faults(root, {}).values())


def test_offline_drops_everything_that_reaches_out(root: Path) -> None:
    """--offline simulates all vendors whatever is set, and keeps only addresses on this machine."""
    live = twilio() | {
        "OPENAI_API_KEY": "sk-" + secrets.token_hex(20),
        "PUBLIC_URL": "https://voice.example.com",
        "OPENAI_BASE_URL": "http://127.0.0.1:9999/v1",
        "TWILIO_API_KEY": sid("SK"),
        "TWILIO_API_SECRET": secrets.token_hex(16),
    }
    settings = Settings.load(root, live, mode="offline")
    assert set(settings.vendors.values()) == {"simulated"}
    assert settings.public_url is None
    assert settings.twilio_api_key is None
    assert settings.openai_base_url == "http://127.0.0.1:9999/v1"
    assert not {text for text in live.values() if "://" not in text} & set(settings.secrets)


def test_live_demands_every_vendor(root: Path) -> None:
    """--live names what is missing for each vendor."""
    assert set(faults(root, twilio(), mode="live")) == {"OPENAI_API_KEY", "NGROK_AUTH_TOKEN"}


@pytest.mark.parametrize(
    ("environ", "mode"),
    [
        ({"PUBLIC_URL": "https://voice.example.com"}, "live"),
        ({"PUBLIC_URL": "http://127.0.0.1:9000"}, "simulated"),
        ({"NGROK_AUTH_TOKEN": "2" + "a" * 40}, "live"),
    ],
)
def test_the_tunnel_counts_like_the_rest(root: Path, environ: dict[str, str], mode: str) -> None:
    """ngrok is live with a token or under a public URL that is not this machine."""
    assert Settings.load(root, environ).vendors["ngrok"] == mode


def test_secrets_never_show(root: Path) -> None:
    """No secret stands in the repr, in an error, or in a warning."""
    environ = twilio() | {"OPENAI_API_KEY": "sk-" + secrets.token_hex(20)}
    settings = Settings.load(root, environ)
    assert not [text for text in settings.secrets if text in repr(settings) + str(settings)]
    bad = secrets.token_hex(10) + " " + secrets.token_hex(10)
    assert bad not in str(faults(root, twilio() | {"OPENAI_API_KEY": bad}))


def test_a_service_reads_its_environment_alone(root: Path) -> None:
    """What a service is started with is all it reads: files and stand-ins stay out."""
    (root / ".env").write_text("LOG_LEVEL=ERROR\n")
    settings = Settings.load(root, {}, files=False)
    assert settings.log_level == "INFO"
    assert settings.twilio_auth_token is None
    assert not (root / "logs/run").exists()


def test_a_child_gets_exactly_the_named_variables(root: Path) -> None:
    """environment() reveals what is named and set, and nothing else; it reads back as it was."""
    settings = Settings.load(root, twilio() | {"MAX_LIVE_CALLS": "7"})
    given = settings.environment(
        ["TWILIO_AUTH_TOKEN", "MAX_LIVE_CALLS", "TIMEOUT_SERVICE_STARTUP", "PUBLIC_URL"]
    )
    assert set(given) == {"TWILIO_AUTH_TOKEN", "MAX_LIVE_CALLS", "TIMEOUT_SERVICE_STARTUP"}
    assert settings.environment(variables()) == Settings.load(
        root, settings.environment(variables()), files=False
    ).environment(variables())


def test_example_is_what_the_settings_say_and_works_as_copied(root: Path) -> None:
    """.env.example lists every variable, is generated from the settings, and runs as copied."""
    made = subprocess.run(
        [sys.executable, "-m", "ops.config"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    assert made == (REPOSITORY / ".env.example").read_text()
    assert all(f"# {name}=" in made for name in variables())
    (root / ".env").write_text(made)
    assert Settings.load(root, {}) == Settings.load(root, {}, mode="offline")


def test_example_is_right_when_uncommented(root: Path) -> None:
    """Every default shown in .env.example is the default: uncommenting it changes nothing."""
    shown = [
        line[2:] for line in (REPOSITORY / ".env.example").read_text().splitlines() if line.startswith("# ")
    ]
    rows = [line for line in shown if line.split("=")[0] in variables() and not line.endswith("=")]
    (root / ".env").write_text("\n".join(rows))
    names = variables()
    assert Settings.load(root, {}, files=True).environment(names).items() >= {
        name: value for name, value in Settings.load(root, {}, files=False).environment(names).items()
        if not name.endswith("_URL")
    }.items()  # fmt: skip
