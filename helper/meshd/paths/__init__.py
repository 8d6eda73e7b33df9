"""How members reach each other: which endpoint, through which relay, how fast, and whether at all."""
