"""Updates of a recording made short, and whole again: of thousands of members that only count on, the figures alone.

Counters, rates, latency and the last handshake change every two seconds; names, keys and addresses hardly ever. Rates
and latency keep three digits, which is what is shown. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshproto import local_pb2


class BadFigures(ValueError):
    """Raised when figures name members that the recording has not."""


@dataclass(slots=True)
class _Mesh:
    """What a recording has said of a mesh's members, by number; None for who is gone."""

    members: list[local_pb2.MemberStatus | None] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def put(self, one: local_pb2.MemberStatus) -> None:
        kept = local_pb2.MemberStatus()
        kept.CopyFrom(one)
        number = self.numbers.setdefault(one.id, len(self.members))
        if number == len(self.members):
            self.members.append(kept)
        else:
            self.members[number] = kept

    def drop(self, member_id: str) -> None:
        number = self.numbers.pop(member_id, None)
        if number is not None:
            self.members[number] = None


class Figures:
    """One for each recording that is written, and one for each that is read."""

    def __init__(self) -> None:
        self._meshes: dict[str, _Mesh] = {}

    def shortened(self, update: local_pb2.WatchUpdate) -> local_pb2.WatchUpdate:
        """The same for a file. Call it for each update, in order."""
        short = local_pb2.WatchUpdate()
        short.CopyFrom(update)
        self._begin_with(update)
        for difference in short.differences:
            mesh = self._mesh(difference)
            whole, figures, last = [], difference.figures, -1
            for one in sorted(difference.members, key=lambda one: mesh.numbers.get(one.id, len(mesh.members))):
                number = mesh.numbers.get(one.id)
                before = mesh.members[number] if number is not None else None
                if number is not None and before is not None and _only_figures(before, one):
                    _add(figures, number - last - 1, before, one)
                    last = number
                else:
                    whole.append(one)
                mesh.put(one)
            if last >= 0:
                kept = [local_pb2.MemberStatus.FromString(one.SerializeToString()) for one in whole]
                del difference.members[:]
                difference.members.extend(kept)
            else:
                difference.ClearField("figures")
        return short

    def whole(self, update: local_pb2.WatchUpdate) -> local_pb2.WatchUpdate:
        """The update again, changed in place. Call it for each update, in order. Raises BadFigures."""
        self._begin_with(update)
        for difference in update.differences:
            mesh = self._mesh(difference)
            for one in difference.members:
                mesh.put(one)
            if difference.HasField("figures"):
                difference.members.extend(_counted_on(mesh, difference.figures))
                difference.ClearField("figures")
        return update

    def _begin_with(self, update: local_pb2.WatchUpdate) -> None:
        if update.HasField("snapshot"):
            self._meshes = {}
            for status in update.snapshot.meshes:
                mesh = self._meshes[status.id] = _Mesh()
                for one in status.members:
                    mesh.put(one)

    def _mesh(self, difference: local_pb2.MeshDifference) -> _Mesh:
        if difference.removed:
            self._meshes.pop(difference.mesh_id, None)
        mesh = self._meshes.setdefault(difference.mesh_id, _Mesh())
        for gone in difference.removed_member_ids:
            mesh.drop(gone)
        return mesh


def _only_figures(before: local_pb2.MemberStatus, now: local_pb2.MemberStatus) -> bool:
    """Whether nothing else differs: `before` takes the figures of `now`."""
    like = local_pb2.MemberStatus()
    like.CopyFrom(before)
    _set(like, now.rx_bytes, now.tx_bytes, now.rx_rate, now.tx_rate, now.latency_ms, now.latest_handshake_ms)
    return like == now


def _set(
    one: local_pb2.MemberStatus, rx: int, tx: int, rx_rate: float, tx_rate: float, latency: float, handshake: int
) -> None:
    one.rx_bytes, one.tx_bytes = rx, tx
    one.rx_rate, one.tx_rate, one.latency_ms = rx_rate, tx_rate, latency
    one.latest_handshake_ms = handshake


def _add(
    figures: local_pb2.MemberFigures, behind: int, before: local_pb2.MemberStatus, now: local_pb2.MemberStatus
) -> None:
    figures.numbers.append(behind)
    figures.rx_bytes.append(now.rx_bytes - before.rx_bytes)
    figures.tx_bytes.append(now.tx_bytes - before.tx_bytes)
    figures.rx_rates.append(float(f"{now.rx_rate:.3g}"))
    figures.tx_rates.append(float(f"{now.tx_rate:.3g}"))
    figures.latencies_ms.append(float(f"{now.latency_ms:.3g}"))
    figures.handshakes_ms.append(now.latest_handshake_ms - before.latest_handshake_ms)


def _counted_on(mesh: _Mesh, figures: local_pb2.MemberFigures) -> list[local_pb2.MemberStatus]:
    found, number = [], -1
    try:
        for behind, rx, tx, rx_rate, tx_rate, latency, later in zip(
            figures.numbers, figures.rx_bytes, figures.tx_bytes, figures.rx_rates, figures.tx_rates,
            figures.latencies_ms, figures.handshakes_ms, strict=True,
        ):  # fmt: skip
            number += behind + 1
            one = mesh.members[number]
            if one is None:
                raise BadFigures(f"figures of a member that is gone: {number}")
            _set(
                one, one.rx_bytes + rx, one.tx_bytes + tx, _digits(rx_rate), _digits(tx_rate), _digits(latency),
                one.latest_handshake_ms + later,
            )  # fmt: skip
            found.append(one)
    except (IndexError, ValueError) as error:
        raise BadFigures(str(error)) from error
    return found


def _digits(value: float) -> float:
    """What was written: a float of four bytes has more."""
    return float(f"{value:.3g}")
