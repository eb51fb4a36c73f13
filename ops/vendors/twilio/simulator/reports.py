"""A call's status callbacks: sent one after the other, tried again, told of in its history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from ops.vendors.twilio.simulator.callbacks import Failed, Requester
from ops.vendors.twilio.simulator.errors import Notice
from ops.vendors.twilio.simulator.faults import Faults
from ops.vendors.twilio.simulator.history import History

Report = tuple[str, str, Mapping[str, str]]  # method, address, form


class Reports:
    """The queue of callbacks of one call, and the task that sends them in order."""

    def __init__(
        self, requester: Requester, faults: Faults, history: History, on_notice: Callable[[Notice], None]
    ) -> None:
        self._requester, self._faults = requester, faults
        self._history, self._on_notice = history, on_notice
        self._waiting: asyncio.Queue[Report | None] = asyncio.Queue()
        self.task = asyncio.get_running_loop().create_task(self._send_all())

    def tell(self, method: str, url: str, form: Mapping[str, str]) -> None:
        """One more callback, after those before it."""
        self._waiting.put_nowait((method, url, form))

    def close(self) -> None:
        """No more callbacks will come; the task ends when all are sent."""
        self._waiting.put_nowait(None)

    async def _send_all(self) -> None:
        while (report := await self._waiting.get()) is not None:
            await self._send(*report)
            if self._faults.strikes("status-twice"):
                await self._send(*report)

    async def _send(self, method: str, url: str, form: Mapping[str, str]) -> None:
        try:
            answer = await self._requester.send(method, url, form, retry_on=frozenset({"ct", "5xx"}))
        except Failed as problem:
            self._on_notice(problem.notice)
            return
        about = form.get("StreamEvent") or form.get("CallStatus", "")
        self._history.note("callback", about=about, status=answer.status)
        if answer.status >= 400:
            self._on_notice(Notice(15003, f"{url} answered {answer.status}"))
