"""Fuzzing with coverage, by `atheris`: ``python -m tests.fuzz.documents -max_total_time=600``."""
