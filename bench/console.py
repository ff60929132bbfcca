"""A million accounts: how long the pages take, and what a rollout costs."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from bench.figures import Figure
from bench.outgate import MANAGE, database, settings_of
from bench.parts import free_ports, run
from config.certificates import keep_certificates
from config.embedded import place_engines

SIZE = {
    "accounts": 1_000_000,
    "units": 2_000,
    "events": 1_000_000,
    "addresses": 100_000,
    "rounds": 50,
}
QUICK = {"accounts": 20_000, "units": 200, "events": 20_000, "addresses": 4_000, "rounds": 5}
PAGE_GOALS = {"median": 80.0, "p95": 200.0}  # milliseconds
OWN_GOALS = {"median": 60.0, "p95": 200.0}
PREVIEW_GOALS = {"median": 1000.0, "p95": 1000.0}
ROLLOUT_GOALS = {"root": 0.05, "units": 0.5}  # seconds


def console_figures(folder: Path, *, quick: bool) -> list[Figure]:
    size = QUICK if quick else SIZE
    home = folder / "console"
    home.mkdir(mode=0o711)
    engines = place_engines(home)
    certificates = keep_certificates(home / "certificates")
    environment = settings_of(home, engines, certificates, free_ports(2), free_ports(1))
    environment["OUTGATE_FIND_SETTINGS"] = "false"  # no page waits for the network
    with database(home, engines, environment):
        started = time.monotonic()
        wanted = [f"--accounts={size['accounts']}", f"--units={size['units']}"]
        run([*MANAGE, "fill_accounts", *wanted], environment)
        filled = time.monotonic() - started
        said = run([sys.executable, "-m", "bench.pages"], environment, input=json.dumps(size))
    found: dict[str, Any] = json.loads(said)
    scale = f"{size['accounts']:,} accounts, {size['units']:,} units"
    return [
        Figure(f"fill_accounts: {scale}", "s", [filled], lower_is_better=True),
        *(figure for page in found["pages"] for figure in _page(page, PAGE_GOALS)),
        *(figure for page in found["previews"] for figure in _page(page, PREVIEW_GOALS)),
        *(_rollout(each) for each in found["rollouts"]),
        *(figure for page in found["own"] for figure in _page(page, OWN_GOALS)),
    ]


def _page(page: dict[str, Any], goals: dict[str, float]) -> list[Figure]:
    name = f"page {page['name']}"
    times = [
        Figure(f"{name}, {part}", "ms", [page[part]], goal, lower_is_better=True)
        for part, goal in goals.items()
    ]
    # Where the same page was asked for with fewer rows, it may take no more queries than that one.
    queries = Figure(
        f"{name}, queries", "queries", [page["queries"]], page.get("least"), lower_is_better=True
    )
    return [*times, queries]


def _rollout(each: dict[str, Any]) -> Figure:
    rows = f"{each['rows']:,} rows written, {each['statements']:,} statements"
    goal = ROLLOUT_GOALS.get(each["goal"])
    return Figure(each["name"], "s", [each["seconds"]], goal, lower_is_better=True, reason=rows)
