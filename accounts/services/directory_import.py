"""Bring units, accounts and aliases to what a file says: all of it, or nothing.

1. Lock the names, the tree and the roles, so that what is checked still holds when it is done.
2. Compare the file with the database: what to do, in steps, and what keeps it from being done.
3. Take the steps, each by the service that anybody else would call.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from enum import StrEnum
from functools import partial
from typing import NamedTuple

from django.core.exceptions import ValidationError
from django.db import transaction

from accounts.models import Alias, Domain, OrgUnit, User
from accounts.services import people
from accounts.services.audit import SYSTEM
from accounts.services.directory import (
    clean_domain,
    create_domain,
    create_unit,
    lock_addresses,
    lock_roles,
    lock_tree,
)
from accounts.services.directory_file import Problem, Row
from accounts.services.roles import super_administrators
from smtp.address import split_address

Path = tuple[str, ...]  # of a unit: the names from below the topmost one, in lower case


class Kind(StrEnum):
    """Of a step; in the order in which they are taken, so that no step stands in another's way."""

    DOMAIN = "domains created"
    UNIT = "units created"
    RESTORE = "accounts restored"
    REMOVE_ALIAS = "aliases removed"
    ACCOUNT = "accounts created"
    RENAME = "accounts renamed"
    MOVE = "accounts moved"
    ADD_ALIAS = "aliases added"
    SUSPEND = "accounts suspended"


class Step(NamedTuple):
    """`about` is whom it is about, for people to read."""

    kind: Kind
    about: str
    take: Callable[[], object]


class Wanted(NamedTuple):
    """What a run is asked to do, and what is wrong with the file already.

    `domains` become own ones. With more than `most_suspended` suspensions nothing is done.
    """

    rows: Sequence[Row]
    problems: Sequence[Problem] = ()
    domains: Collection[str] = ()
    suspend_missing: bool = False
    most_suspended: int | None = None


class ImportRefusedError(Exception):
    """Nothing was changed, for these `problems`."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(f"{len(problems)} problems")
        self.problems = problems


def import_directory(wanted: Wanted, *, dry_run: bool = False) -> list[Step]:
    """The steps that were taken, with `dry_run` those that would be.

    Raise ImportRefusedError where anything in the file, or in what is asked for, can't be done.
    """
    with transaction.atomic():
        if not dry_run:
            lock_addresses()
            lock_tree()
            lock_roles()
        plan = _Plan(wanted)
        if plan.problems:
            raise ImportRefusedError(sorted(plan.problems, key=lambda each: each.line or 0))
        steps = plan.steps()
        if not dry_run:
            for step in steps:
                step.take()
    return steps


def count_steps(steps: Iterable[Step]) -> list[str]:
    """ "accounts created: 3", for each kind that there is."""
    counts = Counter(step.kind for step in steps)
    return [f"{kind}: {counts[kind]:,}" for kind in Kind if counts[kind]]


class _Plan:
    """Compares, and changes nothing; the steps note here what they make, for those behind them."""

    def __init__(self, wanted: Wanted) -> None:
        self.problems = list(wanted.problems)
        self._steps: dict[Kind, list[Step]] = {kind: [] for kind in Kind}
        self._lines = {row.primary_address: row.line for row in reversed(wanted.rows)}
        self._domains = {each.name: each for each in Domain.objects.select_related("alias_of")}
        self._units = _units_by_path()
        self._planned_units = set(self._units)
        self._users = {user.primary_address: user for user in User.objects.all()}
        self._aliases = _aliases_by_account(self._users.values())
        if () not in self._units:
            self._refuse(None, "There is no organisation yet. Run create_administrator first.")
        elif not self._lines and not self.problems:
            self._refuse(None, "The file names no account.")
        else:
            self._compare_all(wanted)

    def steps(self) -> list[Step]:
        return [step for steps in self._steps.values() for step in steps]

    def _compare_all(self, wanted: Wanted) -> None:
        own_domains = self._own_domains(wanted.domains)
        self._check_addresses(wanted.rows, own_domains)
        for row in wanted.rows:
            self._compare(row)
        if wanted.suspend_missing:
            for address, user in self._users.items():
                if address not in self._lines and not user.suspended:
                    self._suspend(address)
        # Where rows could not be read, this would say of their accounts that they are missing.
        if not self.problems:
            self._check_suspensions(wanted.most_suspended)

    def _refuse(self, line: int | None, text: str) -> None:
        self.problems.append(Problem(line, text))

    def _step(self, kind: Kind, about: str, take: Callable[[], object]) -> None:
        self._steps[kind].append(Step(kind, about, take))

    def _own_domains(self, added: Iterable[str]) -> set[str]:
        """Those where addresses may lie, once the steps are taken."""
        own = {name for name, each in self._domains.items() if each.kind != Domain.Kind.ALIAS}
        for written in added:
            try:
                name = clean_domain(written)
            except ValidationError as refusal:
                self._refuse(None, f"--domain {written}: {' '.join(refusal.messages)}")
                continue
            if name not in own | self._domains.keys():
                own.add(name)
                self._step(Kind.DOMAIN, name, partial(create_domain, actor=SYSTEM, name=name))
        return own

    def _check_addresses(self, rows: Iterable[Row], own_domains: Collection[str]) -> None:
        """Each lies inside, and has one account when all is done."""
        owners = {
            self._mailbox(address): user.primary_address
            for user in self._users.values()
            if user.primary_address not in self._lines
            for address in (user.primary_address, *self._aliases[user.primary_address])
        }
        for row in rows:
            account = row.primary_address
            if self._lines[account] != row.line:
                told = f"{account} is in line {self._lines[account]} too. Leave one of them out."
                self._refuse(row.line, told)
                continue
            for address in (account, *row.aliases):
                if split_address(address)[1] not in own_domains:
                    self._refuse(row.line, self._why_outside(address))
                owner = owners.setdefault(address, account)
                if owner != account:
                    self._refuse(row.line, self._why_taken(address, owner))

    def _mailbox(self, address: str) -> str:
        """The address at the domain of which its own one is an alias."""
        local, domain = split_address(address)
        known = self._domains.get(domain)
        return f"{local}@{known.alias_of.name}" if known and known.alias_of else address

    def _why_outside(self, address: str) -> str:
        domain = split_address(address)[1]
        known = self._domains.get(domain)
        if known and known.alias_of:
            return (
                f"{domain} is an alias of {known.alias_of}, where each address is one of {domain} "
                f"too. Write {self._mailbox(address)}."
            )
        return (
            f"{address} lies outside the organisation's domains. If {domain} is one of them, add "
            f"--domain {domain}."
        )

    def _why_taken(self, address: str, owner: str) -> str:
        where = f"in line {self._lines[owner]}" if owner in self._lines else "not in the file"
        return f"{address} belongs to {owner} ({where}). Leave it to one of the two."

    def _compare(self, row: Row) -> None:
        account = row.primary_address
        path = self._plan_unit(row)
        user = self._users.get(account)
        if user is None:
            about = f"{account} in {_written(row.unit)}"
            self._step(Kind.ACCOUNT, about, partial(self._create_account, row, path))
        else:
            self._compare_account(row, path, user)
        had, wanted = self._aliases.get(account, {}), {*row.aliases} - {account}
        for address in sorted(had.keys() - wanted):
            take = partial(people.remove_alias, actor=SYSTEM, alias=had[address])
            self._step(Kind.REMOVE_ALIAS, f"{address} of {account}", take)
        for address in sorted(wanted - had.keys()):
            add = partial(self._add_alias, account, address)
            self._step(Kind.ADD_ALIAS, f"{address} of {account}", add)
        if row.suspended and not (user and user.suspended):
            self._suspend(account)

    def _compare_account(self, row: Row, path: Path, user: User) -> None:
        if user.suspended and not row.suspended:
            take = partial(people.restore_user, actor=SYSTEM, user=user)
            self._step(Kind.RESTORE, row.primary_address, take)
        if user.name != row.name:
            about = f"{row.primary_address} from {user.name} to {row.name}"
            rename = partial(people.rename_user, actor=SYSTEM, user=user, name=row.name)
            self._step(Kind.RENAME, about, rename)
        unit = self._units.get(path)
        if unit is None or user.unit_id != unit.pk:
            about = f"{row.primary_address} to {_written(row.unit)}"
            self._step(Kind.MOVE, about, partial(self._move, user, path))

    def _plan_unit(self, row: Row) -> Path:
        """The path under which the row's unit is found, once the steps are taken."""
        path = _path(row.unit)
        root = self._units[()].name
        if path[:1] == _path([root]) and path[:1] not in self._units:
            self._refuse(row.line, f"Leave out {root}/: paths begin below the topmost unit.")
        for depth in range(1, len(path) + 1):
            if path[:depth] not in self._planned_units:
                self._planned_units.add(path[:depth])
                names = row.unit[:depth]
                self._step(Kind.UNIT, _written(names), partial(self._create_unit, names))
        return path

    def _suspend(self, account: str) -> None:
        self._step(Kind.SUSPEND, account, partial(self._take_suspension, account))

    def _check_suspensions(self, most: int | None) -> None:
        suspended = {step.about for step in self._steps[Kind.SUSPEND]} & self._users.keys()
        if most is not None and len(suspended) > most:
            self._refuse(
                None,
                f"Accounts that would be suspended: {len(suspended):,}. --suspend-at-most allows "
                f"{most:,}. See whether the file is whole; if it is, allow more.",
            )
        administrators = {user.primary_address for user in super_administrators()}
        if administrators and administrators <= suspended:
            self._refuse(
                None,
                "No super administrator would be left. Let one of these stay, in a line of the "
                f"file that says no: {', '.join(sorted(administrators))}.",
            )

    def _create_unit(self, names: tuple[str, ...]) -> None:
        path = _path(names)
        parent = self._units[path[:-1]]
        self._units[path] = create_unit(actor=SYSTEM, name=names[-1], parent=parent)

    def _create_account(self, row: Row, path: Path) -> None:
        self._users[row.primary_address] = people.create_user(
            actor=SYSTEM,
            primary_address=row.primary_address,
            name=row.name,
            unit=self._units[path],
        )

    def _move(self, user: User, path: Path) -> None:
        people.move_user(actor=SYSTEM, user=user, unit=self._units[path])
        user.unit = self._units[path]  # where the events of later steps belong

    def _add_alias(self, account: str, address: str) -> None:
        people.add_alias(actor=SYSTEM, user=self._users[account], address=address)

    def _take_suspension(self, account: str) -> None:
        people.suspend_user(actor=SYSTEM, user=self._users[account])


def _units_by_path() -> dict[Path, OrgUnit]:
    """All units; the topmost has the empty path."""
    found: dict[str, Path] = {}
    units = {}
    for unit in OrgUnit.objects.order_by("path"):
        above = found.get(unit.path[: -OrgUnit.steplen])
        found[unit.path] = () if above is None else (*above, *_path([unit.name]))
        units[found[unit.path]] = unit
    return units


def _path(names: Iterable[str]) -> Path:
    """Names of siblings differ by more than case."""
    return tuple(name.lower() for name in names)


def _written(names: Iterable[str]) -> str:
    return "/".join(names) or "the topmost unit"


def _aliases_by_account(users: Iterable[User]) -> dict[str, dict[str, Alias]]:
    """By primary address, then by their own."""
    accounts = {user.pk: user for user in users}
    found: dict[str, dict[str, Alias]] = {user.primary_address: {} for user in accounts.values()}
    for alias in Alias.objects.all():
        alias.user = accounts[alias.user_id]
        found[alias.user.primary_address][alias.address] = alias
    return found
