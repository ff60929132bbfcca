import pytest

from smtp.relay_url import parse_relay_url
from smtp.target import Credential, Security, Server


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("smtp://mx.example", Server("mx.example", 25, Security.NONE)),
        ("smtp+starttls://mx.example", Server("mx.example", 587, Security.STARTTLS)),
        ("smtps://mx.example", Server("mx.example", 465, Security.SSL)),
        ("smtp://[::1]:2525", Server("::1", 2525, Security.NONE)),
    ],
)
def test_each_scheme_has_its_encryption_and_port(text: str, server: Server) -> None:
    assert parse_relay_url(text) == (server, None)


def test_user_and_password_are_unquoted() -> None:
    _server, credential = parse_relay_url("smtps://o%40b.example:p%2Fw%3A%40@mx.example")
    assert credential == Credential("o@b.example", "p/w:@")


@pytest.mark.parametrize(
    "text",
    ["http://u:canary@mx.example", "smtp://", "mx.example", "smtp://u:canary/w@mx.example"],
)
def test_anything_else_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_relay_url(text)
    assert "relay's URL" in str(caught.value)
    assert "canary" not in f"{caught.value!r} {caught.value.__cause__!r}"
