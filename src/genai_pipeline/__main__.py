"""The command `genai-pipeline`, as ``python -m genai_pipeline``."""

import sys

from genai_pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
