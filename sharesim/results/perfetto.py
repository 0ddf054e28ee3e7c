"""Writes traces for the Perfetto viewer: tracks, slices, counters and notes, as they come.

A trace is a sequence of length-prefixed protocol-buffer messages of a handful of fields, so it is
encoded here, by the published schema (protos/perfetto/trace/*.proto of the Perfetto project, whose
field numbers these are), rather than by its Python package, which would be the largest dependency
of sharesim. The tests read it back with that package.
"""

from pathlib import Path
from typing import BinaryIO

BEGIN, END, INSTANT, COUNTER = 1, 2, 3, 4
"""Types of a TrackEvent."""
UNITS = {"": 0, "ns": 1, "count": 2, "bytes": 3}
"""Units of a CounterDescriptor."""
_SEQUENCE = 1
_CLEARED, _NEEDS_STATE = 1, 2
_EXPLICIT = 3
"""Children of a track are shown in the order of their ranks."""


class TraceWriter:
    """A trace in the making. Times are ns; packets may come in any order of time.

    Slices of one track must not overlap; one that ends where the next begins is written before it.
    """

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115  (closed by close)
        self._names: dict[str, int] = {}
        self._tracks = 0
        state = _number(13, _CLEARED) + _number(10, _SEQUENCE) + _number(87, 1)
        self._packet(state)

    def process(self, name: str, rank: int) -> int:
        """A group of tracks; returns its number."""
        uuid = self._new_track()
        process = _number(1, uuid) + _text(6, name)
        self._describe(
            _number(1, uuid) + _message(3, process) + _number(11, _EXPLICIT) + _number(12, rank)
        )
        return uuid

    def track(self, name: str, parent: int, rank: int = 0) -> int:
        """A track of slices below a process or another track; returns its number."""
        uuid = self._new_track()
        self._describe(
            _number(1, uuid) + _text(2, name) + _number(5, parent) + _number(11, _EXPLICIT)
            + _number(12, rank)
        )  # fmt: skip
        return uuid

    def counter(self, name: str, parent: int, unit: str = "", rank: int = 0) -> int:
        """A track of numbers; ``unit`` is one of UNITS, or any word."""
        uuid = self._new_track()
        about = _number(3, UNITS[unit]) if unit in UNITS else _text(6, unit)
        self._describe(
            _number(1, uuid) + _text(2, name) + _number(5, parent) + _message(8, about)
            + _number(12, rank)
        )  # fmt: skip
        return uuid

    def slice(self, track: int, name: str, begin: int, end: int, **notes: str | int) -> None:
        """Something that took its time; ``notes`` are shown when it is selected."""
        marks = b"".join(_message(4, _note(key, value)) for key, value in notes.items())
        self._event(begin, _number(9, BEGIN) + _number(11, track) + self._name(name) + marks)
        self._event(end, _number(9, END) + _number(11, track))

    def instant(self, track: int, name: str, time: int, **notes: str | int) -> None:
        """Something at one time."""
        marks = b"".join(_message(4, _note(key, value)) for key, value in notes.items())
        self._event(time, _number(9, INSTANT) + _number(11, track) + self._name(name) + marks)

    def count(self, track: int, time: int, value: int) -> None:
        """A counter's value from a time on."""
        self._event(time, _number(9, COUNTER) + _number(11, track) + _number(30, value))

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def _new_track(self) -> int:
        self._tracks += 1
        return self._tracks

    def _name(self, name: str) -> bytes:
        """A name by its number, which is told when it is first used."""
        if name not in self._names:
            number = self._names[name] = len(self._names) + 1
            entry = _message(2, _number(1, number) + _text(2, name))
            self._packet(_message(12, entry) + self._stamp())
        return _number(10, self._names[name])

    def _describe(self, descriptor: bytes) -> None:
        self._packet(_message(60, descriptor) + self._stamp())

    def _event(self, time: int, event: bytes) -> None:
        self._packet(_number(8, time) + _message(11, event) + self._stamp())

    def _stamp(self) -> bytes:
        return _number(10, _SEQUENCE) + _number(13, _NEEDS_STATE)

    def _packet(self, packet: bytes) -> None:
        self._file.write(_message(1, packet))


# Protocol buffers


def _varint(value: int) -> bytes:
    """Seven bits a byte, lowest first; negative numbers as the 64-bit ones they are."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode("utf-8", "replace"))


def _note(name: str, value: str | int) -> bytes:
    """A DebugAnnotation."""
    return _text(10, name) + (_text(6, value) if isinstance(value, str) else _number(4, value))
