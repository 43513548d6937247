"""
The httpx to use: httpx2, which carries it on, where ``GENAI_PIPELINE_HTTPX=httpx2`` asks for it.

Not where it merely is installed: it comes with the SDKs of some vendors, and no package that an
application installs for other reasons should change what its calls go through.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from genai_pipeline.errors import ConfigurationError

__all__ = ["httpx"]

_VARIABLE = "GENAI_PIPELINE_HTTPX"

if TYPE_CHECKING or (_chosen := os.environ.get(_VARIABLE) or "httpx") == "httpx":
    import httpx
elif _chosen == "httpx2":
    try:
        import httpx2 as httpx
    except ImportError:
        raise ConfigurationError(
            f"{_VARIABLE}=httpx2, and it is not installed; pip install 'genai_pipeline[httpx2]'"
        ) from None
else:
    raise ConfigurationError(f"{_VARIABLE}={_chosen!r}; give httpx or httpx2")
