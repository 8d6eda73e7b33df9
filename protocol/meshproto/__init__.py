"""What the helper and its front ends have in common: wire types, key and invite formats, the typed client.

Imports neither the helper nor a front end.
"""

VERSION = "0.1.0"
"""Version of the distribution; pyproject.toml says the same (a test compares them)."""

PROTOCOL_VERSION = 1
"""Version of the messages between members. Grows when an older member could misread a message."""
