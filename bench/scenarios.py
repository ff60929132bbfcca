"""What is sent, and what was promised for it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Scenario:
    """`count` messages at most to Outgate and the sink, `queued` to Postfix, each in `seconds`.

    `size` in octets. `single`: the sink ends a connection after one message. `ratio` is by how much
    Outgate shall be ahead of Postfix, `rate` what it shall reach in messages a second.
    """

    name: str
    size: int
    sessions: int
    at_once: int
    count: int
    queued: int
    seconds: float = 10.0
    fresh: bool = False
    single: bool = False
    ratio: float | None = None
    rate: float | None = None
    is_latency: bool = False

    def quick(self) -> "Scenario":
        return replace(
            self, count=self.count // 10, queued=self.queued // 10, seconds=self.seconds / 5
        )


SCENARIOS = (
    Scenario("1 KB, 10 sessions", 1_000, 10, 10, 30_000, 2_000, ratio=10, rate=3_000),
    Scenario("10 KB, 50 sessions", 10_000, 50, 50, 20_000, 2_000, ratio=8),
    Scenario("1 KB, 100 people in turn", 1_000, 100, 10, 30_000, 2_000, ratio=8),
    Scenario(
        "1 KB, a connection each", 1_000, 20, 20, 3_000, 2_000, fresh=True, single=True, ratio=1.8
    ),
    Scenario("1 KB, one session", 1_000, 1, 1, 3_000, 1_000, is_latency=True),
    Scenario("5 MB, 10 sessions", 5_000_000, 10, 10, 400, 100, ratio=2),
)
