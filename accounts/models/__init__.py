from accounts.models.app_passwords import AppPassword
from accounts.models.audit import AuditEvent
from accounts.models.directory import Domain, OrgUnit
from accounts.models.help_answers import HelpAnswer
from accounts.models.people import AccountCount, Alias, Privilege, RoleAssignment, User
from accounts.models.sign_ins import SignInRecord

__all__ = [
    "AccountCount",
    "Alias",
    "AppPassword",
    "AuditEvent",
    "Domain",
    "HelpAnswer",
    "OrgUnit",
    "Privilege",
    "RoleAssignment",
    "SignInRecord",
    "User",
]
