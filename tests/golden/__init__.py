"""Golden timelines: tiny scenarios in exact mode, each with its expected text to be read by people.

``case.py`` has the vocabulary, ``cases_*.py`` the scenarios. ``render.py`` turns a run into text,
and ``NAME.txt`` is what the text must be. ``python -m tests.golden`` shows what differs, with
``--update`` it writes the texts anew: work each difference out by hand before keeping it.
"""
