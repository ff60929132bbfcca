"""`manage.py submission --processes N`, and how the service takes up another certificate."""

import contextlib
import os
import shutil
import signal
import smtplib
import ssl
import subprocess
import time
from pathlib import Path

import pytest

from config.certificates import keep_certificates
from tests.processes import CHECKOUT, MANAGE, until
from tests.submission.nodes import node

PRIMARY = "user@yourdomain.com"
RECIPIENT = "claire@customer.example"
MESSAGE = f"From: {PRIMARY}\r\nTo: {RECIPIENT}\r\nSubject: x\r\n\r\nText\r\n".encode()

pytestmark = pytest.mark.slow


def is_alive(process: int) -> bool:
    """A zombie, whom nobody has asked for, is not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.fixture
def pair(post_office):
    with node(post_office, "--processes", "2") as pair:
        until(lambda: pair.process.output.count("submission listens") == 2, 20)
        yield pair


def test_both_processes_carry_mail_and_one_that_dies_comes_back(pair, post_office, app_password):
    first = pair.process.children()
    assert len(first) == 2
    os.kill(first[0], signal.SIGKILL)
    until(lambda: pair.process.output.count("submission listens") == 3, 20)
    assert first[1] in pair.process.children()
    assert len(pair.process.children()) == 2
    for _connection in range(8):
        with pair.connect() as client:
            client.login(PRIMARY, app_password)
            client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
    assert len(post_office.raw("ours")) == 8


def test_who_is_asked_to_stop_ends_what_is_under_way(pair, post_office, app_password):
    processes = pair.process.children()
    # As many that both processes have some of each, whatever the kernel's choice.
    busy, idle = ([pair.connect() for _ in range(6)] for _ in range(2))
    for client in busy:
        client.login(PRIMARY, app_password)
        client.mail(PRIMARY)
        client.rcpt(RECIPIENT)
        assert client.docmd("DATA")[0] == 354
        client.send(MESSAGE)
    pair.process.process.terminate()
    assert {client.getreply()[0] for client in idle} == {421}
    for client in busy:
        client.send(b".\r\n")
        assert client.getreply()[0] == 250
        assert client.getreply()[0] == 421
    assert pair.process.process.wait(15) == 0
    assert len(post_office.raw("ours")) == 6
    assert not any(is_alive(process) for process in processes)
    for client in (*busy, *idle):
        client.close()


def test_what_takes_longer_than_the_operator_gives_it_is_cut(post_office, app_password):
    with (
        node(post_office, OUTGATE_SUBMISSION_DRAIN_SECONDS="1") as service,
        contextlib.closing(service.sign_in(app_password)) as client,
    ):
        client.mail(PRIMARY)
        client.rcpt(RECIPIENT)
        assert client.docmd("DATA")[0] == 354
        client.send(MESSAGE)
        asked = time.monotonic()
        service.process.process.terminate()
        with pytest.raises((smtplib.SMTPServerDisconnected, OSError)):
            client.getreply()
        assert 0.9 < time.monotonic() - asked < 5
        assert service.process.process.wait(10) == 0
    assert post_office.raw("ours") == []


def test_no_process_outlives_the_parent(pair):
    processes = pair.process.children()
    os.kill(pair.process.process.pid, signal.SIGKILL)
    pair.process.process.wait()
    until(lambda: not any(is_alive(process) for process in processes), 15)


@pytest.mark.parametrize("arguments", [[], ["--processes", "2"]], ids=["alone", "several"])
def test_a_taken_port_is_told_in_one_line(pair, post_office, arguments):
    taken = {
        "OUTGATE_SUBMISSION_PORT": str(pair.port), "OUTGATE_SUBMISSIONS_PORT": str(pair.tls_port),
    }  # fmt: skip
    done = subprocess.run(
        [*MANAGE, "submission", *arguments],
        cwd=CHECKOUT, env=post_office.environment | taken, timeout=30,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "can't start" in done.stderr


def shown(port: int) -> str:
    return ssl.get_server_certificate(("localhost", port))


def place(files, server: Path, key: Path) -> None:
    """As programs that fetch certificates do: one file, then the other."""
    for source, target in ((server, files[0]), (key, files[1])):
        unfinished = target.with_suffix(".new")
        shutil.copy(source, unfinished)
        unfinished.replace(target)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_new_sessions_get_the_new_certificate_and_old_ones_go_on(
    post_office, app_password, tmp_path, processes
):
    old = keep_certificates(post_office.data_dir / "certificates")
    new = keep_certificates(tmp_path / "new")
    files = (tmp_path / "server.pem", tmp_path / "key.pem")
    place(files, old.server, old.server_key)
    settings = {
        "OUTGATE_TLS_CERT_FILE": str(files[0]), "OUTGATE_TLS_KEY_FILE": str(files[1]),
    }  # fmt: skip

    def told(words: str) -> None:
        until(lambda: running.output.count(words) >= int(processes), 20, lambda: running.output)

    with node(post_office, "--processes", processes, **settings) as service:
        running = service.process
        told("submission listens")
        with service.connect() as client:
            client.login(PRIMARY, app_password)

            files[0].write_text("no certificate\n")
            told("old one stays")
            assert shown(service.tls_port) in old.server.read_text()

            place(files, new.server, new.server_key)
            told("New certificate")
            for _connection in range(8):
                assert shown(service.tls_port) in new.server.read_text()
            with pytest.raises(ssl.SSLCertVerificationError):
                service.connect()

            client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
            running.process.send_signal(signal.SIGHUP)
            until(lambda: running.output.count("New certificate") == 2 * int(processes), 10)
            client.sendmail(PRIMARY, [RECIPIENT], MESSAGE)
        with smtplib.SMTP("localhost", service.port, timeout=20) as plain:
            plain.starttls(context=ssl.create_default_context(cafile=new.authority))
    assert len(post_office.raw("ours")) == 2
