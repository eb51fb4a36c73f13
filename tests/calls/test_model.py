from __future__ import annotations

from typing import Any

import pytest

from ops.calls.model import judge

ADDRESS = "ws://127.0.0.1:8102/v1/realtime"


def session(**fields: Any) -> dict[str, Any]:
    return {"live": False, "close": {"code": 1000, "reason": ""}, "received": {"conversation.item.truncate": 1},
            "sent": {"session.created": 1}, "errors": [], **fields}  # fmt: skip


def error(code: str) -> dict[str, Any]:
    return {"code": code, "message": f"about {code}", "param": None, "type": "invalid_request_error"}


def judged(*sessions: dict[str, Any], heard: bool = True, interrupted: bool = True) -> list[tuple[str, str]]:
    found = judge(sessions, heard=heard, interrupted=interrupted, address=ADDRESS)
    return [(one.id, one.status) for one in found]


def test_a_session_without_a_fault() -> None:
    """One good finding, and nothing else."""
    assert judged(session()) == [("call.model", "ok")]


def test_no_session_is_a_failure_only_when_nothing_was_heard() -> None:
    """An agent that spoke has its model elsewhere; a silent one was told of the wrong address."""
    assert judged() == [("call.model", "skip")]
    assert judged(heard=False) == [("call.model", "fail")]


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ({"close": {"code": 4000, "reason": "x"}}, "fail"),
        ({"close": {"code": 3000, "reason": "x"}, "sent": {}}, "fail"),
        ({"close": None, "status": 401, "sent": {}}, "fail"),
        ({"close": {"code": 1001, "reason": "going away"}}, "warn"),
        ({}, "warn"),
    ],
)
def test_an_error_fails_where_it_ended_the_session(end: dict[str, Any], status: str) -> None:
    """Otherwise it is a warning: the call went on."""
    assert judged(session(errors=[error("x")], **end)) == [("call.model-x", status)]


def test_equal_errors_are_told_once() -> None:
    """With their number, and the fix that is known."""
    errors = [error("response_cancel_not_active")] * 3
    [found] = judge([session(errors=errors)], heard=True, interrupted=True, address=ADDRESS)
    assert "3 times" in found.summary
    assert "response.cancel" in (found.fix or "")


def test_an_expired_session_fails_though_its_close_is_a_common_one() -> None:
    """1001 is also what a client says when it leaves."""
    ended = session(errors=[error("session_expired")], close={"code": 1001, "reason": "expired"})
    assert judged(ended) == [("call.model-session_expired", "fail")]


def test_what_a_bridge_owes_its_model() -> None:
    """To tell what was heard after an interruption, and to hang up."""
    assert judged(session(received={})) == [("call.model-truncate", "warn")]
    assert judged(session(received={}), interrupted=False) == [("call.model", "ok")]
    assert judged(session(live=True, close=None)) == [("call.model-open", "warn")]
