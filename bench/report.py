"""Measurements as figures, and the figures as one table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench import postfix
from bench.figures import Figure
from bench.rounds import Measured
from bench.scenarios import Scenario

OURS, THEIRS, DIRECT = "Outgate", "Postfix", "direct"
LATENCY_GOALS = {"p50": 2.0, "p99": 8.0}  # milliseconds
HEADING = ("", OURS, THEIRS, "ratio", "goal", "sink itself")


@dataclass(frozen=True)
class Comparison:
    """All rounds of one scenario, by the system's name."""

    scenario: Scenario
    rounds: Mapping[str, Sequence[Measured]]

    def figures(self) -> Iterator[Figure]:
        yield from (self._rate(system) for system in (OURS, THEIRS, DIRECT))
        yield self._ratio()
        yield from (self._latency(part) for part in LATENCY_GOALS if self.scenario.is_latency)
        for system in (OURS, THEIRS):
            yield from (self._reply(part, system) for part in LATENCY_GOALS)
            yield from (self._cpu(system), self._memory(system), self._connections(system))

    def rows(self) -> Iterator[list[str]]:
        """Lines of the table; a goal stands beside the figure that it is about."""
        name, ratio = self.scenario.name, self._ratio()
        rates = [self._rate(system) for system in (OURS, THEIRS, DIRECT)]
        goals = ", ".join(filter(None, (f"x {ratio.verdict}", rates[0].verdict)))
        if ratio.goal is None:
            goals = rates[0].verdict
        yield [
            f"{name}: messages/s", rates[0].text, rates[1].text, ratio.text, goals, rates[2].text,
        ]  # fmt: skip
        if self.scenario.is_latency:
            for part in LATENCY_GOALS:
                above = self._latency(part)
                yield self._beside(f"MAIL to 250, {part}, ms", self._replies(part))
                yield [f"  above the sink's own, {part}, ms", above.text, "", "", above.verdict, ""]
        yield self._beside("CPU, ms a message", [self._cpu(OURS), self._cpu(THEIRS)])
        yield self._beside("memory, MB", [self._memory(OURS), self._memory(THEIRS)])

    def _beside(self, name: str, figures: Sequence[Figure]) -> list[str]:
        ours, theirs, *direct = (figure.text for figure in figures)
        return [f"  {name}", ours, theirs, "", "", *(direct or [""])]

    def _replies(self, part: str) -> list[Figure]:
        return [self._reply(part, system) for system in (OURS, THEIRS, DIRECT)]

    def _figure(self, system: str, what: str, unit: str, values: Sequence[float]) -> Figure:
        reason = "" if system in self.rounds else postfix.why_not()
        return Figure(f"{self.scenario.name}: {system}, {what}", unit, values, reason=reason)

    def _values(self, system: str, name: str) -> list[float]:
        return [getattr(measured, name) for measured in self.rounds.get(system, ())]

    def _rate(self, system: str) -> Figure:
        rates = self._values(system, "rate")
        if system == OURS:
            name = f"{self.scenario.name}: {OURS}, throughput"
            return Figure(name, "messages/s", rates, self.scenario.rate)
        return self._figure(system, "throughput", "messages/s", rates)

    def _ratio(self) -> Figure:
        """Round by round: what was measured side by side is compared side by side."""
        pairs = zip(self._values(OURS, "rate"), self._values(THEIRS, "rate"), strict=False)
        reason = "" if THEIRS in self.rounds else postfix.why_not()
        return Figure(
            f"{self.scenario.name}: {OURS} / {THEIRS}",
            "ratio",
            [ours / theirs for ours, theirs in pairs],
            self.scenario.ratio,
            reason=reason,
        )

    def _reply(self, part: str, system: str) -> Figure:
        return self._figure(system, f"MAIL to 250, {part}", "ms", self._values(system, part))

    def _latency(self, part: str) -> Figure:
        """What we add to the time that the sink takes when it is spoken to itself."""
        pairs = zip(self._values(OURS, part), self._values(DIRECT, part), strict=True)
        return Figure(
            f"{self.scenario.name}: {OURS}, MAIL to 250 above the upstream, {part}",
            "ms",
            [ours - direct for ours, direct in pairs],
            LATENCY_GOALS[part],
            lower_is_better=True,
        )

    def _cpu(self, system: str) -> Figure:
        return self._figure(system, "CPU", "ms/message", self._values(system, "cpu"))

    def _memory(self, system: str) -> Figure:
        """Of all its processes, with what they share counted once; Outgate's with PostgreSQL."""
        return self._figure(system, "memory", "MB", self._values(system, "memory"))

    def _connections(self, system: str) -> Figure:
        connections = self._values(system, "connections")
        return self._figure(system, "upstream connections", "connections/message", connections)


def table(comparisons: Sequence[Comparison], others: Sequence[Figure]) -> list[Sequence[str]]:
    """The comparison line by line, then figures that only Outgate has."""
    rows: list[Sequence[str]] = [HEADING]
    for comparison in comparisons:
        rows += comparison.rows()
    rows += [[f"{each.name}, {each.unit}", each.text, "", "", each.verdict, ""] for each in others]
    return rows
