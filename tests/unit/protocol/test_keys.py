"""WireGuard keys: one text for one key, and a private one is never printed."""

from __future__ import annotations

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from meshproto.keys import KEY_LENGTH, PrivateKey, PublicKey

data = st.binary(min_size=KEY_LENGTH, max_size=KEY_LENGTH)


def test_a_pair_that_wg_made() -> None:
    """From `wg genkey` and `wg pubkey`."""
    private = PrivateKey.parse("eC3TcrgjAengi6O3hO5RNpQHEilT2ID39AhrVJ7OUX8=")
    assert str(private.public) == "4wdm/EipCJvQOQEUq0/sF40TU1K3y3bpi6S7DJ69BkU="


@given(data)
def test_a_key_reads_back(key: bytes) -> None:
    assert PublicKey.parse(str(PublicKey(key))) == PublicKey(key)
    private = PrivateKey.from_random(key)
    assert PrivateKey.parse(private.text()) == private
    assert PrivateKey.from_random(private.data) == private, "WireGuard reads back what was set"
    assert (private.data[0] & 7, private.data[31] & 0xC0) == (0, 0x40)


@given(
    st.text(max_size=50) | data.map(lambda one: base64.b64encode(one).decode()) | st.from_regex(r"[A-Za-z0-9+/]{43}=")
)
def test_any_text_is_a_key_or_refused(text: str) -> None:
    for kind in (PublicKey, PrivateKey):
        with contextlib.suppress(ValueError):
            key = kind.parse(text)
            assert base64.b64encode(key.data).decode() == text, "two texts would be one key"


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_other_lengths_are_refused(length: int) -> None:
    for kind in (PublicKey, PrivateKey, PrivateKey.from_random):
        with pytest.raises(ValueError, match="32"):
            kind(bytes(length))


@given(data)
def test_a_private_key_is_not_printed(key: bytes) -> None:
    private = PrivateKey(key)
    for text in (repr(private), str(private), f"{private}", f"{[private]}"):
        assert private.text()[:8] not in text
        assert key.hex()[:8] not in text
