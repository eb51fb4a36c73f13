"""XML as a tree that knows the place of each element. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from xml.parsers import expat

from ops.vendors.twilio.simulator.errors import Notice


class BadTwiml(Exception):
    """A document that cannot be run: Twilio's number, and where it is wrong (1-based)."""

    def __init__(self, code: int, detail: str, line: int = 1, column: int = 1) -> None:
        super().__init__(detail)
        self.notice = Notice(code, f"{detail} (line {line}, column {column})")
        self.line = line
        self.column = column


@dataclass
class Element:
    """One XML element with its place in the text."""

    name: str
    attributes: dict[str, str]
    line: int
    column: int
    text: str = ""
    children: list[Element] = field(default_factory=list)


def tree(text: bytes) -> Element:
    """The root element of an XML document; raises BadTwiml. Type declarations are not accepted."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    open_: list[Element] = []
    root: list[Element] = []

    def begin(name: str, attributes: dict[str, str]) -> None:
        element = Element(name, attributes, parser.CurrentLineNumber, parser.CurrentColumnNumber + 1)
        (open_[-1].children if open_ else root).append(element)
        open_.append(element)

    def end(name: str) -> None:
        open_.pop()

    def characters(data: str) -> None:
        if open_:
            open_[-1].text += data

    def doctype(*_: Any) -> None:
        line, column = parser.CurrentLineNumber, parser.CurrentColumnNumber + 1
        raise BadTwiml(12100, "a document type declaration is not accepted", line, column)

    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.CharacterDataHandler = characters
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(text, True)
    except expat.ExpatError as problem:
        raise BadTwiml(12100, expat.ErrorString(problem.code), problem.lineno, problem.offset + 1) from None
    except (ValueError, LookupError) as problem:  # an unknown or wrong encoding in the declaration
        raise BadTwiml(12100, str(problem)) from None
    return root[0]
