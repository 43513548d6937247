"""Policies around handlers: what keeps a provider's quota busy and never makes an outage worse."""

from __future__ import annotations

__all__: list[str] = []
