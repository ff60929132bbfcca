"""What process trees have used, out of /proc."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(roots: list[int]) -> list[int]:
    """The numbers of these processes and of all below them."""
    parents = {int(p.name): _stat(p) for p in Path("/proc").iterdir() if p.name.isdigit()}
    found = list(roots)
    for number in found:
        found += [child for child, fields in parents.items() if fields[1:2] == [str(number)]]
    return found


def _stat(process: Path) -> list[str]:
    """The fields behind the command's name, state first; empty where it has ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_seconds(roots: list[int]) -> float:
    """User and system time of the trees, ended and reaped children included; 10 ms steps."""
    stats = [_stat(Path(f"/proc/{number}")) for number in tree(roots)]
    return sum(int(field) for fields in stats for field in fields[11:15]) / _TICKS


def memory(roots: list[int]) -> float:
    """Megabytes of the trees; what processes share is counted once (PSS)."""
    return sum(_proportional(number) for number in tree(roots)) / 1000


def _proportional(number: int) -> int:
    try:
        rollup = Path(f"/proc/{number}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(rollup.split("\nPss:")[1].split()[0])
