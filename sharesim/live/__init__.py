"""This machine's own KSM: read it, record it, and let it run a recorded case."""
