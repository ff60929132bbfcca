"""Mail programs that others wrote, on both ports: the body arrives byte for byte."""

import shutil
import subprocess
from pathlib import Path

import pytest

PRIMARY = "user@yourdomain.com"
RECIPIENT = "claire@customer.example"
BODY = f"Grüße aus Köln — 東京\r\n.\r\n..two dots\r\ntrailing space \r\n{'x' * 900}\r\n\r\n"
HEADER = (
    f"From: Yuki Tanaka <{PRIMARY}>\r\nTo: {RECIPIENT}\r\nSubject: Test\r\n"
    "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <one@yourdomain.com>\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\n"
)

pytestmark = pytest.mark.slow


def swaks(office, message: Path, password: str, *, implicit: bool) -> list[str]:
    port = office.tls_port if implicit else office.port
    return [
        "swaks", "--server", "localhost", "--port", str(port),
        "--tls-on-connect" if implicit else "--tls",
        "--tls-verify", "--tls-ca-path", str(office.ca_file),
        "--auth", "LOGIN" if implicit else "PLAIN", "--auth-user", PRIMARY,
        "--auth-password", password, "--from", PRIMARY, "--to", RECIPIENT,
        "--data", f"@{message}", "--timeout", "20",
    ]  # fmt: skip


def msmtp(office, message: Path, password: str, *, implicit: bool) -> list[str]:
    port = office.tls_port if implicit else office.port
    return [
        "msmtp", "--file=/dev/null", "--host=localhost", f"--port={port}", "--tls=on",
        f"--tls-starttls={'off' if implicit else 'on'}", f"--tls-trust-file={office.ca_file}",
        "--auth=login" if implicit else "--auth=plain", f"--user={PRIMARY}",
        f"--passwordeval=echo {password}", f"--from={PRIMARY}", "--timeout=20", RECIPIENT,
    ]  # fmt: skip


def curl(office, message: Path, password: str, *, implicit: bool) -> list[str]:
    port = office.tls_port if implicit else office.port
    return [
        "curl", "--silent", "--show-error", "--max-time", "20", "--ssl-reqd",
        "--cacert", str(office.ca_file), f"smtp{'s' if implicit else ''}://localhost:{port}",
        "--user", f"{PRIMARY}:{password}", "--mail-from", PRIMARY, "--mail-rcpt", RECIPIENT,
        "--upload-file", str(message),
    ]  # fmt: skip


def send(program, office, password, tmp_path, *, implicit=False):
    message = tmp_path / "message.eml"
    message.write_bytes((HEADER + BODY).encode())
    command = program(office, message, password, implicit=implicit)
    with message.open("rb") as content:
        return subprocess.run(command, stdin=content, capture_output=True, timeout=60)


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit TLS"])
@pytest.mark.parametrize("program", [swaks, msmtp, curl])
def test_the_body_arrives_byte_for_byte(post_office, app_password, tmp_path, program, implicit):
    assert shutil.which(program.__name__), f"{program.__name__} is missing: apt-get install it"
    done = send(program, post_office, app_password, tmp_path, implicit=implicit)
    assert done.returncode == 0, done.stdout + done.stderr
    (raw,) = post_office.raw("ours")
    body = raw.split(b"\r\n\r\n", 1)[1]
    # swaks ends what it sends with one line end of its own.
    assert body.rstrip(b"\r\n") == BODY.encode().rstrip(b"\r\n")
    assert post_office.raw("partner") == []
    assert app_password not in post_office.log


@pytest.mark.parametrize("program", [swaks, msmtp, curl])
def test_a_wrong_app_password_is_refused_in_words_that_help(
    post_office, app_password, tmp_path, program
):
    done = send(program, post_office, "correct horse battery staple", tmp_path)
    assert done.returncode != 0
    assert post_office.raw("ours") == []
    if program is not curl:  # which keeps the server's words to itself
        assert b"web password does not work here" in done.stdout + done.stderr
    assert "battery staple" not in post_office.log
