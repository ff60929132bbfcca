from sendas.models.approvals import ApprovalMail
from sendas.models.gateways import Approval, ConnectionTest, SmartHostCredential, SmtpMsa
from sendas.models.incidents import HostIncident
from sendas.models.mail_domains import MailDomain
from sendas.models.notices import OwnerNotice
from sendas.models.proofs import CODE_TRIES, OwnershipProof, VerificationMail
from sendas.models.send_as import ReplyFrom, ReplySetting, SendAs, SendAsQuerySet
from sendas.models.troubles import Trouble, trouble_of

__all__ = [
    "CODE_TRIES",
    "Approval",
    "ApprovalMail",
    "ConnectionTest",
    "HostIncident",
    "MailDomain",
    "OwnerNotice",
    "OwnershipProof",
    "ReplyFrom",
    "ReplySetting",
    "SendAs",
    "SendAsQuerySet",
    "SmartHostCredential",
    "SmtpMsa",
    "Trouble",
    "VerificationMail",
    "trouble_of",
]
