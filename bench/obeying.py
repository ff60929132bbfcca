"""How soon a wave is obeyed in every submission process; `python -m bench.obeying` takes it alone.

From before the wave's statement until the first answer by the new rule on a session of the process
that is last. So it holds the commit itself, and the time of a message.
"""

import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench.figures import Figure, print_table
from bench.outbox import sink
from bench.outgate import MANAGE, database, settings_of
from bench.parts import LOOPBACK, answers_at, daemon, free_ports, run, talker
from bench.people import Person
from config.certificates import keep_certificates
from config.embedded import place_engines

PROCESSES = 2
WAVES = 100
GOALS = {"p50": 100.0, "worst": 1000.0}  # milliseconds
OUTSIDE = "kept.example"


def obeying_figures(folder: Path, *, waves: int = WAVES) -> list[Figure]:
    """Mail of one person goes by the person's own server or by the relay: each says its own 250."""
    home = folder / "obeying"
    home.mkdir(mode=0o711)
    engines, ports = place_engines(home), free_ports(2)
    gateway, single, relay = free_ports(3)
    certificates = keep_certificates(home / "certificates")
    environment = settings_of(home, engines, certificates, ports, [gateway]) | {
        "OUTGATE_RELAY_URL": f"smtp://{LOOPBACK}:{relay}"
    }
    person = Person.make(0, OUTSIDE)
    plan = {
        "ports": [gateway, single],
        "certificate": str(certificates.server),
        "key": str(certificates.server_key),
        "passwords": {person.address: person.password},
    }
    with ExitStack() as stack:
        stack.enter_context(sink(relay))
        stack.enter_context(talker("bench.sink", plan)).hear()
        stack.enter_context(database(home, engines, environment))
        submission = stack.enter_context(
            daemon(
                [*MANAGE, "submission", "--processes", str(PROCESSES)],
                home / "submission.log",
                lambda: all(answers_at(port) for port in ports),
                environment=environment,
            )
        )
        wanted = {
            "people": [asdict(person)],
            "ports": {OUTSIDE: gateway},
            "submission": submission,
            "processes": PROCESSES,
            "port": ports[0],
            "ca_file": str(certificates.authority),
            "waves": waves,
        }
        module = [sys.executable, "-m", "bench.obeyed"]
        seconds = json.loads(run(module, environment, input=json.dumps(wanted)))
    name = f"wave until obeyed in each of {PROCESSES} processes"
    found = {"p50": statistics.median(seconds), "worst": max(seconds)}
    return [
        Figure(
            f"{name}, {part}", "ms", [1000 * found[part]], goal, lower_is_better=True,
            reason=f"{waves} waves",
        )
        for part, goal in GOALS.items()
    ]  # fmt: skip


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="outgate-bench-", dir="/var/tmp") as name:
        # The engines run as another user, who has to pass through.
        Path(name).chmod(0o711)
        figures = obeying_figures(Path(name))
    print_table([[each.name, f"{each.text} ms", each.verdict] for each in figures])


if __name__ == "__main__":
    main()
