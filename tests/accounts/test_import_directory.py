from collections import Counter

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Alias, AuditEvent, Domain, OrgUnit, User
from accounts.models.directory import path_names
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain
from accounts.services.people import add_alias, suspend_user
from tests.policies.rows import MINUTES, ON, allowed, apply_due, let_pass, save

HEADER = "primary_address,name,unit,aliases,suspended\n"


@pytest.fixture
def bring(tmp_path, capsys):
    """Import these lines, and return what the command says."""

    def bring(lines, header=HEADER, **options):
        path = tmp_path / "people.csv"
        content = lines if isinstance(lines, bytes) else (header + lines).encode()
        path.write_bytes(content)
        call_command("import_directory", path, **options)
        return capsys.readouterr().out

    return bring


def account(local):
    return User.objects.get(primary_address=f"{local}@yourdomain.com")


def own_aliases(user):
    return [alias.address for alias in user.aliases.all()]


def state():
    """All that an import may change."""
    return (
        list(User.objects.values_list("primary_address", "name", "unit", "suspended")),
        list(Alias.objects.values_list("address", "user")),
        list(OrgUnit.objects.values_list("path", "name")),
        list(Domain.objects.values_list("name", "kind")),
        AuditEvent.objects.count(),
    )


PEOPLE = (
    "Yuki@YourDomain.com,田中 由紀,sales/Tokyo,yuki@yourdomain.com y.tanaka@yourdomain.com,no\n"
    'jonas@yourdomain.com,"Berg, Jonas",Sales/TOKYO,,no\n'
    "ada@yourdomain.com,Ada Moor,Legal/ Berlin ,,Yes\n"
    "mina@yourdomain.com,Mina Kato,,,no\n"
)


def test_accounts_units_and_aliases_are_as_the_file_says(organisation, bring):
    out = bring(PEOPLE)
    assert out == (
        "units created: 3, accounts created: 4, aliases added: 1, accounts suspended: 1.\n"
    )
    yuki, jonas, ada = account("yuki"), account("jonas"), account("ada")
    assert (yuki.name, jonas.name) == ("田中 由紀", "Berg, Jonas")
    assert path_names(yuki.unit) == "yourdomain.com › Sales › Tokyo"
    assert yuki.unit == jonas.unit
    assert own_aliases(yuki) == ["y.tanaka@yourdomain.com"]
    assert (path_names(ada.unit), ada.suspended) == ("yourdomain.com › Legal › Berlin", True)
    assert account("mina").unit == organisation.root
    assert OrgUnit.objects.find_problems() == ([], [], [], [], [])
    assert not set(AuditEvent.objects.values_list("actor_address", flat=True)) - {""}


def test_the_same_file_again_changes_nothing(organisation, bring):
    bring(PEOPLE, domains=["second.example"])
    before = state()
    out = bring(PEOPLE, domains=["second.example"])
    assert out == "Nothing to change: all is as the file says (4 accounts).\n"
    assert state() == before


def test_what_changed_in_the_file_changes_here_and_stands_in_the_audit(organisation, bring):
    bring(PEOPLE)
    last = AuditEvent.objects.latest("id").pk
    out = bring(
        "yuki@yourdomain.com,Yuki Sato,Legal,sato@yourdomain.com,no\n"
        'jonas@yourdomain.com,"Berg, Jonas",Sales/Tokyo,y.tanaka@yourdomain.com,yes\n'
        "ada@yourdomain.com,Ada Moor,Legal/Berlin,,no\n"
    )
    assert out == (
        "accounts restored: 1, aliases removed: 1, accounts renamed: 1, accounts moved: 1, "
        "aliases added: 2, accounts suspended: 1.\n"
    )
    yuki, jonas = account("yuki"), account("jonas")
    assert (yuki.name, path_names(yuki.unit)) == ("Yuki Sato", "yourdomain.com › Legal")
    assert own_aliases(yuki) == ["sato@yourdomain.com"]
    assert (own_aliases(jonas), jonas.suspended) == (["y.tanaka@yourdomain.com"], True)
    assert not account("ada").suspended
    assert not account("mina").suspended
    events = AuditEvent.objects.filter(pk__gt=last)
    assert Counter(events.values_list("name", flat=True)) == {
        "account_restored": 1,
        "alias_removed": 1,
        "account_renamed": 1,
        "account_moved": 1,
        "alias_added": 2,
        "account_suspended": 1,
    }
    renamed = events.get(name="account_renamed")
    assert renamed.details == {"old": "田中 由紀", "new": "Yuki Sato"}
    added = events.get(name="alias_added", target=yuki.primary_address)
    assert added.unit_path == "yourdomain.com › Legal"


def test_an_alias_becomes_the_primary_address_of_a_new_account(organisation, bring):
    bring("yuki@yourdomain.com,Yuki,,office@yourdomain.com,no\n")
    bring("office@yourdomain.com,Office,,,no\nyuki@yourdomain.com,Yuki,,,no\n")
    assert account("office").name == "Office"
    assert own_aliases(account("yuki")) == []


def test_a_moved_account_has_the_applied_policy_of_its_new_unit(
    super_admin, owner, organisation, bring
):
    save(super_admin, organisation.support_unit, ON)
    let_pass(60 * MINUTES)
    apply_due()
    assert not allowed(owner)
    bring(f"{owner.primary_address},{owner.name},Support,,no\n")
    assert allowed(owner)


def test_a_dry_run_tells_each_change_and_makes_none(owner, organisation, bring):
    before = state()
    out = bring(
        f"{owner.primary_address},Yuki Sato,Legal,sato@yourdomain.com,yes\n"
        "new@partner.example,New,Support,,no\n",
        domains=["partner.example"],
        dry_run=True,
    )
    assert out == (
        "domains created:\n"
        "  partner.example\n"
        "units created:\n"
        "  Legal\n"
        "accounts created:\n"
        "  new@partner.example in Support\n"
        "accounts renamed:\n"
        "  user@yourdomain.com from Yuki Tanaka to Yuki Sato\n"
        "accounts moved:\n"
        "  user@yourdomain.com to Legal\n"
        "aliases added:\n"
        "  sato@yourdomain.com of user@yourdomain.com\n"
        "accounts suspended:\n"
        "  user@yourdomain.com\n"
        "Nothing was changed. Without --dry-run: domains created: 1, units created: 1, "
        "accounts created: 1, accounts renamed: 1, accounts moved: 1, aliases added: 1, "
        "accounts suspended: 1.\n"
    )
    assert state() == before


def test_named_domains_become_secondary_ones(organisation, bring):
    lines = "a@one.example,A,,a@two.example,no\n"
    out = bring(lines, domains=["One.example", "two.example", "yourdomain.com"])
    assert out.startswith("domains created: 2")
    kinds = dict(Domain.objects.values_list("name", "kind"))
    assert kinds == {
        "yourdomain.com": "primary", "one.example": "secondary", "two.example": "secondary"
    }  # fmt: skip


def test_who_is_missing_is_suspended_only_when_that_is_asked_for(
    super_admin, owner, colleague, stranger, bring
):
    suspend_user(actor=SYSTEM, user=stranger)
    lines = (
        "admin@yourdomain.com,Mina Kato,,,no\n"
        "colleague@yourdomain.com,Jonas Berg,Sales/Partner desk,,no\n"
    )
    assert bring(lines).startswith("Nothing to change")
    before = state()
    with pytest.raises(CommandError, match=r"would be suspended: 1.*allows 0"):
        bring(lines, suspend_missing=True, suspend_at_most=0)
    assert state() == before
    out = bring(lines, suspend_missing=True, suspend_at_most=1)
    assert out == "accounts suspended: 1.\n"
    suspended = User.objects.filter(suspended=True).values_list("primary_address", flat=True)
    assert set(suspended) == {owner.primary_address, stranger.primary_address}
    assert bring(lines, suspend_missing=True).startswith("Nothing to change")


@pytest.mark.parametrize("suspended", ["yes", None])
def test_a_super_administrator_stays(super_admin, owner, bring, suspended):
    lines = f"{owner.primary_address},Yuki Tanaka,Sales/Partner desk,,no\n"
    if suspended:
        lines += f"{super_admin.primary_address},Mina Kato,,,{suspended}\n"
    with pytest.raises(CommandError, match="No super administrator would be left"):
        bring(lines, suspend_missing=True)
    assert not User.objects.filter(suspended=True).exists()


BAD_ROWS = {
    "nobody,N,,,no": "primary_address 'nobody': An address has the form name@example.com",
    "n@yourdomain.com,,,,no": "name '': Give the account a name.",
    "n@yourdomain.com,N,Sales//Tokyo,,no": "as in Sales/Tokyo",
    f"n@yourdomain.com,N,{'S' * 256},,no": "of 255 characters each",
    "n@yourdomain.com,N,yourdomain.com/Sales,,no": "Leave out yourdomain.com/",
    '"n@yourdomain.com",N,"Sales\x07",,no': "control characters",
    "n@yourdomain.com,N,,,": "suspended '': Write yes or no.",
    "n@yourdomain.com,N,,x,no": "aliases 'x': An address has the form",
    "n@yourdomain.com,Berg, Jonas,,,no": "6 cells where the first line has 5. Put quotes",
    "n@partner.example,N,,,no": "add --domain partner.example",
    "n@yourdomain.com,N,,n@partner.example,no": "add --domain partner.example",
    "n@yourdomain.net,N,,,no": "Write n@yourdomain.com.",
    "n@yourdomain.com,N,,colleague@yourdomain.com,no": (
        "belongs to colleague@yourdomain.com (not in the file)"
    ),
    "n@yourdomain.com,N,,user@yourdomain.com,no": "belongs to user@yourdomain.com (in line 2)",
    "user@yourdomain.com,N,,,no": "user@yourdomain.com is in line 2 too",
    "office@yourdomain.com,N,,,no": "belongs to colleague@yourdomain.com (not in the file)",
}


@pytest.mark.parametrize(("row", "told"), BAD_ROWS.items())
def test_a_bad_row_is_told_with_its_line_and_nothing_is_changed(owner, colleague, bring, row, told):
    create_domain(actor=SYSTEM, name="yourdomain.net", kind="alias", alias_of=Domain.objects.get())
    add_alias(actor=SYSTEM, user=colleague, address="office@yourdomain.com")
    before = state()
    with pytest.raises(CommandError) as refused:
        bring(f"user@yourdomain.com,Somebody Else,New unit,,no\n\n{row}\n")
    problem, end = str(refused.value).splitlines()
    assert problem.startswith("Line 4: ")
    assert told in problem
    assert end == "Nothing was changed."
    assert state() == before


def test_all_bad_rows_are_told_at_once_in_the_order_of_the_file(organisation, bring):
    with pytest.raises(CommandError) as refused:
        bring('a@elsewhere.example,"A\nB",,,no\nb@yourdomain.com,B,,,maybe\nc@x.example,C,,,no\n')
    lines = [line.split(":")[0] for line in str(refused.value).splitlines()]
    assert lines == ["Line 2", "Line 4", "Line 5", "Nothing was changed."]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "must name the column primary_address once"),
        (b"primary_address;name;unit;aliases;suspended\n", "with commas between them"),
        (b"primary_address,name,unit,alias,suspended\n", "the column aliases once"),
        (HEADER.encode(), "The file names no account"),
        (HEADER.encode() + b"a@yourdomain.com,M\xfcller,,,no\n", "is not UTF-8"),
        (HEADER.encode() + b'a@yourdomain.com,"A,,,no\n', "The row from line 2 on is no CSV"),
    ],
)
def test_what_is_no_such_file_is_refused(organisation, bring, content, told):
    with pytest.raises(CommandError, match=told):
        bring(content, suspend_missing=True)


def test_a_file_that_is_not_there_is_named(organisation, tmp_path):
    with pytest.raises(CommandError, match=r"none\.csv can't be read: No such file"):
        call_command("import_directory", tmp_path / "none.csv")


def test_a_spreadsheet_s_file_with_more_columns_in_another_order_is_read(organisation, bring):
    content = (
        "\ufeffName,Office,Suspended,Unit,Aliases,Primary_Address\r\n"
        "Yuki,7,no,Sales,,yuki@yourdomain.com\r\n,,,,,\r\n"
    )
    bring(content.encode())
    assert account("yuki").unit == organisation.sales


def test_without_an_organisation_it_names_the_command_that_makes_one(db, bring):
    with pytest.raises(CommandError, match="Run create_administrator first"):
        bring(PEOPLE)


def test_a_domain_that_is_none_is_refused(organisation, bring):
    with pytest.raises(CommandError, match="--domain two words"):
        bring(PEOPLE, domains=["two words"])
