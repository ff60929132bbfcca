"""Who and what the demo consists of: one organisation, its people, and its partner."""

from typing import NamedTuple

DOMAIN = "yourdomain.com"
PARTNER_ADDRESS = "user.name@partnerdomain.com"
# Every unit after its parent.
UNITS = ((DOMAIN, None), ("Sales", DOMAIN), ("Partner desk", "Sales"), ("Support", DOMAIN))


class DemoAccount(NamedTuple):
    """`role` as `demo.json` names it; a unit administrator's unit is also what he administers."""

    role: str
    unit: str
    address: str
    name: str
    aliases: tuple[str, ...] = ()


ACCOUNTS = (
    DemoAccount("super_admin", DOMAIN, f"mina.kato@{DOMAIN}", "Mina Kato"),
    DemoAccount("unit_admin", "Sales", f"emre.aydin@{DOMAIN}", "Emre Aydin"),
    DemoAccount("support", "Support", f"lena.vogt@{DOMAIN}", "Lena Vogt"),
    DemoAccount("user", "Partner desk", f"user@{DOMAIN}", "User Name", (f"user.name@{DOMAIN}",)),
    DemoAccount("user", "Partner desk", f"jonas.berg@{DOMAIN}", "Jonas Berg"),
)
