"""What type checkers must say about the uses of this library; read by them, never run."""
