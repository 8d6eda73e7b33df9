"""Membership, joining, and the primary that commits changes."""
