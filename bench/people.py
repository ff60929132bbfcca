"""Who sends: each person has an account, and an outside address with a server of its own."""

import secrets
from dataclasses import dataclass

DOMAIN = "yourdomain.com"
RECIPIENT = "claire@customer.example"
COUNT = 100


@dataclass(frozen=True)
class Person:
    """`address` is From, envelope sender and user name at the sink; `password` belongs to it."""

    account: str
    address: str
    password: str

    @classmethod
    def make(cls, number: int, domain: str) -> "Person":
        return cls(
            f"person{number}@{DOMAIN}", f"person{number}@{domain}", secrets.token_urlsafe(12)
        )


@dataclass(frozen=True)
class SignIn:
    """How one person hands in: user name and password are those of the server under test."""

    sender: str
    username: str
    password: str
