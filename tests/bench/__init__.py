"""Benchmarks: one module each, with a function `measure`. Not part of the tests; docs/benchmarks.md has results."""
