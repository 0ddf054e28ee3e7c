"""The commands of ``sharesim``, one module each: its options, and what it does."""
