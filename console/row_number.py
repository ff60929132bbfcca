"""Numbers of rows as addresses of pages carry them, where anybody can write what he likes."""

MOST_DIGITS = 18  # more may be too much for PostgreSQL's bigint


def row_number(text: str) -> int | None:
    """None for what is no number of a row."""
    return int(text) if text.isdecimal() and len(text) <= MOST_DIGITS else None
