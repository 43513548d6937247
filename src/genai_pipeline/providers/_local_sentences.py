"""Where sentences begin and end in plain text."""

from __future__ import annotations

import re

__all__ = ["split_sentences"]

# A blank line, an underline or a new item of a list ends a sentence without any mark.
_BLOCK_END = re.compile(
    r"\n\s*\n"
    r"|\n[ \t]*[-=~^*_#]{3,}[ \t]*(?=\n|$)"
    r"|\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])"
)

# Marks with the quotes and brackets that close behind them, before space and a beginning.
# The look-behind lets a long row of marks be tried once, not once for each of its marks.
_SENTENCE_END = re.compile(
    r"""(?<![.!?…])[.!?…]++["'”’»)\]]*+(?=\s+["'“‘«(\[]*[^\W_a-z])"""
    r"|[。！？]++[”」』）]*+"
)

_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:e\.g|i\.e|cf|vs|etc|approx|al|figs?|eq|vol|pp|ch|sec|mr|mrs|ms|dr|prof|st|jr"
    r"|sr|inc|ltd|co|dept|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|[a-z])\.$",
    re.IGNORECASE,
)

_LONGEST_ABBREVIATION = len(" approx.")


def split_sentences(text: str) -> list[str]:
    """
    Answer the sentences of *text* in order, none empty, all words and marks to the letter.

    Line breaks and runs of white space inside a sentence become one space.
    """
    found: list[str] = []
    for block in _BLOCK_END.split(text):
        begin = 0
        for end in _SENTENCE_END.finditer(block):
            tail = max(begin, end.end() - _LONGEST_ABBREVIATION)
            if not _ABBREVIATION.search(block, tail, end.end()):
                found.append(block[begin : end.end()])
                begin = end.end()
        found.append(block[begin:])
    return [sentence for each in found if (sentence := " ".join(each.split()))]
