"""Wires the parts into one daemon. With `main`, the only place that knows them all."""
