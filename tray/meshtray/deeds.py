"""What a person can have done: the values that menu entries and notifications carry. actions.py carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from meshtray.values import Kind


class InviteForm(Enum):
    FILE = "file"
    TEXT = "text"
    QR = "qr"


@dataclass(frozen=True, slots=True)
class Connect:
    """`by_itself`: at login or after a pause; then nobody is told of a success, nor asked twice for the keyring."""

    mesh_id: str
    by_itself: bool = False


@dataclass(frozen=True, slots=True)
class Disconnect:
    mesh_id: str


@dataclass(frozen=True, slots=True)
class Pause:
    """`minutes` 0: until tomorrow morning."""

    mesh_id: str
    minutes: int


@dataclass(frozen=True, slots=True)
class Copy:
    """Puts a text on the clipboard; `what` is what a person calls it."""

    text: str
    what: str


@dataclass(frozen=True, slots=True)
class LetIn:
    mesh_id: str
    request_id: str
    name: str


@dataclass(frozen=True, slots=True)
class TurnAway:
    mesh_id: str
    request_id: str
    name: str


@dataclass(frozen=True, slots=True)
class MakeInvite:
    mesh_id: str
    form: InviteForm


@dataclass(frozen=True, slots=True)
class Join:
    """With an invite's text, link or the name of its file; "" asks for it in the dialog."""

    what: str = ""


@dataclass(frozen=True, slots=True)
class JoinClipboard:
    pass


@dataclass(frozen=True, slots=True)
class OpenMeshtui:
    mesh: str = ""


@dataclass(frozen=True, slots=True)
class StartAtLogin:
    on: bool


@dataclass(frozen=True, slots=True)
class Mute:
    kind: Kind
    muted: bool


@dataclass(frozen=True, slots=True)
class Symbolic:
    on: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """The person looked at an alarm."""

    key: str


@dataclass(frozen=True, slots=True)
class Report:
    pass


@dataclass(frozen=True, slots=True)
class Quit:
    pass


Deed = (
    Connect | Disconnect | Pause | Copy | LetIn | TurnAway | MakeInvite | Join | JoinClipboard | OpenMeshtui
    | StartAtLogin | Mute | Symbolic | Seen | Report | Quit
)  # fmt: skip
