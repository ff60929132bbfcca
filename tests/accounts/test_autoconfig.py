"""The file for mail programs, read with the standard library's parser and with Horde's."""

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from accounts.incoming_server import parse_incoming_url
from accounts.models import Domain
from accounts.services.audit import SYSTEM
from accounts.services.directory import create_domain

PATHS = ["/.well-known/autoconfig/mail/config-v1.1.xml", "/mail/config-v1.1.xml"]


def read(client, path=PATHS[0], **query) -> ElementTree.Element:
    answer = client.get(path, query)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("application/xml")
    return ElementTree.fromstring(answer.content)


def read_by_horde(client, address: str, servers: str) -> list[str]:
    """What a webmail not written here would use; `servers` is "outgoing" or "incoming"."""
    answer = client.get(PATHS[0], {"emailaddress": address})
    reader = ["php", Path(__file__).with_name("read_autoconfig.php"), address, servers]
    run = subprocess.run(reader, input=answer.content, capture_output=True, check=True, timeout=30)
    assert not run.stderr
    return run.stdout.decode().splitlines()


def values(server: ElementTree.Element) -> dict[str, str]:
    return {child.tag: child.text for child in server}


@pytest.mark.parametrize("path", PATHS)
def test_it_names_the_outgoing_server_in_mozillas_form(client, organisation, settings, path):
    settings.OUTGATE_HOSTNAME = "submit.yourdomain.com"
    root = read(client, path, emailaddress="user@yourdomain.com")
    assert (root.tag, root.attrib) == ("clientConfig", {"version": "1.1"})
    (provider,) = root
    assert (provider.tag, provider.get("id")) == ("emailProvider", "yourdomain.com")
    assert [domain.text for domain in provider.findall("domain")] == ["yourdomain.com"]
    servers = provider.findall("outgoingServer")
    assert {server.get("type") for server in servers} == {"smtp"}
    same = {
        "hostname": "submit.yourdomain.com",
        "username": "%EMAILADDRESS%",
        "authentication": "password-cleartext",
    }
    assert [values(server) for server in servers] == [
        same | {"port": str(settings.OUTGATE_SUBMISSIONS_PORT), "socketType": "SSL"},
        same | {"port": str(settings.OUTGATE_SUBMISSION_PORT), "socketType": "STARTTLS"},
    ]
    # Mozilla's order: what the provider is, servers, documentation.
    order = [child.tag for child in provider]
    assert order == sorted(order, key=ORDER.index)
    assert provider.find("incomingServer") is None


ORDER = [
    "domain", "displayName", "displayShortName", "incomingServer", "outgoingServer",
    "documentation",
]  # fmt: skip


def test_the_incoming_server_is_named_where_the_operator_named_it(client, organisation, settings):
    settings.OUTGATE_INCOMING_SERVER = parse_incoming_url("imaps://imap.yourdomain.com")
    incoming = read(client).find("./emailProvider/incomingServer")
    assert incoming.get("type") == "imap"
    assert values(incoming) == {
        "hostname": "imap.yourdomain.com", "port": "993", "socketType": "SSL",
        "username": "%EMAILADDRESS%", "authentication": "password-cleartext",
    }  # fmt: skip


def test_a_foreign_reader_finds_the_same_servers(client, organisation, settings):
    settings.OUTGATE_HOSTNAME = "submit.yourdomain.com"
    settings.OUTGATE_SUBMISSIONS_PORT, settings.OUTGATE_SUBMISSION_PORT = 465, 587
    address = "user.name@yourdomain.com"
    assert read_by_horde(client, address, "outgoing") == [
        f"msa submit.yourdomain.com 465 tls {address}",
        f"msa submit.yourdomain.com 587 - {address}",
    ]
    assert read_by_horde(client, address, "incoming") == []
    settings.OUTGATE_INCOMING_SERVER = parse_incoming_url("imaps://imap.yourdomain.com")
    assert read_by_horde(client, address, "incoming") == [
        f"imap imap.yourdomain.com 993 tls {address}"
    ]


@pytest.mark.parametrize(
    "url", ["imap://imap.example", "imaps://", "https://imap.example", "imaps://me:secret@h", "x"]
)
def test_an_incoming_url_that_is_none_stops_the_start(url):
    with pytest.raises(ValueError, match="begins with") as caught:
        parse_incoming_url(url)
    assert "secret" not in str(caught.value)


def test_each_domain_is_named_by_its_address_or_by_the_host(client, organisation, settings):
    settings.ALLOWED_HOSTS = ["*"]
    create_domain(actor=SYSTEM, name="second.example", kind=Domain.Kind.SECONDARY)
    by_address = read(client, emailaddress="Anybody@Second.example")
    assert by_address.find("./emailProvider").get("id") == "second.example"
    answer = client.get(PATHS[1], headers={"host": "autoconfig.second.example:8443"})
    assert b'id="second.example"' in answer.content
    assert b"yourdomain.com" not in answer.content


@pytest.mark.parametrize("address", ["x@elsewhere.example", "nothing", "a@b@c", "\0", "@"])
def test_other_domains_are_none_of_ours(client, organisation, address):
    assert client.get(PATHS[0], {"emailaddress": address}).status_code == 404


def test_who_has_an_account_is_not_told(client, owner):
    def told(address: str) -> bytes:
        return client.get(PATHS[0], {"emailaddress": address}).content

    assert told(owner.primary_address) == told("nobody@yourdomain.com")
    assert not re.search(rb"user@|nobody@", told(owner.primary_address))
