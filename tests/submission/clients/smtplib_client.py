"""Sends what stands on its standard input by Python's smtplib; told where by the environment."""

import smtplib
import ssl
import sys
from os import environ

tls = ssl.create_default_context(cafile=environ["CA_FILE"])
port = int(environ["PORT"])
if environ["IMPLICIT"]:
    client = smtplib.SMTP_SSL("localhost", port, context=tls, timeout=20)
else:
    client = smtplib.SMTP("localhost", port, timeout=20)
    client.starttls(context=tls)
with client:
    client.login(environ["PRIMARY"], environ["PASSWORD"])
    client.sendmail(
        environ["PRIMARY"],
        [environ["RECIPIENT"]],
        sys.stdin.buffer.read(),
        mail_options=["BODY=8BITMIME"],
    )
