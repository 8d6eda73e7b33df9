"""What the helper and its front ends have in common: wire types, key and invite formats, the typed client.

Imports neither the helper nor a front end.
"""

VERSION = "0.1.0"
"""Version of the distribution, and the only place where it stands: pyproject.toml reads it here."""

PROTOCOL_VERSION = 1
"""Version of the messages between members. Grows when an older member could misread a message."""
