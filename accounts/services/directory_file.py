"""The file that `manage.py import_directory` reads, and what is wrong with each row by itself.

Whoever runs the command reads it, so its words are English, as those of the command.
"""

import csv
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from django.core.exceptions import ValidationError

from accounts.services.people import clean_address, clean_name

# Of names below the topmost unit: the path of the tree, and that of the audit, hold no more.
MAX_UNITS, MAX_PATH = 60, 600
MAX_UNIT_NAME = 255


class FileError(Exception):
    """No row can be read; the text says why and what to do."""


class Row(NamedTuple):
    """An account as it shall be; `unit` holds the names below the topmost unit, topmost first."""

    line: int
    primary_address: str
    name: str
    unit: tuple[str, ...]
    aliases: tuple[str, ...]
    suspended: bool


class Problem(NamedTuple):
    """What keeps the import from being done, and how to mend it; in a line of the file, or None."""

    line: int | None
    text: str

    def __str__(self) -> str:
        return f"Line {self.line}: {self.text}" if self.line else self.text


def read_file(path: Path) -> tuple[list[Row], list[Problem]]:
    """The rows that are right by themselves, and the problems of the others.

    Raise FileError for what is not UTF-8 or no CSV, and where a column is missing.
    """
    try:
        # utf-8-sig: spreadsheets write a mark in front.
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read(file)
    except OSError as error:
        raise FileError(f"{path} can't be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8. Save it as “CSV UTF-8”.") from error


def _read(file: Iterable[str]) -> tuple[list[Row], list[Problem]]:
    lines = _lines(file)
    _number, header = next(lines, (1, []))
    columns = [name.strip().lower() for name in header]
    for name in PARSERS:
        if columns.count(name) != 1:
            raise FileError(
                f"The first line must name the column {name} once. It is: "
                f"{', '.join(PARSERS)}; with commas between them."
            )
    rows: list[Row] = []
    problems: list[Problem] = []
    for number, cells in lines:
        if len(cells) != len(columns):
            told = f"{len(cells)} cells where the first line has {len(columns)}."
            problems.append(Problem(number, f"{told} Put quotes around a cell with a comma in it."))
            continue
        row, wrong = _row(number, dict(zip(columns, cells, strict=True)))
        problems += wrong
        rows += [row] if row else []
    return rows, problems


def _lines(file: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of the line where it begins; empty lines are left out."""
    reader = csv.reader(file, strict=True)
    number = 1
    try:
        for cells in reader:
            if any(cells):
                yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        raise FileError(f"The row from line {number} on is no CSV: {error}.") from error


def _row(number: int, cells: dict[str, str]) -> tuple[Row | None, list[Problem]]:
    values: dict[str, Any] = {}
    problems = []
    for column, parse in PARSERS.items():
        try:
            values[column] = parse(cells[column])
        except ValidationError as refusal:
            told = f"{column} {cells[column]!r}: {' '.join(refusal.messages)}"
            problems.append(Problem(number, told))
    return (None if problems else Row(number, **values)), problems


def _unit(cell: str) -> tuple[str, ...]:
    if not cell.strip():
        return ()
    names = tuple(name.strip() for name in cell.split("/"))
    if not all(names):
        raise ValidationError(
            "Write the names from the top down with / between them, as in Sales/Tokyo."
        )
    if any(unicodedata.category(each) == "Cc" for each in cell):
        raise ValidationError("Leave out line breaks and other control characters.")
    if max(map(len, names)) > MAX_UNIT_NAME or len(cell) > MAX_PATH or len(names) > MAX_UNITS:
        raise ValidationError(
            f"At most {MAX_UNITS} names of {MAX_UNIT_NAME} characters each, {MAX_PATH} in all."
        )
    return names


def _aliases(cell: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(clean_address(alias) for alias in cell.split()))


def _suspended(cell: str) -> bool:
    answer = cell.strip().lower()
    if answer not in ("yes", "no"):
        raise ValidationError("Write yes or no.")
    return answer == "yes"


PARSERS: dict[str, Callable[[str], object]] = {
    "primary_address": clean_address,
    "name": clean_name,
    "unit": _unit,
    "aliases": _aliases,
    "suspended": _suspended,
}
