"""The filter of members and tables: words that must all match; `!word` must not. Pure.

A word matches as a part of any field, or with letters in order but apart (`lgr`: laptop-grace) within the name.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Filter:
    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Filter:
        words = text.lower().split()
        return cls(
            tuple(word for word in words if not word.startswith("!")),
            tuple(word[1:] for word in words if word.startswith("!") and len(word) > 1),
        )

    def __bool__(self) -> bool:
        return bool(self.wanted or self.unwanted)

    def accepts(self, name: str, words: str) -> bool:
        """`words` holds every field, the name too."""
        words = words.lower()
        if any(word in words for word in self.unwanted):
            return False
        return all(word in words or _in_order(word, name.lower()) for word in self.wanted)


def _in_order(letters: str, text: str) -> bool:
    at = 0
    for letter in letters:
        at = text.find(letter, at) + 1
        if at == 0:
            return False
    return True
