"""What happened and how things are: events, rates, status, doctor."""
