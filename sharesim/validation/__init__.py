"""Recordings of real machines, run again in simulation, and how far the two are apart."""
