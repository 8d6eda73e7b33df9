"""Members that are known before our own Redis has them: admitted through this node, or nodes whose keys are new since a
restore that this node was away for. Part of `mesh`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshproto import state_pb2

from meshd.model.position import Position
from meshd.model.state import State


class Admitted:
    """Each one counts until our state is as new as its admission: from then on only the state says who is a member."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[Position, state_pb2.Member]] = {}
        self._renewed: dict[str, tuple[Position, state_pb2.Member]] = {}
        self._over: tuple[State, State] | None = None

    @property
    def messages(self) -> Mapping[str, state_pb2.Member]:
        return {key: message for key, (_, message) in self._found.items()}

    @property
    def renewed(self) -> Mapping[str, state_pb2.Member]:
        """Take the place of what the state has of them."""
        return {key: message for key, (_, message) in self._renewed.items()}

    def renew(self, messages: Iterable[state_pb2.Member], position: Position, state: State) -> None:
        """`position`: of the data that they come from. Only of members of the state."""
        for message in messages:
            if message.id in state.members and position > state.position:
                self._renewed[message.id] = position, message
                self._over = None

    def add(self, message: state_pb2.Member, position: Position, state: State) -> None:
        """`position`: of the change that admitted the member."""
        if message.id not in state.members and position > state.position:
            self._found[message.id] = position, message
            self._over = None

    def follow(self, state: State) -> None:
        self._over = None
        self._found = {
            key: (position, message)
            for key, (position, message) in self._found.items()
            if key not in state.members and position > state.position
        }
        self._renewed = {
            key: (position, message)
            for key, (position, message) in self._renewed.items()
            if key in state.members and position > state.position
        }

    def over(self, state: State) -> State:
        """For checking callers: a member that was just admitted here may call before our Redis has it."""
        if not self._found and not self._renewed:
            return state
        if self._over is not None and self._over[0] is state:
            return self._over[1]  # with the index of certificates that it made
        entry = state_pb2.ChangeEntry(
            writes=[
                state_pb2.Write(kind="member", key=key, value=message.SerializeToString())
                for key, message in {**self.messages, **self.renewed}.items()
                if key not in state.members or key in self._renewed
            ]
        )
        self._over = state, state.with_entry(entry, state.position)
        return self._over[1]
