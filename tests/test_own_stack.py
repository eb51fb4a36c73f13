"""The user's own stack: `[services.*]` as services, and every fault at once."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from ops.config import Settings
from ops.errors import SettingsError
from ops.own_stack import own_stack
from ops.services import Ready, table

NODE = """
[services.webapp]
command = "npm run dev"
cwd = "webapp"
port = 3000
env_file = "webapp/.env"

[services.websocket-server]
command = ["npm", "run", "dev"]
cwd = "websocket-server"
port = 8081
ready = "/health"
after = ["webapp"]
env_file = "websocket-server/.env"
stop_signal = "int"
grace = 30
restart = "on-failure"
"""


def read(text: str) -> tuple[dict[str, object], list[str]]:
    services, faults = own_stack(tomllib.loads(text), Path("/p"), lambda _: {"A": "1"}, {"LOG_LEVEL": "INFO"})
    return {one.name: one for one in services}, [str(fault) for fault in faults]


def test_the_usual_node_layout(tmp_path: Path) -> None:
    """Two folders with `npm run dev` and an env file each become two services."""
    for folder in ("webapp", "websocket-server"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ".env").write_text("COLOUR=blue\n")
    (tmp_path / "ops.toml").write_text(NODE)
    web, server = table(Settings.load(tmp_path, {"PUBLIC_URL": "https://agent.example.com"}))
    assert web.argv == server.argv == ("npm", "run", "dev")
    assert web.cwd == tmp_path / "webapp"
    assert (web.ports, web.ready) == ((3000,), Ready("tcp"))
    assert web.env["COLOUR"] == "blue"
    assert web.env["PORT"] == "3000"
    assert web.env["PUBLIC_URL"] == "https://agent.example.com"
    assert (server.ready, server.after) == (Ready("http", "/health"), ("webapp",))
    assert (server.stop_signal, server.grace, server.restart) == ("SIGINT", 30.0, "on-failure")


def test_every_way_to_be_ready_can_be_written() -> None:
    """A path, tcp, a log line, a command, alive; without a port merely living is the default."""
    for text, ready in {
        'ready = "/x"\nport = 1': Ready("http", "/x"),
        'ready = "http:/x"\nport = 1': Ready("http", "/x"),
        'ready = "tcp"\nport = 1': Ready("tcp"),
        'ready = "log:list.ning"': Ready("log", "list.ning"),
        'ready = "command:test -f x"': Ready("command", "test -f x"),
        'ready = "alive"': Ready("alive"),
        "": Ready("alive"),
    }.items():
        services, faults = read(f'[services.a]\ncommand = "x"\n{text}')
        assert not faults
        assert services["a"].ready == ready  # type: ignore[attr-defined]


def test_replicas_get_names_and_ports_of_their_own() -> None:
    """`replicas` makes web-1, web-2 … on following ports; `after` means all of them."""
    services, faults = read(
        '[services.web]\ncommand = "x"\nport = 90\nreplicas = 3\n[services.b]\ncommand = "x"\nafter = "web"'
    )
    assert not faults
    assert [one.port for one in services.values()] == [90, 91, 92, None]  # type: ignore[attr-defined]
    assert services["web-3"].env["PORT"] == "92"  # type: ignore[attr-defined]
    assert services["b"].after == ("web-1", "web-2", "web-3")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no command"),
        ('command = ""', "expected a text or a list of texts"),
        ("command = [1]", "expected a text or a list of texts"),
        ('command = "it\'s"', "No closing quotation"),
        ('command = "x"\ncomand = "y"', "did you mean command?"),
        ('command = "x"\nport = 70000', "expected a whole number from 1 to 65535, got 70000"),
        ('command = "x"\nport = true', "expected a whole number"),
        ('command = "x"\nready = "/health"', "needs a port"),
        ('command = "x"\nready = "soon"', "expected a path"),
        ('command = "x"\nready = "log:("', "is not a regular expression"),
        ('command = "x"\nafter = ["b"]', "is no other service"),
        ('command = "x"\nafter = ["a"]', "is no other service"),
        ('command = "x"\nstop_signal = "SIGNAL"', "expected the name of a signal"),
        ('command = "x"\ngrace = "long"', "expected a number from 0 to 3600"),
        ('command = "x"\nrestart = "sometimes"', 'expected "always" or "on-failure" or "never"'),
        ('command = "x"\nreplicas = 0', "expected a whole number from 1 to 64"),
    ],
)
def test_a_fault_says_what_was_expected(text: str, said: str) -> None:
    """Each bad key is one fault that names it, what came and what to do."""
    _, faults = read(f"[services.a]\n{text}")
    assert len(faults) == 1
    assert said in faults[0]
    assert "[services.a]" in faults[0]


def test_faults_of_the_whole_are_found() -> None:
    """A port twice, a circle, a reserved name, something that is no table."""
    _, faults = read(
        '[services]\nodd = 1\n[services.supervisor]\ncommand = "x"\nport = 5\nafter = ["b"]\n'
        '[services.b]\ncommand = "x"\nport = 5\nafter = ["supervisor"]'
    )
    text = "\n".join(faults)
    assert "is not a table" in text
    assert "both have port 5" in text
    assert "wait for each other" in text
    assert "name that cannot be used" in text


def test_all_faults_come_at_once_as_a_settings_error(tmp_path: Path) -> None:
    """Loading the table of a broken ops.toml raises one error with every fault, an unreadable env file too."""
    (tmp_path / "ops.toml").write_text('[services.a]\nenv_file = "none/.env"\n[services.b]\ncommand = 3\n')
    with pytest.raises(SettingsError) as caught:
        table(Settings.load(tmp_path, {}))
    assert len(caught.value.faults) == 3
    assert "No such file" in str(caught.value)
