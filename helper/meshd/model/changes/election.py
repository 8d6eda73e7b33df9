"""The time-out of elections: how long the nodes of a mesh wait for their primary."""

from __future__ import annotations

from meshproto import state_pb2

from meshd.model.changes.context import Draft
from meshd.model.errors import InvalidInput
from meshd.model.voters import ELECTION_TIMEOUT_MS, LONGEST_TIMEOUT_MS


def check_election_timeout(milliseconds: int) -> None:
    """Raises InvalidInput."""
    if not ELECTION_TIMEOUT_MS <= milliseconds <= LONGEST_TIMEOUT_MS:
        raise InvalidInput(
            f"an election time-out of {milliseconds / 1000:g} s is not one of "
            f"{ELECTION_TIMEOUT_MS // 1000} to {LONGEST_TIMEOUT_MS // 1000} s",
            "use four times the slowest round trip between two nodes",
        )


def set_election_timeout(draft: Draft) -> None:
    wanted = draft.change.set_election_timeout.milliseconds
    check_election_timeout(wanted)
    if wanted == (draft.state.settings.election_timeout_ms or ELECTION_TIMEOUT_MS):
        return
    settings = state_pb2.MeshSettings()
    settings.CopyFrom(draft.state.settings)
    settings.election_timeout_ms = wanted
    draft.put("settings", "", settings)
    draft.summary = f"another primary is elected after {wanted / 1000:g} s without one"
