"""Starts everything that is compared."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import postfix
from bench.outgate import outgate
from bench.parts import Talker, free_ports, talker
from bench.people import COUNT, Person
from bench.rounds import Bench
from bench.systems import System
from config.certificates import Certificates, keep_certificates

# One server for each: the first keeps connections, the second ends each after one message.
OUTSIDE = {False: "kept.example", True: "single.example"}


@contextmanager
def running(folder: Path) -> Iterator[Bench]:
    """Outgate, Postfix where there is one, and the sink, with the same people."""
    people = {
        single: [Person.make(number, domain) for number in range(COUNT)]
        for single, domain in OUTSIDE.items()
    }
    everybody = [person for those in people.values() for person in those]
    certificates = keep_certificates(folder / "certificates")
    sinks = dict(zip(OUTSIDE.values(), free_ports(2), strict=True))
    with ExitStack() as stack:
        sink = stack.enter_context(_sink(certificates, list(sinks.values()), everybody))
        systems = [stack.enter_context(outgate(folder / "o", certificates, everybody, sinks))]
        if not postfix.why_not():
            made = postfix.postfix(folder / "postfix", certificates, everybody, sinks)
            systems.append(stack.enter_context(made))
        own = {person.address: (person.address, person.password) for person in everybody}
        systems.append(System("direct", sinks[OUTSIDE[False]], None, own, []))
        yield Bench(systems, sink, str(certificates.authority), people)


@contextmanager
def _sink(certificates: Certificates, ports: list[int], people: list[Person]) -> Iterator[Talker]:
    plan = {
        "ports": ports,
        "certificate": str(certificates.server),
        "key": str(certificates.server_key),
        "passwords": {person.address: person.password for person in people},
    }
    with talker("bench.sink", plan) as sink:
        sink.hear()
        yield sink
