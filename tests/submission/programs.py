"""Mail programs and libraries that others wrote, each told to send one file to our service.

Postfix's smtp-source is none of them: it can neither sign in nor begin with TLS.
"""

import subprocess
from pathlib import Path
from typing import NamedTuple

PRIMARY = "user@yourdomain.com"
RECIPIENT = "claire@customer.example"
SCRIPTS = Path(__file__).parent / "clients"


class Job(NamedTuple):
    """Which file goes where, under which kind of TLS, signed in with what."""

    port: int
    implicit: bool
    ca_file: Path
    password: str
    message: Path


def run(command: list[str], job: Job) -> "subprocess.CompletedProcess[bytes]":
    """Run it with the message on standard input, and all else that a script of ours needs."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(job.message.parent),
        "PORT": str(job.port),
        "IMPLICIT": "1" if job.implicit else "",
        "CA_FILE": str(job.ca_file),
        "PASSWORD": job.password,
        "PRIMARY": PRIMARY,
        "RECIPIENT": RECIPIENT,
        "LANG": "C.UTF-8",
    }
    with job.message.open("rb") as content:
        return subprocess.run(
            command, stdin=content, capture_output=True, timeout=60, env=environment
        )


def swaks(job: Job) -> list[str]:
    return [
        "swaks", "--server", "localhost", "--port", str(job.port),
        "--tls-on-connect" if job.implicit else "--tls",
        "--tls-verify", "--tls-ca-path", str(job.ca_file),
        "--auth", "LOGIN" if job.implicit else "PLAIN", "--auth-user", PRIMARY,
        "--auth-password", job.password, "--from", PRIMARY, "--to", RECIPIENT,
        "--data", f"@{job.message}", "--timeout", "20", "--suppress-data",
    ]  # fmt: skip


def msmtp(job: Job) -> list[str]:
    return [
        "msmtp", "--file=/dev/null", "--host=localhost", f"--port={job.port}", "--tls=on",
        f"--tls-starttls={'off' if job.implicit else 'on'}", f"--tls-trust-file={job.ca_file}",
        "--auth=login" if job.implicit else "--auth=plain", f"--user={PRIMARY}",
        f"--passwordeval=echo {job.password}", f"--from={PRIMARY}", "--timeout=20", RECIPIENT,
    ]  # fmt: skip


def curl(job: Job) -> list[str]:
    return [
        "curl", "--silent", "--show-error", "--max-time", "20", "--ssl-reqd",
        "--cacert", str(job.ca_file), f"smtp{'s' if job.implicit else ''}://localhost:{job.port}",
        "--user", f"{PRIMARY}:{job.password}", "--mail-from", PRIMARY, "--mail-rcpt", RECIPIENT,
        "--upload-file", str(job.message),
    ]  # fmt: skip


def s_nail(job: Job) -> list[str]:
    login = f"{PRIMARY.replace('@', '%40')}:{job.password}"
    settings = [
        "v15-compat", "sendwait", "smtp-auth=login", "encoding=8bit", "sendcharsets=utf-8",
        "ttycharset=utf-8", "tls-ca-no-defaults", f"tls-ca-file={job.ca_file}", f"from={PRIMARY}",
        f"mta=smtp{'s' if job.implicit else ''}://{login}@localhost:{job.port}",
    ]  # fmt: skip
    if not job.implicit:
        settings.append("smtp-use-starttls")
    options = [part for setting in settings for part in ("-S", setting)]
    return ["s-nail", "-:/", *options, "-s", "Grüße", RECIPIENT]


def smtplib(job: Job) -> list[str]:
    return ["/usr/bin/python3", str(SCRIPTS / "smtplib_client.py")]


def aiosmtplib(job: Job) -> list[str]:
    return ["/usr/bin/python3", str(SCRIPTS / "aiosmtplib_client.py")]


def nodemailer(job: Job) -> list[str]:
    return ["node", str(SCRIPTS / "nodemailer_client.js")]


def net_smtp(job: Job) -> list[str]:
    return ["perl", str(SCRIPTS / "net_smtp_client.pl")]
