"""Real nodes in namespaces, clients that write, faults that strike at random, and a check of what is left."""
