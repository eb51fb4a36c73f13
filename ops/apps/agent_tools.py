"""This agent's own tools. Write yours here: each `@tool` in TOOLS is offered to the model."""

from __future__ import annotations

from ops.apps.tools import Tool

TOOLS: tuple[Tool, ...] = ()
