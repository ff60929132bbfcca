"""When a copy of `make up` is ready, and what it then tells people and programs."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from config.certificates import Certificates
from config.children import StartError
from config.demo_organisation import ACCOUNTS, PARTNER_ADDRESS
from config.embedded import Engines
from config.installation import HOST, LOOPBACK, Installation, write_private

SECONDS = 60
ANSWER_SECONDS = 2


async def wait_until(name: str, answers: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again; raises StartError after SECONDS without a yes."""
    try:
        async with asyncio.timeout(SECONDS):
            while not await answers():  # noqa: ASYNC110 another process decides
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise StartError(f"{name} does not answer: its lines above say why.") from None


async def wait_for_services(installation: Installation, certificates: Certificates) -> None:
    """Until every door of the installation answers, each in its own protocol."""
    tls = ssl.create_default_context(cafile=certificates.authority)
    port = installation.ports

    async def web() -> bool:
        request = b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"
        return b" 200 " in await _first_line(port["OUTGATE_HTTP_PORT"], request)

    async def greets(variable: str, tls: ssl.SSLContext | None = None) -> bool:
        return (await _first_line(port[variable], tls=tls)).startswith(b"220")

    await wait_until("web", web)
    await wait_until("submission", lambda: greets("OUTGATE_SUBMISSION_PORT"))
    await wait_until("submission", lambda: greets("OUTGATE_SUBMISSIONS_PORT", tls))
    await wait_until("demo_mail", lambda: greets("OUTGATE_DEMO_OURS_PORT"))
    await wait_until("demo_mail", lambda: greets("OUTGATE_DEMO_PARTNER_PORT"))


async def _first_line(port: int, request: bytes = b"", tls: ssl.SSLContext | None = None) -> bytes:
    """What the server says first, empty while it does not answer."""
    name = HOST if tls else None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(
                LOOPBACK, port, ssl=tls, server_hostname=name
            )
            writer.write(request)
            line = await reader.readline()
            writer.close()
            return line
    except OSError:
        return b""


def write_demo_json(installation: Installation, certificates: Certificates) -> None:
    content = describe_demo(installation, certificates)
    write_private(installation.demo_json, json.dumps(content, indent=2) + "\n")


def describe_demo(installation: Installation, certificates: Certificates) -> dict[str, Any]:
    """The content of `demo.json`: all that a program needs to use the demo."""
    port = installation.ports
    sign_ins = json.loads(installation.sign_ins.read_text())
    return {
        "base_url": installation.base_url,
        "ca_file": str(certificates.authority),
        "submission": {"host": HOST, "port": port["OUTGATE_SUBMISSION_PORT"]},
        "submissions": {"host": HOST, "port": port["OUTGATE_SUBMISSIONS_PORT"]},
        "accounts": [
            {
                "role": account.role,
                "unit": account.unit,
                "address": account.address,
                **sign_ins[account.address],
            }
            for account in ACCOUNTS
            if account.address in sign_ins
        ],
        "partner": {
            "address": PARTNER_ADDRESS,
            "host": HOST,
            "port": port["OUTGATE_DEMO_PARTNER_PORT"],
            "security": "starttls",
            "username": PARTNER_ADDRESS,
            "password": installation.secrets().partner_password,
        },
        "maildirs": {name: str(installation.maildir(name)) for name in ("ours", "partner")},
    }


def ready_lines(
    installation: Installation, engines: Engines, certificates: Certificates
) -> list[str]:
    """What the terminal shows once everything answers, the demo's sign-ins included."""
    demo = describe_demo(installation, certificates)
    partner = demo["partner"]
    return [
        f"Web pages    {demo['base_url']}",
        f"Codes        {demo['base_url']}/demo/codes/ (for administrators and support)",
        f"Submission   {HOST}, port {demo['submission']['port']} (STARTTLS)",
        f"             {HOST}, port {demo['submissions']['port']} (TLS)",
        f"Trust        {demo['ca_file']}",
        *(
            f"Sign in      {account['address']}  web {account['web_password']}  "
            f"mail {account['app_password']}  ({account['role']})"
            for account in demo["accounts"]
        ),
        f"Partner      {partner['host']}, port {partner['port']} (STARTTLS)",
        f"             {partner['username']}  password {partner['password']}",
        *(f"Captured     {maildir}" for maildir in demo["maildirs"].values()),
        f"Database     {engines.home}",
        f"All of this  {installation.demo_json}",
    ]
