"""Writes a sweep or a run as one HTML file that needs nothing else: no network, no JavaScript."""
