"""What the machine's network should be, what it is, and the operations between the two."""
