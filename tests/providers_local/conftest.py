"""What the tests of the embedded model share."""

from __future__ import annotations

import pytest

from genai_pipeline.providers import Local


@pytest.fixture
def local() -> Local:
    """Give the embedded model as it is built by default."""
    return Local()
