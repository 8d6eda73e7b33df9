"""The terminal interface. Renders what the helper streams and sends it commands; imports meshproto only."""
