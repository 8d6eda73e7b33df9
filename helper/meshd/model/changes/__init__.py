"""What a change does: `decide` turns what was asked for into the one entry that the primary writes. Pure.

A change copies the stored message, sets only the fields it names and writes the same message back, so that fields of
newer versions survive.
"""

from meshd.model.changes.context import Authority, Context
from meshd.model.changes.decide import create_mesh, decide

__all__ = ["Authority", "Context", "create_mesh", "decide"]
