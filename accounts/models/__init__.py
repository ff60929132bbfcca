from accounts.models.app_passwords import AppPassword
from accounts.models.audit import AuditEvent
from accounts.models.directory import Domain, OrgUnit
from accounts.models.help_answers import HelpAnswer
from accounts.models.people import AccountCount, Alias, Privilege, RoleAssignment, User
from accounts.models.sign_ins import SignInRecord
from accounts.models.sweeps import LastSweep

__all__ = [
    "AccountCount",
    "Alias",
    "AppPassword",
    "AuditEvent",
    "Domain",
    "HelpAnswer",
    "LastSweep",
    "OrgUnit",
    "Privilege",
    "RoleAssignment",
    "SignInRecord",
    "User",
]
