"""Models: what is known of them, such as how much they read and write. Does no I/O."""

from __future__ import annotations

from genai_pipeline.catalogue._catalogue import ModelCatalogue
from genai_pipeline.catalogue._info import ModelInfo

__all__ = ["ModelCatalogue", "ModelInfo"]
