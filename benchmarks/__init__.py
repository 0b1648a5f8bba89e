"""Measurements of the library. Each module says what is timed and what is not.

Run from the repository's top folder, e.g. `python -m benchmarks.runtime`.
"""
