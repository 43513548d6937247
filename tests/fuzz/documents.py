"""Feed the reading and mending of answers with texts that reach ever more of its code."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

SEEDS = (
    '{"number": "7", "lines": [{"what": "tea", "total": "2.50"}], "note": null}',
    "Sure:\n```json\n{'a': True,}\n```",
    '<think>{"a"</think>{"a": 1e999, "a": NaN}',
)


def main(arguments: list[str]) -> None:
    """Fuzz until libFuzzer's *arguments* say enough, or anything but `Unfit` is raised."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["genai_pipeline._generate", "json_repair"]):
        importlib.import_module("json_repair")
        from genai_pipeline._generate._documents import document_in
        from genai_pipeline._generate._issues import Unfit
        from genai_pipeline._generate._output import output_of
        from tests.generate.shapes import Invoice

    invoice = output_of(Invoice)

    def read(text: str) -> None:
        try:
            document = document_in(text, repair=True)
            json.dumps(document.value, allow_nan=False).encode()
            invoice.take(document.value)
        except Unfit as unfit:
            assert unfit.issues

    def one_input(data: bytes) -> None:
        # Text as it is, so that a corpus can be read; broken UTF-8 becomes lone surrogates.
        read(data.decode("utf-8", "surrogateescape"))

    for seed in SEEDS:
        read(seed)
    atheris.Setup([sys.argv[0], *arguments], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
