"""What `--fix` mends: shown before, changed, looked at again, and never more than that."""

from __future__ import annotations

import json
from pathlib import Path

from ops.doctor.fixes import mend_files, mend_webhook, restore_webhook
from tests.standin import StandIn


def _nothing(sentence: str) -> None:
    raise AssertionError(f"nothing should be mended, but: {sentence}")


def test_a_missing_env_is_made_from_the_example(root: Path) -> None:
    """.env is a copy of .env.example that only we can read, also under an open umask."""
    (root / ".env.example").write_text("# LOG_LEVEL=INFO\n")
    shown: list[str] = []
    (found,) = mend_files(root, show=shown.append)
    assert (found.id, found.status) == ("fix.env-file", "ok")
    assert shown == ["make .env from .env.example, with mode 0600"]
    assert (root / ".env").read_text() == "# LOG_LEVEL=INFO\n"
    assert (root / ".env").stat().st_mode & 0o777 == 0o600
    assert mend_files(root, show=_nothing) == ()


def test_an_env_that_is_there_is_never_replaced(root: Path) -> None:
    """An existing .env, or a link in its place, is left as it is."""
    (root / ".env.example").write_text("# LOG_LEVEL=INFO\n")
    (root / ".env").symlink_to(root / "elsewhere")
    assert mend_files(root, show=_nothing) == ()
    assert not (root / "elsewhere").exists()


def test_loose_modes_are_tightened(root: Path) -> None:
    """Env files and run files that others can read are made private."""
    run = root / "logs" / "run"
    run.mkdir()
    for path in (root / ".env", run / "webhook-before.json"):
        path.write_text("{}")
        path.chmod(0o664)
    found = mend_files(root, show=lambda _: None)
    assert [one.status for one in found] == ["ok", "ok"]
    assert (root / ".env").stat().st_mode & 0o777 == 0o600
    assert (run / "webhook-before.json").stat().st_mode & 0o777 == 0o600


def test_a_number_gets_its_plus_and_nothing_else_changes(root: Path) -> None:
    """Only the number's text changes; quotes, comments and line ends stay."""
    before = (
        "# numbers\r\nexport TWILIO_PHONE_NUMBER='12025550100'\r\nTWILIO_AGENT_NUMBER=+12025550199\r\nX=1\r\n"
    )
    (root / ".env").write_bytes(before.encode())
    (root / ".env").chmod(0o600)
    (found,) = mend_files(root, show=lambda _: None)
    assert found.status == "ok"
    assert (root / ".env").read_bytes().decode() == before.replace("'1202", "'+1202")
    assert (root / ".env").stat().st_mode & 0o777 == 0o600


def test_something_that_is_no_number_is_left_alone(root: Path) -> None:
    """A value that cannot be read as a number is not guessed at."""
    (root / ".env").write_text("TWILIO_PHONE_NUMBER=call-me\n")
    (root / ".env").chmod(0o600)
    assert mend_files(root, show=_nothing) == ()


def test_the_webhook_is_pointed_here_and_can_be_put_back(root: Path) -> None:
    """The number's voice URL becomes ours, the old one is remembered, and `restore` gives it back."""
    with StandIn().up() as standin:
        standin.numbers = [standin.number(voice_url="https://old.ngrok.app/twiml", voice_method="GET")]
        settings = standin.settings(root)
        shown: list[str] = []
        (found,) = mend_webhook(settings, show=shown.append)
        assert found.status == "ok"
        assert "old.ngrok.app" in shown[0]
        assert standin.numbers[0]["voice_url"] == f"{standin.url}/twiml"
        assert standin.numbers[0]["voice_method"] == "POST"
        before = root / "logs" / "run" / "webhook-before.json"
        assert json.loads(before.read_text())["voice_url"] == "https://old.ngrok.app/twiml"
        assert before.stat().st_mode & 0o777 == 0o600
        assert mend_webhook(settings, show=_nothing) == ()
        (found,) = restore_webhook(settings, show=shown.append)
        assert found.status == "ok"
        assert standin.numbers[0]["voice_url"] == "https://old.ngrok.app/twiml"
        (found,) = restore_webhook(settings, show=_nothing)
        assert found.status == "fail"


def test_a_bridge_of_ones_own_keeps_its_path(root: Path) -> None:
    """Only the origin of the voice URL is mended when the stack is the user's own."""
    (root / "ops.toml").write_text('[services.bridge]\ncommand = "node server.js"\nport = 1\n')
    with StandIn().up() as standin:
        standin.numbers = [standin.number(voice_url="https://old.ngrok.app/incoming-call")]
        mend_webhook(standin.settings(root), show=lambda _: None)
        assert standin.numbers[0]["voice_url"] == f"{standin.url}/incoming-call"


def test_a_number_that_an_application_routes_is_left_alone(root: Path) -> None:
    """Its voice URL is not what routes its calls, so changing it would mend nothing."""
    with StandIn().up() as standin:
        standin.numbers = [standin.number(voice_url="https://old.test/", voice_application_sid="AP1")]
        assert mend_webhook(standin.settings(root), show=_nothing) == ()


def test_a_webhook_that_cannot_be_mended_says_why(root: Path) -> None:
    """Twilio's refusal becomes a failure with its fix; nothing is remembered."""
    with StandIn().up() as standin:
        (found,) = mend_webhook(standin.settings(root, TWILIO_AUTH_TOKEN="0" * 32), show=_nothing)
    assert found.status == "fail"
    assert "20003" in found.summary
    assert not (root / "logs" / "run" / "webhook-before.json").exists()


def test_stale_run_state_is_removed(root: Path) -> None:
    """The state of a stack of which nothing lives goes; locks and keys stay (and a living one: test_zoo)."""
    run = root / "logs" / "run"
    run.mkdir()
    for name in ("stack.json", "stand-in.key"):
        (run / name).write_text("{}")
        (run / name).chmod(0o600)
    (found,) = mend_files(root, show=lambda _: None)
    assert (found.id, found.status) == ("fix.stale-state", "ok")
    assert not (run / "stack.json").exists()
    assert (run / "stand-in.key").exists()


def test_a_misnamed_env_is_copied(root: Path) -> None:
    """.env.local was meant: .env is made from it, not from the example, and the file itself stays."""
    (root / ".env.example").write_text("# LOG_LEVEL=INFO\n")
    (root / ".env.local").write_text("LOG_LEVEL=DEBUG\n")
    mend_files(root, show=lambda _: None)
    assert (root / ".env").read_text() == (root / ".env.local").read_text() == "LOG_LEVEL=DEBUG\n"


def test_a_webhook_that_does_not_take_the_change_is_told(root: Path) -> None:
    """Changed, looked at again, and found as before: a failure; and what was remembered is not forgotten."""
    with StandIn(deaf=True).up() as standin:
        standin.numbers = [standin.number(voice_url="https://old.ngrok.app/twiml")]
        settings = standin.settings(root)
        (found,) = mend_webhook(settings, show=lambda _: None)
        assert found.status == "fail"
        assert "still points at https://old.ngrok.app/twiml" in found.summary
        before = root / "logs" / "run" / "webhook-before.json"
        before.write_text(before.read_text().replace("old.ngrok.app", "older.ngrok.app"))
        (found,) = restore_webhook(settings, show=lambda _: None)
        assert found.status == "fail"
        assert before.exists()
