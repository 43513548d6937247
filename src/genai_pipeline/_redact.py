"""Blot out what looks like a credential, before text is kept."""

from __future__ import annotations

import re

__all__ = ["redacted"]

_HIDDEN = "***"

# Well-known forms of keys, and whatever stands behind a word that announces one.
_SECRETS = re.compile(
    r"""
    \b(?:sk|pk|rk|gh[pousr]|xox[abprs]|hf|gsk)[-_][A-Za-z0-9_-]{12,}
    | \bAKIA[0-9A-Z]{16}\b
    | \bAIza[0-9A-Za-z_-]{30,}
    | \beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*
    """,
    re.VERBOSE,
)
_ANNOUNCED = re.compile(
    r"""
    (?P<word>\b(?:api[-_ ]?key|authorization|bearer|password|passwd|secret|access[-_ ]?token)\b
      ["']?\s*[:=]?\s*(?:bearer\s+)?["']?)
    (?P<secret>[^\s"',;)}\]]{6,})
    """,
    re.VERBOSE | re.IGNORECASE,
)
_IN_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/@:]+:[^\s/@]+@", re.IGNORECASE)


def redacted(text: str) -> str:
    """Answer *text* with what looks like a key, a token or a password replaced by ``***``."""
    text = _IN_URL.sub(rf"\g<scheme>{_HIDDEN}@", text)
    text = _SECRETS.sub(_HIDDEN, text)
    return _ANNOUNCED.sub(rf"\g<word>{_HIDDEN}", text)
