"""The mesh as plain values and pure functions. No I/O, no asyncio, no clock: time and randomness are arguments."""
