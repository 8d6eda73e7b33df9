"""The privileged daemon. `main` and `assembly` wire the parts; the parts don't import each other."""
