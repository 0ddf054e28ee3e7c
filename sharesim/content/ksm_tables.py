"""The files a recorded KSM case is made of: one JSON object and gzipped CSV tables of numbers.

Every defect becomes one `UserError` that names the file, the line, what was found there and what
would be right; a table cut off in the middle (a full disk, a broken copy) is such a defect too.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from sharesim.errors import UserError, nearest

MILLISECOND = 1_000_000
"""Nanoseconds in one."""

_DAMAGE = (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error)
"""What reading a file that is no gzip, is cut short or is no text raises."""


class Source:
    """One file of a case; all complaints about it go through :meth:`fail`, which names it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, found: str, line: int | None = None) -> NoReturn:
        """Raise the `UserError` that ``found`` is wrong, at ``line`` (counted from 1) if given."""
        at = "" if line is None else f", line {line}"
        raise UserError(f"{self.path}{at}: {found}")

    def bytes(self, what: str) -> bytes:
        """All of the file; ``what`` is said in the message when there is none."""
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            self.fail(f"no such file, expected {what}")
        except OSError as error:
            self.fail(f"cannot be read ({error.strerror or error})")


class Fields(Source):
    """The values of a JSON object, taken one by one with their checks.

    ``where`` is the object's place in the file, such as ``"processes[2]."``.
    """

    def __init__(self, path: Path, values: Any, where: str = "") -> None:
        super().__init__(path)
        self.where = where
        if not isinstance(values, dict):
            self.fail(f"{where.rstrip('.') or 'the case'} is {values!r:.60}, expected an object")
        self.values: dict[str, Any] = values

    @classmethod
    def read(cls, path: Path, what: str) -> "Fields":
        """The object that the JSON file at ``path`` holds; ``what`` says what it should be."""
        source = Source(path)
        content = source.bytes(what)
        try:
            values = json.loads(content)
        except ValueError as error:
            source.fail(f"is not JSON ({error}), expected {what}")
        if not isinstance(values, dict):
            source.fail(f"holds {type(values).__name__}, not an object; expected {what}")
        return cls(path, values)

    def within(self, key: str, number: int, values: Any) -> "Fields":
        """The object at ``key[number]``."""
        return Fields(self.path, values, f"{self.where}{key}[{number}].")

    def get(self, key: str) -> Any:
        """What ``key`` holds; it must be there."""
        if key not in self.values:
            hint = nearest(key, self.values)
            self.fail(f"'{self.where}{key}' is missing{hint}")
        return self.values[key]

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.get(key)
        if not isinstance(value, str) or not value:
            self.fail(f"'{self.where}{key}' is {value!r}, expected text")
        return value

    def entries(self, key: str) -> list[Any]:
        """A list."""
        value = self.get(key)
        if not isinstance(value, list):
            self.fail(f"'{self.where}{key}' is {value!r:.60}, expected a list")
        return value

    def count(self, key: str, least: int = 0) -> int:
        """A whole number, ``least`` or more."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            self.fail(f"'{self.where}{key}' is {value!r}, expected a whole number from {least}")
        return value

    def time(self, key: str, least: int = 0) -> int:
        """Nanoseconds of a number of milliseconds, ``least`` nanoseconds or more."""
        value = self.get(key)
        good = isinstance(value, int | float) and not isinstance(value, bool)
        time = round(value * MILLISECOND) if good and abs(value) < 1e12 else -1
        if time < least:
            wanted = "milliseconds, above 0" if least else "milliseconds from 0"
            self.fail(f"'{self.where}{key}' is {value!r}, expected {wanted}")
        return time

    def time_or_none(self, key: str) -> int | None:
        """As :meth:`time`, or None where the file says null or nothing."""
        return None if self.values.get(key) is None else self.time(key)


class Table(Source):
    """A gzipped CSV table: a line of column names, then one number in each column of each line.

    ``rows`` has the lines as text; line k of the table is line k + 2 of the file.
    """

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(path)
        self.what = what
        content = self.bytes(what)
        try:
            lines = list(csv.reader(gzip.decompress(content).decode().splitlines()))
        except _DAMAGE as error:
            self.fail(f"damaged or not a gzipped CSV table ({error}), expected {what}")
        if not lines:
            self.fail(f"the table is empty, expected {what}")
        self.columns, self.rows = lines[0], lines[1:]

    def need(self, columns: Iterable[str]) -> None:
        """Insist on ``columns`` in the head and on every line being as long as the head."""
        missing = [name for name in columns if name not in self.columns]
        if missing:
            found = ", ".join(self.columns) if len(self.columns) < 20 else "others"
            self.fail(f"no column {', '.join(missing)}; found {found}; expected {self.what}", 1)
        width = len(self.columns)
        for number, row in enumerate(self.rows):
            if len(row) != width:
                self.fail(f"{len(row)} values, expected {width} as in line 1", number + 2)

    def whole(self, column: str, dtype: type = np.int64) -> np.ndarray:
        """The whole numbers of ``column``."""
        return self._numbers(column, int, dtype, "a whole number")

    def decimal(self, column: str) -> np.ndarray:
        """The numbers of ``column``, float64, all finite."""
        numbers = self._numbers(column, float, np.float64, "a number")
        self.refuse(~np.isfinite(numbers), lambda row: f"{column} is {self.cell(row, column)}")
        return numbers

    def times(self, column: str = "t_ms") -> np.ndarray:
        """Nanoseconds, int64, of a column of milliseconds, which must not be below 0 or go back."""
        milliseconds = self.decimal(column)
        late = np.append([False], milliseconds[1:] < milliseconds[:-1])[: len(milliseconds)]
        self.refuse(
            late,
            lambda row: (
                f"{column} is {self.cell(row, column)} after {self.cell(row - 1, column)};"
                " lines are in order of time"
            ),
        )
        outside = (milliseconds < 0) | (milliseconds > 1e12)
        self.refuse(outside, lambda row: f"{column} is {self.cell(row, column)}, expected from 0")
        return np.round(milliseconds * MILLISECOND).astype(np.int64)

    def cell(self, row: int, column: str) -> str:
        """The text in one place, for messages."""
        return self.rows[row][self.columns.index(column)]

    def refuse(self, bad: np.ndarray, found: Callable[[int], str]) -> None:
        """Fail at the first line where ``bad`` is true; ``found(row)`` says what is wrong."""
        if bad.any():
            row = int(np.argmax(bad))
            self.fail(found(row), row + 2)

    def _numbers(
        self, column: str, number: Callable[[str], Any], dtype: type, what: str
    ) -> np.ndarray:
        place = self.columns.index(column)
        cells: Sequence[str] = [row[place] for row in self.rows]
        try:
            return np.array([number(cell) for cell in cells], dtype=dtype)
        except (ValueError, OverflowError):
            for row, cell in enumerate(cells):
                try:
                    np.array([number(cell)], dtype=dtype)
                except (ValueError, OverflowError):
                    self.fail(f"{column} is '{cell}', expected {what}", row + 2)
            raise
