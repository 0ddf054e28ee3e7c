"""One run of the two designs of the 2006 thesis: any legal pair of paging and sharing.

What it describes is in the package, where the study of scenarios/thesis.py finds it too.
"""

from sharesim.reproductions.two_designs import two_designs as scenario

__all__ = ["scenario"]
