"""The conclusion of the 2006 thesis: both designs, three kinds of conditions, and a verdict.

The study is in the package, where `sharesim reproduce thesis` finds it too.
"""

from sharesim.reproductions.thesis import study

__all__ = ["study"]
