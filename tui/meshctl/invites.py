"""Commands about invites."""

from __future__ import annotations

import os
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
    lines = [f"invite {reply.invite.id} for {as_text.clean(reply.invite.member) or 'anybody'}"]
    lines[0] += f", until {as_text.moment(reply.invite.expires_ms)}; its secret is shown only now"
    always_on = "" if options.node else " --always-on"
    if file:
        with file:
            file.write(reply.file)
        lines[0] = lines[0].partition(";")[0]
        lines.append(f"written to {options.file}; on the other machine: meshctl join {options.file}{always_on}")
    if options.qr:
        from meshproto.qr import qr_text

        lines.append(qr_text(reply.text.upper()))
    if not options.file and not options.qr:
        lines += [f"on the other machine, with this on its standard input: meshctl join -{always_on}", reply.text]
    session.show({"invite": as_json.invite(reply.invite), "text": reply.text, "uri": reply.uri}, "\n".join(lines))


def list_invites(session: Session) -> None:
    found = session.one_mesh().invites
    session.show([as_json.invite(one) for one in found], as_text.invites(found))


def show(session: Session) -> None:
    wanted = session.options.id
    found = [one for one in session.one_mesh().invites if wanted and one.id.startswith(wanted)]
    if len(found) > 1:
        raise HelperError("conflict", f"{len(found)} invites begin with {wanted!r}", "write the whole id")
    if not found:
        raise HelperError("not-found", f"there is no invite {wanted!r}", "see `meshctl invites list`")
    if session.options.qr:
        # Whoever made it saw it; meshd keeps only a hash of it, so nobody can show it again.
        raise HelperError(
            "no-secret",
            f"the secret of invite {found[0].id} was shown once, when it was made, and is kept nowhere",
            f"meshctl invites revoke {found[0].id}, then make another: meshctl invites create --qr",
        )
    session.show(as_json.invite(found[0]), as_text.invites(found))


def revoke(session: Session) -> None:
    wanted = session.options.id
    request = local_pb2.RevokeInviteRequest(mesh=session.mesh, id=wanted, request_id=request_id())
    session.done(session.change("RevokeInvite", request), f"invite {wanted} was revoked")
