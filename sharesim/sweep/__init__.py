"""Sweeps: many runs of one scenario, in a store that can be resumed, with statistics over it."""
