"""Takes the measurements: the systems by turns, so that each round compares like with like."""

import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any

from bench.generator import Load
from bench.parts import BenchError, Talker
from bench.people import Person
from bench.scenarios import Scenario
from bench.systems import System
from bench.usage import cpu_seconds, memory

ARRIVAL_SECONDS = 90.0
SETTLE_SECONDS = 0.3  # what is put off until after the reply belongs to the message's cost
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Measured:
    """`rate` in messages a second until the sink has the last, `p50` and `p99` in milliseconds.

    `cpu`: milliseconds a message of the whole system. `memory`: megabytes at the end.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    memory: float
    connections: float


@dataclass(frozen=True)
class Bench:
    """`people` by whether the sink ends their connections after one message."""

    systems: list[System]
    sink: Talker
    ca_file: str
    people: Mapping[bool, list[Person]]

    def rounds(self, scenario: Scenario, number: int) -> dict[str, list[Measured]]:
        """`number` rounds of all systems, by the system's name."""
        found: dict[str, list[Measured]] = defaultdict(list)
        for _round in range(number):
            for system in self.systems:
                found[system.name].append(self._measure(system, scenario))
        return found

    def _measure(self, system: System, scenario: Scenario) -> Measured:
        with closing(Talker("bench.generator", self._load(system, scenario))) as generator:
            warm = self._count()["messages"] + generator.hear()["warm"]
            self._arrived(warm)
            before, roots = self._count(), list(system.processes)
            cpu = cpu_seconds(roots)
            result = generator.ask("go")
            self._arrived(warm + result["sent"])
            time.sleep(SETTLE_SECONDS)
            cpu, after = cpu_seconds(roots) - cpu, self._count()
            occupied = memory(roots)
            generator.tell("end")
        sent = result["sent"]
        return Measured(
            rate=sent / (max(after["last_at"], result["last_at"]) - result["first_at"]),
            p50=1000 * result["p50"],
            p99=1000 * result["p99"],
            cpu=1000 * cpu / sent,
            memory=occupied,
            connections=(after["connections"] - before["connections"]) / sent,
        )

    def _load(self, system: System, scenario: Scenario) -> dict[str, Any]:
        people = self.people[scenario.single]
        # A program that connects anew has TLS from the start (RFC 8314), the others STARTTLS.
        implicit_port = system.implicit_tls_port if scenario.fresh else None
        load = Load(
            port=implicit_port or system.port,
            implicit_tls=implicit_port is not None,
            ca_file=self.ca_file,
            people=[asdict(system.sign_in(person)) for person in people],
            sessions=scenario.sessions,
            at_once=scenario.at_once,
            size=scenario.size,
            count=scenario.queued if system.queues else scenario.count,
            seconds=scenario.seconds,
            fresh=scenario.fresh,
        )
        return asdict(load)

    def _count(self) -> dict[str, Any]:
        return self.sink.ask("count")

    def _arrived(self, messages: int) -> None:
        """Wait until the sink has so many. Raises BenchError where one does not come."""
        deadline = time.monotonic() + ARRIVAL_SECONDS
        while (count := self._count())["messages"] < messages:
            if count["refused"]:
                raise BenchError("The sink was shown a wrong credential or envelope sender.")
            if time.monotonic() > deadline:
                raise BenchError(f"{messages - count['messages']} messages did not arrive.")
            time.sleep(POLL_SECONDS)
