"""Where a call's TwiML comes from: webhooks with their fallback, texts, and an apology when all fails.

Sources: Twilio, "How Twilio's voice webhooks work" and the pages of errors 112xx and 12xxx.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin

from ops.vendors.twilio.simulator import grammar, twiml
from ops.vendors.twilio.simulator.callbacks import Answer, Failed, Requester
from ops.vendors.twilio.simulator.calls import Instructions
from ops.vendors.twilio.simulator.errors import Notice
from ops.vendors.twilio.simulator.faults import Faults
from ops.vendors.twilio.simulator.history import History
from ops.vendors.twilio.simulator.markup import BadTwiml

XML_TYPES = ("text/xml", "application/xml", "text/html")
APOLOGY = twiml.Document(
    (twiml.Say("We are sorry. An application error has occurred. Goodbye."), twiml.Hangup())
)


@dataclass(frozen=True)
class Source:
    """Where the next TwiML comes from: an address and what is posted beside the call, or a text."""

    url: str = ""
    method: str = "POST"
    text: str | None = None
    form: Mapping[str, str] = field(default_factory=dict)


class Documents:
    """The TwiML of one call; `base_url` is what relative addresses in it are relative to."""

    def __init__(
        self, requester: Requester, faults: Faults, history: History, on_notice: Callable[[Notice], None]
    ) -> None:
        self.base_url = ""
        self._requester, self._faults = requester, faults
        self._history, self._on_notice = history, on_notice

    def address(self, target: str) -> str:
        """An address of the TwiML, made absolute; an empty one is the document's own."""
        return urljoin(self.base_url, target) if target else self.base_url

    async def read(self, source: Source, form: Mapping[str, str], told: Instructions) -> twiml.Document:
        """The document of a source; in trouble the fallback's, or an apology and the end."""
        try:
            return await self._read(source, form)
        except Failed as problem:
            self._on_notice(problem.notice)
            if not told.fallback_url:
                return APOLOGY
            fault = {"ErrorCode": str(problem.notice.code), "ErrorUrl": problem.url}
        try:
            return await self._read(Source(told.fallback_url, told.fallback_method, form=fault), form)
        except Failed as problem:
            self._on_notice(problem.notice)
            return APOLOGY

    async def _read(self, source: Source, form: Mapping[str, str]) -> twiml.Document:
        if source.text is not None:
            return self._parsed(source.text.encode("utf-8", "replace"), self.base_url)
        answer = await self._webhook(source, {**form, **source.form})
        if answer.status >= 400:
            raise Failed(Notice(11217, f"{answer.url} answered {answer.status}"), answer.url)
        self.base_url = answer.url
        if answer.content_type == "text/plain":
            return twiml.Document((twiml.Say(answer.body.decode("utf-8", "replace")[:4000]),))
        if answer.content_type.startswith("audio/"):
            return twiml.Document((twiml.Play(answer.url),))
        if answer.content_type and answer.content_type not in XML_TYPES:
            detail = f"expected text/xml from {answer.url}, got {answer.content_type}"
            raise Failed(Notice(12300, detail), answer.url)
        return self._parsed(answer.body, answer.url)

    def _parsed(self, text: bytes, url: str) -> twiml.Document:
        try:
            document = grammar.parse(text)
        except BadTwiml as problem:
            raise Failed(problem.notice, url) from None
        for warning in document.warnings:
            self._on_notice(warning)
        return document

    async def _webhook(self, source: Source, form: Mapping[str, str]) -> Answer:
        forged = "0" * 32 if self._faults.strikes("webhook-forged") else None
        self._history.note("webhook.sent", url=source.url)
        answer = await self._requester.send(source.method, source.url, form, signed_with=forged)
        if self._faults.strikes("webhook-twice"):
            answer = await self._requester.send(source.method, source.url, form)
        self._history.note("webhook.answered", status=answer.status, ms=answer.ms)
        return answer
