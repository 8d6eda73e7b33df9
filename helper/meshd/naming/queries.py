"""Bytes of DNS messages to values and back, by dnspython's codec. Pure: whatever arrives, nothing but `Query`, a reply
that says what is wrong, or None for what gets no answer."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from meshd.naming.zone import Answer

PAYLOAD = 1232
"""Bytes of a UDP answer at most: fits an IPv6 packet of 1280 bytes and the tunnel (RFC 9715 names 1232 to 1400)."""

SHORTEST = 12
"""Bytes of a DNS header (RFC 1035 section 4.1.1)."""

_TRANSFERS = (dns.rdatatype.AXFR, dns.rdatatype.IXFR)
_NO_QUESTION = (dns.rdatatype.TYPE0, dns.rdatatype.OPT, dns.rdatatype.TKEY, dns.rdatatype.TSIG)


@dataclass(frozen=True, slots=True)
class Query:
    """One question that can be answered."""

    message: dns.message.Message
    limit: int  # bytes of the longest answer

    @property
    def question(self) -> dns.rrset.RRset:
        return self.message.question[0]


def read_query(wire: bytes, tcp: bool) -> Query | bytes | None:
    """The question, or the refusal to send, or None: too short, or itself an answer (which could go in circles)."""
    if len(wire) < SHORTEST:
        return None
    number, flags, questions = struct.unpack_from("!HHH", wire)
    if flags & dns.flags.QR:
        return None
    if dns.opcode.from_flags(flags) != dns.opcode.QUERY:
        return _bare(number, flags, dns.rcode.NOTIMP)
    try:
        message = dns.message.from_wire(wire, keyring=False)  # False: signatures aren't checked
    except Exception:  # whatever a codec may raise on foreign bytes, the answer is the same
        return _bare(number, flags, dns.rcode.FORMERR)
    if questions != 1 or len(message.question) != 1:
        return _bare(number, flags, dns.rcode.FORMERR)
    limit = 65535 if tcp else max(512, min(int(message.payload), PAYLOAD)) if message.edns >= 0 else 512
    query = Query(message, limit)
    if message.edns > 0:
        return refusal(query, dns.rcode.BADVERS)
    kind = query.question.rdtype
    if kind in _TRANSFERS or query.question.rdclass != dns.rdataclass.IN:
        return refusal(query, dns.rcode.REFUSED)
    if kind in _NO_QUESTION:
        return refusal(query, dns.rcode.FORMERR)
    return query


def _bare(number: int, flags: int, rcode: dns.rcode.Rcode) -> bytes:
    """A header alone: what the rest of the message holds can't be trusted."""
    kept = flags & (0x7800 | dns.flags.RD)  # the opcode
    return struct.pack("!6H", number, dns.flags.QR | kept | rcode, 0, 0, 0, 0)


def refusal(query: Query, rcode: dns.rcode.Rcode) -> bytes:
    """An answer without records."""
    return reply(query, Answer(rcode), authoritative=False)


def reply(query: Query, answer: Answer, *, authoritative: bool = True) -> bytes:
    """The wire form, cut with the TC bit set when it is longer than the asker takes."""
    response = dns.message.make_response(query.message, recursion_available=True, our_payload=PAYLOAD, pad=0)
    if authoritative:
        response.flags |= dns.flags.AA
    response.set_rcode(answer.rcode)
    response.answer = list(answer.answer)
    response.authority = list(answer.authority)
    return response.to_wire(max_size=query.limit, prefer_truncation=True)


def forwarded(query: Query, number: int) -> dns.message.Message:
    """The question as it goes upstream: options are between neighbours and stay here (RFC 6891 section 6.1.1)."""
    flags = query.message.flags & (dns.flags.RD | dns.flags.CD | dns.flags.AD)
    message = dns.message.QueryMessage(id=number)
    message.flags = dns.flags.Flag(flags)
    message.question = [query.question]
    if query.message.edns >= 0:
        message.use_edns(0, query.message.ednsflags & dns.flags.DO, PAYLOAD)
    return message


def is_answer(sent: dns.message.Message, wire: bytes) -> bool:
    """Whether the bytes answer what was sent: same id and same question."""
    try:
        received = dns.message.from_wire(wire, question_only=True, ignore_trailing=True)
        return sent.is_response(received)
    except Exception:  # foreign bytes, as in `read_query`
        return False


def is_truncated(wire: bytes) -> bool:
    return bool(struct.unpack_from("!H", wire, 2)[0] & dns.flags.TC)


def rcode_of(wire: bytes) -> int:
    """The part of it that stands in the header."""
    return int(wire[3] & 15)


def relayed(query: Query, wire: bytes) -> bytes:
    """An upstream's answer as our asker gets it: under its own id, and cut when it is too long."""
    if len(wire) > query.limit:
        rcode = dns.rcode.Rcode(rcode_of(wire))
        message = dns.message.make_response(query.message, recursion_available=True, our_payload=PAYLOAD, pad=0)
        message.flags |= dns.flags.TC
        message.set_rcode(rcode)
        return message.to_wire()
    return struct.pack("!H", query.message.id) + wire[2:]
