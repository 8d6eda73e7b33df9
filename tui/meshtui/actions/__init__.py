"""What a person can have done: asks where it must, calls the helper, and says what came of it."""
