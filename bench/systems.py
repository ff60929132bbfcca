"""What the generator can talk to: Outgate, Postfix, or the sink itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.people import Person, SignIn


@dataclass(frozen=True)
class System:
    """A server under test, running.

    `sign_ins`: user name and password by address. `processes` are the roots of its process trees.
    Where `queues`, it answers before the sink has the message.
    """

    name: str
    port: int
    implicit_tls_port: int | None
    sign_ins: Mapping[str, tuple[str, str]]
    processes: Sequence[int]
    queues: bool = False

    def sign_in(self, person: Person) -> SignIn:
        return SignIn(person.address, *self.sign_ins[person.address])
