"""Debian's Postfix as a private instance: own configuration, queue, data and master process.

Each sender has his own relayhost and his own credential there. Nothing below /etc/postfix or
/var/spool/postfix is written.
"""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.parts import BenchError, answers_at, daemon, free_ports, run
from bench.people import DOMAIN, Person
from bench.systems import System
from config.certificates import Certificates

PROGRAMS = ("postfix", "postmap", "saslpasswd2")
# The master changes its user now and then, upon which the kernel forgets to end it with us. So a
# shell does: it gets our end, or our request, as SIGTERM.
GUARDED = '"$0" "$@" & trap "kill $!" TERM; wait; wait'
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": SEARCH_PATH, "LC_ALL": "C", "TZ": "UTC"}


def why_not() -> str:
    """Why there is no Postfix to compare with; "" where there is."""
    missing = [name for name in PROGRAMS if not shutil.which(name, path=SEARCH_PATH)]
    if missing:
        return f"Postfix was not measured: {', '.join(missing)} not installed"
    if os.geteuid() != 0:
        return "Postfix was not measured: its master process starts as root only"
    return ""


@contextmanager
def postfix(
    folder: Path, certificates: Certificates, people: list[Person], sinks: dict[str, int]
) -> Iterator[System]:
    """Postfix with these people; `sinks` is the port of each outside domain's server."""
    configuration, queue = folder / "configuration", folder / "queue"
    for path in (folder, configuration, queue, folder / "data"):
        path.mkdir(mode=0o755)
    shutil.chown(folder / "data", "postfix")
    ports = free_ports(2)
    (configuration / "main.cf").write_text(_main(folder, certificates))
    (configuration / "master.cf").write_text(_master(ports))
    _write_maps(configuration, people, sinks)
    passwords = {each.account: secrets.token_urlsafe(12) for each in people}
    _write_accounts(configuration, passwords)
    sign_ins = {each.address: (each.account, passwords[each.account]) for each in people}
    # Makes the queue's folders.
    run(["/usr/sbin/postfix", "-c", str(configuration), "check"], ENVIRONMENT)
    command = ["/bin/sh", "-c", GUARDED, "/usr/lib/postfix/sbin/master", "-c", str(configuration)]
    log = folder / "postfix.log"
    with daemon(
        command, log, lambda: all(answers_at(port) for port in ports), environment=ENVIRONMENT
    ) as master:
        yield System("Postfix", ports[0], ports[1], sign_ins, [master], queues=True)


def _main(folder: Path, certificates: Certificates) -> str:
    configuration = folder / "configuration"
    settings = {
        "compatibility_level": "3.6",
        "queue_directory": folder / "queue",
        "data_directory": folder / "data",
        "command_directory": "/usr/sbin",
        "daemon_directory": "/usr/lib/postfix/sbin",
        "shlib_directory": "/usr/lib/postfix",
        "meta_directory": "/etc/postfix",
        "maillog_file": folder / "mail.log",
        "maillog_file_prefixes": folder,
        "myhostname": f"mail.{DOMAIN}",
        "mydestination": "",
        "inet_interfaces": "127.0.0.1",
        "inet_protocols": "ipv4",
        "message_size_limit": 36_700_160,
        "mailbox_size_limit": 0,
        # In: TLS, then sign-in against Cyrus SASL's own database, then the sender's own addresses.
        "smtpd_tls_security_level": "encrypt",
        "smtpd_tls_auth_only": "yes",
        "smtpd_tls_cert_file": certificates.server,
        "smtpd_tls_key_file": certificates.server_key,
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_sasl_local_domain": DOMAIN,
        "smtpd_sender_login_maps": f"hash:{configuration}/logins",
        "smtpd_sender_restrictions": "reject_sender_login_mismatch",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
        # Out: relay and credential by sender, TLS verified for the relay's name.
        "sender_dependent_relayhost_maps": f"hash:{configuration}/relays",
        "smtp_sender_dependent_authentication": "yes",
        "smtp_sasl_auth_enable": "yes",
        "smtp_sasl_password_maps": f"hash:{configuration}/passwords",
        "smtp_sasl_security_options": "noanonymous",
        "smtp_sasl_mechanism_filter": "plain",
        "smtp_tls_security_level": "verify",
        "smtp_tls_CAfile": certificates.authority,
        "smtp_tls_session_cache_database": "btree:${data_directory}/smtp_scache",
        "smtp_host_lookup": "native",
        # No local delivery, so no maps of it: their defaults ask NIS.
        "alias_maps": "",
        "alias_database": "",
        **TUNING,
    }
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


# After TUNING_README, STRESS_README and postconf(5). No name look-ups, no limits per client, no
# brake on input; as many processes and parallel deliveries as the bench has sessions.
TUNING = {
    "default_process_limit": 200,
    "default_destination_concurrency_limit": 50,
    "initial_destination_concurrency": 50,
    "default_destination_concurrency_failed_cohort_limit": 0,
    "smtpd_peername_lookup": "no",
    "smtpd_client_connection_count_limit": 0,
    "in_flow_delay": "0",
}


def _master(ports: list[int]) -> str:
    """The services of Debian's master.cf that a message passes, none of them in a chroot."""
    lines = [
        f"127.0.0.1:{ports[0]} inet n - n - - smtpd",
        f"127.0.0.1:{ports[1]} inet n - n - - smtpd -o smtpd_tls_wrappermode=yes",
        "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 300 1 qmgr",
        "tlsmgr unix - - n 1000? 1 tlsmgr",
        "rewrite unix - - n - - trivial-rewrite",
        "bounce unix - - n - 0 bounce",
        "defer unix - - n - 0 bounce",
        "trace unix - - n - 0 bounce",
        "verify unix - - n - 1 verify",
        "flush unix n - n 1000? 0 flush",
        "proxymap unix - - n - - proxymap",
        "smtp unix - - n - - smtp",
        "relay unix - - n - - smtp",
        "showq unix n - n - - showq",
        "error unix - - n - - error",
        "retry unix - - n - - error",
        "discard unix - - n - - discard",
        "anvil unix - - n - 1 anvil",
        "scache unix - - n - 1 scache",
        "postlog unix-dgram n - n - 1 postlogd",
    ]
    return "\n".join(lines) + "\n"


def _write_maps(configuration: Path, people: list[Person], sinks: dict[str, int]) -> None:
    maps = {
        "relays": {p.address: f"[localhost]:{sinks[p.address.partition('@')[2]]}" for p in people},
        "passwords": {p.address: f"{p.address}:{p.password}" for p in people},
        "logins": {p.address: p.account for p in people},
    }
    for name, entries in maps.items():
        path = configuration / name
        path.write_text("".join(f"{key} {value}\n" for key, value in entries.items()))
        run(["/usr/sbin/postmap", "-c", str(configuration), f"hash:{path}"], ENVIRONMENT)


def _write_accounts(configuration: Path, passwords: dict[str, str]) -> None:
    """Cyrus SASL's own database. Debian's smtpd looks for its settings in sasl/ beside main.cf."""
    database = configuration / "sasldb"
    (configuration / "sasl").mkdir(mode=0o755)
    (configuration / "sasl" / "smtpd.conf").write_text(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN\n"
        f"sasldb_path: {database}\n"
    )
    for account, password in passwords.items():
        name, _at, domain = account.partition("@")
        command = ["/usr/sbin/saslpasswd2", "-p", "-c", "-f", str(database), "-u", domain, name]
        run(command, ENVIRONMENT, input=password)
    if not database.exists():
        raise BenchError("saslpasswd2 made no database.")
    shutil.chown(database, "postfix")
