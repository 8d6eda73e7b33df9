"""The one error that the text formats raise: cluster keys, invites, durations."""

from __future__ import annotations


class FormatError(ValueError):
    """Raised when a text that a person gave can't be read. Says what is wrong with it, and what to do (`fix`)."""

    def __init__(self, message: str, fix: str = "", code: str = "invalid") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.code = code
