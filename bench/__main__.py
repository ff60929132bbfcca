"""`make bench`: Outgate beside Postfix, as a table and as bench.json in the data folder."""

import argparse
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench import postfix
from bench.comparison import running
from bench.console import console_figures
from bench.decisions import decision_figures
from bench.demo import demo_figures
from bench.figures import Figure, print_table, write_json
from bench.obeying import WAVES, obeying_figures
from bench.outbox import WAITING, outbox_figures
from bench.parts import CHECKOUT, BenchError
from bench.report import Comparison, table
from bench.scenarios import SCENARIOS

ROUNDS = 3
QUICK = 60_000  # messages in the outbox: a worker that is stopped goes on for up to 20 s
QUICK_WAVES = 10


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def compare(folder: Path, *, quick: bool) -> Iterator[Comparison]:
    with running(folder) as bench:
        for scenario in SCENARIOS:
            say(scenario.name)
            if quick:
                yield Comparison(scenario, bench.rounds(scenario.quick(), 1))
            else:
                yield Comparison(scenario, bench.rounds(scenario, ROUNDS))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, only to try it")
    quick = parser.parse_args().quick
    # Builds of one version differ by a tenth.
    say(f"Python {platform.python_version()}, {platform.python_compiler()}, {os.cpu_count()} cores")
    if reason := postfix.why_not():
        say(reason)
    # An orderly end, so that everything that was started ends as well.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    # Not the folder for short-lived files, which may lie in memory: both sides sync to a disk.
    folder = Path(tempfile.mkdtemp(prefix="outgate-bench-", dir="/var/tmp"))
    # The engines and Postfix run as other users, who have to pass through.
    folder.chmod(0o711)
    comparisons: list[Comparison] = []
    others: list[Figure] = []
    failed = False
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        try:
            comparisons.extend(compare(folder, quick=quick))
            say("make up")
            others += demo_figures(folder)
            say("decisions")
            others += decision_figures(folder)
            say("console")
            others += console_figures(folder, quick=quick)
            say("waves")
            others += obeying_figures(folder, waves=QUICK_WAVES if quick else WAVES)
            say("outbox")
            others += outbox_figures(folder / "outbox", waiting=QUICK if quick else WAITING)
        except BenchError as error:
            failed = True  # what was measured until then is shown all the same
            stack.pop_all()
            say(f"{error}\nLogs are kept in {folder}.")
    print_table(table(comparisons, others))
    data_dir = Path(os.environ.get("OUTGATE_DATA_DIR") or CHECKOUT / "var")
    found = [figure for comparison in comparisons for figure in comparison.figures()]
    say(f"Written: {write_json([*found, *others], data_dir)}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
