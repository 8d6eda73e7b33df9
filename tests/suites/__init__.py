"""Tests that several parts run: what every WireGuard backend must do, whichever it is."""

import pytest

pytest.register_assert_rewrite("suites.wireguard", "suites.wireguard_traffic")
