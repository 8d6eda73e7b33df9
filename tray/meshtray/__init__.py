"""The tray icon: shows what the helper streams, connects and disconnects. Imports meshproto only."""
