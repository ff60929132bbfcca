"""What one route decision costs; `python -m bench.decisions` takes these figures alone."""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from bench.figures import Figure, print_table
from bench.outgate import database, settings_of
from bench.parts import free_ports, run
from bench.people import COUNT, Person
from config.certificates import keep_certificates
from config.embedded import place_engines

GOALS = {"cached": 2.0, "uncached": 200.0}  # microseconds
OUTSIDE = "kept.example"


def decision_figures(folder: Path) -> list[Figure]:
    home = folder / "decisions"
    home.mkdir(mode=0o711)
    engines, ports = place_engines(home), free_ports(3)
    certificates = keep_certificates(home / "certificates")
    environment = settings_of(home, engines, certificates, ports[:2], ports[2:])
    people = [asdict(Person.make(number, OUTSIDE)) for number in range(COUNT)]
    with database(home, engines, environment):
        wanted = json.dumps({"people": people, "ports": {OUTSIDE: ports[2]}})
        run([sys.executable, "-m", "bench.organisation"], environment, input=wanted)
        found = json.loads(run([sys.executable, "-m", "bench.deciding"], environment))
    return [
        Figure(f"route decision, {name}", "us", [found[name]], goal, lower_is_better=True)
        for name, goal in GOALS.items()
    ]


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="outgate-bench-", dir="/var/tmp") as name:
        # The engines run as another user, who has to pass through.
        Path(name).chmod(0o711)
        figures = decision_figures(Path(name))
    print_table([[each.name, f"{each.text} us", each.verdict] for each in figures])


if __name__ == "__main__":
    main()
