import asyncio
import threading
import time
from ipaddress import ip_address, ip_network

import pytest

from smtp.egress import LOOK_UP_SECONDS, EgressGuard, ascii_host, is_public
from smtp.failure import FailureKind, SmtpFailure, Step

REFUSED = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "127.255.255.254",
    "0x7f.1",
    "0x7f000001",
    "0X7F.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "2130706433",
    "127.0.0.1.",
    "127.0.0.0x1",
    "127.0.0.1%lo",
    "[127.0.0.1]",
    "[::1]",
    "ⓛocalhost",
    "ｌocalhost",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "0",
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00::1",
    "fe80::1",
    "fe80::1%lo",
    "2606:4700::1111%lo",
    "fec0::1",
    "ff02::1",
    "",
    " ",
    "a b",
    "exa_mple.com",
    "example..com",
    "-example.com",
    "example.com:25",
    "user@example.com",
    "http://example.com",
    "example.com/",
    "example.com\r\n",
    "example.com\0",
    "x" * 64 + ".com",
    "exa\u200bmple.com",
    "no-such-host.test",
]


STRICT = EgressGuard()


def resolve(host: str, guard: EgressGuard = STRICT, port: int = 587) -> list[tuple]:
    return asyncio.run(guard.resolve(host, port))


@pytest.mark.parametrize("host", REFUSED)
def test_what_is_not_public_is_refused_with_one_reason(host: str) -> None:
    with pytest.raises(SmtpFailure) as caught:
        resolve(host)
    assert caught.value.kind is FailureKind.NO_PUBLIC_ADDRESS
    assert caught.value.reply is None


@pytest.mark.parametrize("host", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450::1"])
def test_public_literals_pass(host: str) -> None:
    assert resolve(host) == [(host, 587)]


def test_named_networks_pass_for_names_and_literals() -> None:
    guard = EgressGuard([ip_network("127.0.0.0/8"), ip_network("::1/128")])
    assert ("127.0.0.1", 587) in resolve("localhost", guard)
    assert resolve("127.0.0.1", guard) == [("127.0.0.1", 587)]
    assert resolve("::1", guard) == [("::1", 587)]
    for spelling in ("127.1", "2130706433", "ⓛocalhost", "::ffff:127.0.0.1", "10.0.0.1"):
        with pytest.raises(SmtpFailure):
            resolve(spelling, guard)


@pytest.mark.parametrize("port", [465, 587, 2525])
def test_the_ports_of_submission_pass(port: int) -> None:
    assert resolve("8.8.8.8", port=port) == [("8.8.8.8", port)]


@pytest.mark.parametrize("port", [25, 22, 443, 0, 65_536])
def test_other_ports_are_named_as_such(port: int) -> None:
    with pytest.raises(SmtpFailure) as caught:
        resolve("8.8.8.8", port=port)
    assert caught.value.kind is FailureKind.PORT_NOT_ALLOWED
    assert resolve("8.8.8.8", EgressGuard(ports={25}), 25) == [("8.8.8.8", 25)]


def test_one_private_answer_refuses_all() -> None:
    def mixed(name: str) -> list[str]:
        return ["8.8.8.8", "10.0.0.1"]

    with pytest.raises(SmtpFailure) as caught:
        resolve("mixed.example", EgressGuard(look_up=mixed))
    assert caught.value.kind is FailureKind.NO_PUBLIC_ADDRESS
    allowing = EgressGuard([ip_network("10.0.0.0/8")], look_up=mixed)
    assert resolve("mixed.example", allowing) == [("8.8.8.8", 587), ("10.0.0.1", 587)]


def test_a_silent_name_server_is_waited_for_no_longer_than_laid_down() -> None:
    """And it holds up nobody: neither the end of the loop nor who looks up another name."""
    released = threading.Event()

    def silent(name: str) -> list[str]:
        return ["8.8.8.8"] if name == "answers.example" else [str(released.wait())]

    async def ask() -> float:
        guard = EgressGuard(look_up=silent)
        begun = time.monotonic()
        hanging = [asyncio.create_task(guard.resolve("silent.example", 587)) for _ in range(10)]
        await guard.resolve("answers.example", 587)
        quick = time.monotonic() - begun
        outcomes = await asyncio.gather(*hanging, return_exceptions=True)
        assert {str(outcome) for outcome in outcomes} == {
            str(SmtpFailure(FailureKind.NO_PUBLIC_ADDRESS, Step.RESOLVE))
        }
        return quick

    begun = time.monotonic()
    try:
        assert asyncio.run(ask()) < LOOK_UP_SECONDS / 2
        assert LOOK_UP_SECONDS <= time.monotonic() - begun < LOOK_UP_SECONDS * 1.5
    finally:
        released.set()


def test_host_names_become_a_labels() -> None:
    assert ascii_host("Smtp.Example.COM.") == "smtp.example.com"
    assert ascii_host("bücher.example") == "xn--bcher-kva.example"
    assert not is_public(ip_address("2001:20::1"))
