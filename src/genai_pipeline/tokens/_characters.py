"""How many tokens a text is, by the kinds of its characters."""

from __future__ import annotations

__all__ = ["HUNDREDTHS", "hundredths"]

HUNDREDTHS = 100
"""The parts of a token that `hundredths` counts in."""

_LETTER = 25
_KINDS: tuple[tuple[str, int], ...] = (
    ("blank", 10),
    ("sign", 50),
    ("digit", 75),
    ("capital", 40),
    ("newline", 40),
    ("latin", 120),
    ("mark", 60),
    ("greek", 45),
    ("cyrillic, semitic", 40),
    ("indic", 55),
    ("symbol", 120),
    ("han, kana", 90),
    ("hangul", 80),
    ("emoji", 250),
)
"""What a character weighs, by its kind; the place of a kind is the byte that stands for it."""

_ASCII_KINDS = 5
_CONTINUATION = bytes(range(0x80, 0xC0))
_LETTERS = bytes(range(ord("a"), ord("z") + 1))
_LEADS = (
    (0xC2, "mark"),
    (0xC3, "latin"),
    (0xCC, "mark"),
    (0xCE, "greek"),
    (0xD0, "cyrillic, semitic"),
    (0xE0, "indic"),
    (0xE2, "symbol"),
    (0xE3, "han, kana"),
    (0xEA, "hangul"),
    (0xEE, "symbol"),
    (0xF0, "emoji"),
)
"""From which first byte in UTF-8 on which kind of character begins."""


def _kind_of(byte: int) -> str:
    if byte >= 0x80:  # noqa: PLR2004 - beyond ASCII
        return [kind for first, kind in _LEADS if first <= max(byte, 0xC2)][-1]
    char = chr(byte)
    if char in "\r\n":
        return "newline"
    if char.isdigit():
        return "digit"
    if char.isupper():
        return "capital"
    return "blank" if char.isspace() else "sign"


_NAMES = [kind for kind, _ in _KINDS]
_TABLE = bytes(_NAMES.index(_kind_of(byte)) for byte in range(256))
_WEIGHTS = tuple((bytes([place]), weight) for place, (_, weight) in enumerate(_KINDS))
_ASCII_WEIGHTS = _WEIGHTS[:_ASCII_KINDS]

_LONG = 65_536
_SLICES = 64
_SLICE = 1024


def hundredths(text: str) -> int:
    """
    Answer about how many hundredths of a token *text* is.

    Every character adds a weight by its kind, whatever stands beside it, so that what two texts
    weigh together is what each weighs alone. The weights are those of least relative error over
    texts in 44 languages, code and tables, against the vocabularies ``o200k_base`` and Tekken
    (``benchmarks/token_estimates.py`` shows how good they are). A text beyond 65,536 characters
    is judged by 64 slices of it, which together are as many.
    """
    length = len(text)
    if length > _LONG:
        step = length / _SLICES
        slices = [text[int(step * n) : int(step * n) + _SLICE] for n in range(_SLICES)]
        return -(-hundredths("".join(slices)) * length // _LONG)
    # Lower-case letters are most of most texts, so they are left out, not counted; all else
    # becomes one byte for each character, that of its kind.
    others = text.encode("utf-8", "surrogatepass").translate(_TABLE, _LETTERS + _CONTINUATION)
    total = _LETTER * (length - len(others))
    for kind, weight in _ASCII_WEIGHTS if text.isascii() else _WEIGHTS:
        total += weight * others.count(kind)
    return total
