"""Explains a signature that does not fit: which spelling of the URL would have. Pure."""

from __future__ import annotations

from ops.vendors.twilio.spelling import Variant, explain, variants

__all__ = ["Variant", "explain", "variants"]
