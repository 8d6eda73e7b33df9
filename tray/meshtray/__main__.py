"""`python -m meshtray`, which is also how the tray starts its own dialogs."""

from meshtray.main import run

run()
