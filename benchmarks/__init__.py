"""Benchmarks of the simulator; ``python -m benchmarks`` runs them (see README.md)."""
