"""The command line. Imports only meshproto, and that only when a command needs it: `--help` starts at once."""
