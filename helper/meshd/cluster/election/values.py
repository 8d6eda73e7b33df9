"""`replace` for the values of the election, as that of `dataclasses` and five times as quick: models run it for days.

For frozen dataclasses without slots and without `__post_init__`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import replace as replace
else:

    def replace(value: Any, /, **changes: Any) -> Any:
        """A copy with other values in these fields. Raises TypeError for a field that there is not."""
        copy = object.__new__(value.__class__)
        fields = copy.__dict__
        fields.update(value.__dict__)
        known = len(fields)
        fields.update(changes)
        if len(fields) != known:
            raise TypeError(f"{value.__class__.__name__} has not all of the fields {', '.join(changes)}")
        return copy
