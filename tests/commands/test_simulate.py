"""`inv simulate` from a real command line: beside nothing, beside a stack, beside the user's own."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

import httpx
from dotenv import dotenv_values
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from tests.conftest import Project

SERVER = "import http.server, sys; http.server.test(http.server.BaseHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"


class At(TwilioHttpClient):
    """The official SDK has no variable for its address: this is how one points it elsewhere."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def request(self, method: str, url: str, *args: object, **kwargs: object) -> object:  # type: ignore[override]
        return super().request(method, url.replace("https://api.twilio.com", self.base), *args, **kwargs)  # type: ignore[arg-type]


def env_of(project: Project) -> dict[str, str]:
    values = dotenv_values(project.root / "logs/run/simulated.env")
    return {name: text for name, text in values.items() if text is not None}


def names(document: dict[str, object]) -> dict[str, int]:
    data = document["data"]
    assert isinstance(data, dict)
    return {row["name"]: row["pid"] for row in data["services"] if row["pid"]}


def test_alone_with_everything_a_stranger_needs(project: Project, free_ports: object) -> None:
    """Addresses are told, credentials only written; the vendors' own ways in work with them; cleanup ends it."""
    done = project.inv("simulate", "--forward", project.environ["WEBAPP_PORT"])
    assert done.returncode == 0, done.stdout + done.stderr
    file, env = project.root / "logs/run/simulated.env", env_of(project)
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(env) == [
        "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_PHONE_NUMBER", "TWILIO_API_URL", "OPENAI_API_KEY",
        "OPENAI_BASE_URL", "OPENAI_REALTIME_URL", "NGROK_API_URL", "PUBLIC_URL",
    ]  # fmt: skip
    for name, value in env.items():
        assert (value in done.stdout + done.stderr) == name.endswith("URL"), name
    twilio = Client(
        env["TWILIO_ACCOUNT_SID"], env["TWILIO_AUTH_TOKEN"], http_client=At(env["TWILIO_API_URL"])
    )
    assert [one.phone_number for one in twilio.incoming_phone_numbers.list()] == [env["TWILIO_PHONE_NUMBER"]]
    models = httpx.get(
        f"{env['OPENAI_BASE_URL']}/models", headers={"Authorization": f"Bearer {env['OPENAI_API_KEY']}"}
    )
    assert models.status_code == 200
    tunnels = httpx.get(f"{env['NGROK_API_URL']}/api/tunnels").json()["tunnels"]
    assert [(one["public_url"], one["config"]["addr"][-5:]) for one in tunnels] == [
        (env["PUBLIC_URL"], project.environ["WEBAPP_PORT"])
    ]
    cleanup = project.json("cleanup")
    assert cleanup["data"]["left"] == []
    assert {"twilio-simulator", "openai-simulator", "ngrok"} <= {
        row["name"] for row in cleanup["data"]["receipt"]
    }


def test_only_some_of_them_and_later_another(project: Project) -> None:
    """What runs keeps its process; the file describes all that run."""
    first = project.json("simulate", "--only", "openai")
    assert names(first).keys() == {"openai-simulator"}
    second = project.json("simulate", "--only", "twilio")
    assert names(second)["openai-simulator"] == names(first)["openai-simulator"]
    assert names(second).keys() == {"openai-simulator", "twilio-simulator"}
    assert {"OPENAI_API_KEY", "TWILIO_AUTH_TOKEN"} <= env_of(project).keys()


def test_beside_a_running_stack_nothing_is_touched(project: Project) -> None:
    """No process changes, nor what the stack says it is; another port gets a tunnel of its own."""
    before = project.json("start")
    document = project.json("simulate", "--forward", "5000")
    assert document["exit_code"] == 0, document["findings"]
    assert names(document) == names(before)
    after = project.json("status")
    assert (after["vendors"], after["data"]["public_url"]) == (
        before["vendors"],
        before["data"]["public_url"],
    )
    assert document["data"]["public_url"] != before["data"]["public_url"]


def test_beside_a_live_stack_of_the_users_own(project: Project, free_ports: object) -> None:
    """Live credentials and services from ops.toml: both stay as they are, and no credential of theirs is told."""
    port = project.environ["WEBSOCKET_PORT"]
    command = json.dumps([sys.executable, "-c", SERVER, port])
    (project.root / "ops.toml").write_text(
        f'[services.bridge]\ncommand = {command}\nport = {port}\nready = "tcp"\n'
    )
    live = {"TWILIO_ACCOUNT_SID": "AC" + secrets.token_hex(16), "TWILIO_AUTH_TOKEN": secrets.token_hex(16),
            "PUBLIC_URL": "https://agent.example.com"}  # fmt: skip
    started = project.json("start", **live)
    assert "bridge" in names(started), started["findings"]
    document = project.json("simulate", "--only", "twilio,openai", **live)
    assert document["exit_code"] == 0, document["findings"]
    assert set(document["vendors"].values()) == {"simulated"}
    assert names(document)["bridge"] == names(started)["bridge"]
    stack = json.loads((project.root / "logs/run/stack.json").read_text())
    assert (stack["vendors"]["twilio"], stack["public_url"]) == ("live", live["PUBLIC_URL"])
    assert not set(live.values()) & set(env_of(project).values())


def test_a_service_of_the_stack_in_a_simulators_place(project: Project) -> None:
    """The user's own tunnel on that port stays; the finding says how to leave the simulator out."""
    port = project.environ["NGROK_PORT"]
    command = json.dumps([sys.executable, "-c", SERVER, port])
    (project.root / "ops.toml").write_text(
        f'[services.tunnel]\ncommand = {command}\nport = {port}\nready = "tcp"\n'
    )
    assert "tunnel" in names(project.json("start"))
    document = project.json("simulate")
    assert document["exit_code"] == 3
    assert [one["id"] for one in document["findings"] if one["status"] == "fail"] == ["simulate.ngrok"]
    assert not Path(project.root / "logs/run/simulated.env").exists()


def test_what_does_not_exist_is_named(project: Project) -> None:
    """A wrong vendor or port ends with 2 and what may be said."""
    assert "twilio, openai, ngrok" in project.json("simulate", "--only", "telnyx")["findings"][-1]["fix"]
    assert project.json("simulate", "--forward", "70000")["exit_code"] == 2
