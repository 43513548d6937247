"""Real servers that tests talk to, each a process on the loopback interface."""
