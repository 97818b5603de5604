"""What stands between the groups of one number that is checked by its digits, such as a card's."""

from __future__ import annotations

from typing import Final

GAP: Final = r"[\s.,:;/\\|_·•~*>-]{0,5}+"
"""Blanks, dots, dashes and the like, also a line break with the mark of a quoted mail after it."""
LINE_BREAKS: Final = "\n\r\v\f\x85\u2028\u2029"


def breaks_the_line(gap: str) -> bool:
    """Whether the number goes on in the next line."""
    return any(character in LINE_BREAKS for character in gap)
