"""Mail programs and libraries that others wrote, on both ports: the body arrives byte for byte."""

import subprocess

import pytest

from tests.submission.programs import (
    PRIMARY,
    RECIPIENT,
    Job,
    aiosmtplib,
    curl,
    msmtp,
    net_smtp,
    nodemailer,
    run,
    s_nail,
    smtplib,
    swaks,
)

PROGRAMS = [swaks, msmtp, curl, s_nail, smtplib, aiosmtplib, nodemailer, net_smtp]
HEADER = (
    f"From: Yuki Tanaka <{PRIMARY}>\r\nTo: {RECIPIENT}\r\nSubject: Grüße\r\n"
    "Date: Tue, 24 Nov 2026 10:00:00 +0000\r\nMessage-ID: <one@yourdomain.com>\r\n"
    "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n\r\n"
)
BODIES = {
    "8-bit": "Grüße aus Köln — 東京\r\n",
    "dots": "first\r\n.\r\n..two\r\n...\r\n. x\r\n.\r\n\r\n.QUIT\r\n",
    "spaces and long lines": f"trailing \r\n\ttab\t\r\n{'x' * 900}\r\n\r\n",
    "1 MB": "".join(f"{number} — .\r\n.{number}\r\n" for number in range(50_000)),
}

pytestmark = pytest.mark.slow


def send(program, office, password, folder, *, implicit=False, body: str) -> subprocess.Popen:
    message = folder / "message.eml"
    message.write_bytes((HEADER + body).encode())
    if program is s_nail:
        # It writes the header itself, and takes a text with the line ends of this system.
        message.write_bytes(body.replace("\r\n", "\n").encode())
    port = office.tls_port if implicit else office.port
    job = Job(port, implicit, office.ca_file, password, message)
    return run(program(job), job)


@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit TLS"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_body_arrives_byte_for_byte(post_office, app_password, tmp_path, program, implicit):
    everything = "".join(body for name, body in BODIES.items() if name != "1 MB")
    for body in (everything, BODIES["1 MB"]):
        post_office.clear()
        done = send(program, post_office, app_password, tmp_path, implicit=implicit, body=body)
        assert done.returncode == 0, done.stdout + done.stderr
        (raw,) = post_office.raw("ours")
        header, arrived = raw.split(b"\r\n\r\n", 1)
        # swaks ends what it sends with one line end of its own.
        assert arrived == body.encode() + b"\r\n" * (program is swaks)
        assert program is s_nail or "Subject: Grüße".encode() in header
        assert post_office.raw("partner") == []
    assert app_password not in post_office.log


@pytest.mark.parametrize("program", [swaks, msmtp, curl])
def test_a_wrong_app_password_is_refused_in_words_that_help(
    post_office, app_password, tmp_path, program
):
    done = send(
        program, post_office, "correct horse battery staple", tmp_path, body=BODIES["8-bit"]
    )
    assert done.returncode != 0
    assert post_office.raw("ours") == []
    if program is not curl:  # which keeps the server's words to itself
        assert b"web password does not work here" in done.stdout + done.stderr
    assert "battery staple" not in post_office.log
