"""What the tests of the embedded model share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from genai_pipeline.providers import Local
from genai_pipeline.providers._local_files import find_model_files

if TYPE_CHECKING:
    from genai_pipeline.providers._local_vectors import WordVectors


@pytest.fixture
def local() -> Local:
    """Give the embedded model as it is built by default."""
    return Local()


@pytest.fixture(scope="session")
def words() -> WordVectors:
    """Give the word vectors, read once for all tests."""
    from genai_pipeline.providers._local_vectors import WordVectors

    return WordVectors.load(find_model_files())
