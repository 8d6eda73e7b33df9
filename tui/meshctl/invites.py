"""Commands about invites."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from meshproto import local_pb2
from meshproto.client import HelperError
from meshproto.durations import parse_duration_ms

from meshctl import as_json, as_text
from meshctl.session import Session, request_id


def _new_file(path: str) -> TextIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8")


def create(session: Session) -> None:
    options = session.options
    request = local_pb2.CreateInviteRequest(
        mesh=session.mesh,
        member=options.member,
        lifetime_ms=parse_duration_ms(options.expires),
        uses=options.uses,
        ephemeral_ms=parse_duration_ms(options.ephemeral) if options.ephemeral else 0,
        cidr=options.cidr,
        admin=options.admin,
        node=options.node,
        request_id=request_id(),
    )
    # The file comes first: an invite whose secret could not be kept would stay open for nobody.
    file = _new_file(options.file) if options.file else None
    try:
        reply = session.change("CreateInvite", request)
    except HelperError:
        if file:
            file.close()
            os.unlink(options.file)
        raise
    lines = [_headline(reply.invite)]
    lost = ""
    if reply.keyring_entry:
        from meshctl import keyring_use

        lost = keyring_use.keep_invite(reply)
    if lost:
        print(as_text.clean(lost), file=sys.stderr)
    if file:
        with file:
            file.write(reply.file)
        lines.append(f"written to {options.file}; on the other machine: meshctl join {options.file}")
    elif not lost:
        lines.append(f"shown again, while it is open, with: meshctl invites show {reply.invite.id} --qr")
    if options.qr:
        lines.append(_qr(reply))
    if not options.file and not options.qr:
        lines += [
            "on the other machine, with this on its standard input: meshctl join -",
            reply.text,
        ]
    session.show(_with_secret(reply), "\n".join(lines))


def _headline(one: local_pb2.InviteStatus) -> str:
    return f"invite {one.id} for {as_text.clean(one.member) or 'anybody'}, until {as_text.moment(one.expires_ms)}"


def _qr(reply: local_pb2.CreateInviteReply) -> str:
    from meshproto.qr import in_colours, qr_text

    code = qr_text(reply.text.upper())
    # Also with NO_COLOR: without its own two, the code is the other way round on a light terminal.
    return in_colours(code) if sys.stdout.isatty() and os.environ.get("TERM") != "dumb" else code


def _with_secret(reply: local_pb2.CreateInviteReply) -> dict[str, object]:
    return {"invite": as_json.invite(reply.invite), "text": reply.text, "uri": reply.uri}


def list_invites(session: Session) -> None:
    found = session.one_mesh().invites
    session.show([as_json.invite(one) for one in found], as_text.invites(found))


def show(session: Session) -> None:
    wanted = session.options.id
    if session.options.qr:
        try:
            reply = session.call("ShowInvite", local_pb2.ShowInviteRequest(mesh=session.mesh, id=wanted))
        except HelperError as error:
            if error.code != "in-keyring":
                raise
            from meshctl import keyring_use

            reply = keyring_use.kept_invite(session, wanted)
        session.show(_with_secret(reply), f"{_headline(reply.invite)}\n{_qr(reply)}")
        return
    found = [one for one in session.one_mesh().invites if wanted and one.id.startswith(wanted)]
    if len(found) > 1:
        raise HelperError("conflict", f"{len(found)} invites begin with {wanted!r}", "write the whole id")
    if not found:
        raise HelperError("not-found", f"there is no invite {wanted!r}", "see `meshctl invites list`")
    session.show(as_json.invite(found[0]), as_text.invites(found))


def revoke(session: Session) -> None:
    wanted = session.options.id
    request = local_pb2.RevokeInviteRequest(mesh=session.mesh, id=wanted, request_id=request_id())
    session.done(session.change("RevokeInvite", request), f"invite {wanted} was revoked")
