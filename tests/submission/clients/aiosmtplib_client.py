"""Sends what stands on its standard input by aiosmtplib; told where by the environment."""

import asyncio
import sys
from os import environ

import aiosmtplib


async def send() -> None:
    implicit = bool(environ["IMPLICIT"])
    client = aiosmtplib.SMTP(
        hostname="localhost",
        port=int(environ["PORT"]),
        use_tls=implicit,
        start_tls=False,
        cert_bundle=environ["CA_FILE"],
        timeout=20,
    )
    async with client:
        if not implicit:
            await client.starttls(cert_bundle=environ["CA_FILE"])
        await client.login(environ["PRIMARY"], environ["PASSWORD"])
        await client.sendmail(
            environ["PRIMARY"],
            [environ["RECIPIENT"]],
            sys.stdin.buffer.read(),
            mail_options=["BODY=8BITMIME"],
        )


asyncio.run(send())
