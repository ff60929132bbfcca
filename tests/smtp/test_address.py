import pytest

from smtp.address import (
    AddressError,
    Mailbox,
    normalise_address,
    parse_from,
    parse_path,
    split_address,
)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("User.Name@Example.COM", "user.name@example.com"),
        (" user@example.com ", "user@example.com"),
        ("user@BÜCHER.example", "user@xn--bcher-kva.example"),
        ("user@xn--bcher-kva.example", "user@xn--bcher-kva.example"),
        ('"user"@example.com', "user@example.com"),
        ('"u\\ser"@example.com', "user@example.com"),
        ('"two words"@example.com', '"two words"@example.com'),
        ('"a\\"b"@example.com', '"a\\"b"@example.com'),
        ('"a\\ b"@example.com', '"a b"@example.com'),
        ("o'neil+tag=1@r3---sn.example", "o'neil+tag=1@r3---sn.example"),
        ("root@localhost", "root@localhost"),
    ],
)
def test_an_address_has_one_spelling(written: str, normal: str) -> None:
    assert normalise_address(written) == normal
    assert normalise_address(normal) == normal


@pytest.mark.parametrize(
    "written",
    [
        "",
        "user",
        "@example.com",
        "user@",
        "us er@example.com",
        "us..er@example.com",
        ".user@example.com",
        "user.@example.com",
        '""@example.com',
        'a"b@example.com',
        "a@b@example.com",
        "üser@example.com",
        "user@example..com",
        "user@example.com.",
        "user@-example.com",
        "user@exa_mple.com",
        "user@ⓔxample.com",
        "user@\u212aelvin.example",
        "user@example．com",
        "user@xn--zz--.example",
        "user@[127.0.0.1]",
        "user@exam\u200bple.com",
        "x" * 65 + "@example.com",
        "user@" + "x" * 64 + ".com",
        "user@" + "x.y." * 63 + "com",
        "user\r\n@example.com",
        "user@example.com\nBcc: x",
    ],
)
def test_what_is_no_address_is_refused_with_a_text(written: str) -> None:
    with pytest.raises(AddressError) as caught:
        normalise_address(written)
    assert str(caught.value)


def test_an_address_is_split_at_its_last_at_sign() -> None:
    assert split_address('"a@b"@Example.com') == ('"a@b"', "Example.com")


@pytest.mark.parametrize(
    ("raw", "address", "rest"),
    [
        (b"<>", "", b""),
        (b"<> SIZE=1", "", b"SIZE=1"),
        (b"<User@Example.COM> SIZE=1 BODY=7BIT", "User@example.com", b"SIZE=1 BODY=7BIT"),
        (b'<"two words"@example.com>', '"two words"@example.com', b""),
        (b'<"a>b"@example.com>', '"a>b"@example.com', b""),
        (b"<a@[127.0.0.1]>", "a@[127.0.0.1]", b""),
        ("<Jürgen@BÜCHER.example> SMTPUTF8".encode(), "Jürgen@xn--bcher-kva.example", b"SMTPUTF8"),
        ("<用户@example.com>".encode(), "用户@example.com", b""),
        (b"<a@[ipv6:2001:DB8::1]>", "a@[IPv6:2001:db8::1]", b""),
    ],
)
def test_paths_are_read(raw: bytes, address: str, rest: bytes) -> None:
    assert parse_path(raw) == (address, rest)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a@example.com",
        b"<a@example.com",
        b"<a@example.com>x",
        b"<a>",
        b"<postmaster>",
        b"< a@example.com>",
        b"<@relay.example:a@example.com>",
        b"<a@example.com@example.net>",
        b"<a\xfc@example.com>",
        b"<a@ex\xe4mple.com>",
        "<a\u202e@example.com>".encode(),
        "<a\u00a0b@example.com>".encode(),
        "<a@ⓔxample.com>".encode(),
        "<a@\u212aelvin.example>".encode(),
        "<@relay.example:ä@example.com>".encode(),
        ("<" + "ä" * 33 + "@example.com>").encode(),
        b"<a@[300.0.0.1]>",
        b"<a@[IPv6:zz]>",
        b"<a@[127.1]>",
        b"<" + b"x" * 65 + b"@example.com>",
        b"<a\0@example.com>",
        b"<<a@example.com>>",
    ],
)
def test_bad_paths_are_refused(raw: bytes) -> None:
    with pytest.raises(AddressError):
        parse_path(raw)


# As mail programs write them; the first column says which.
FROM_FIELDS = [
    ("Gmail", " Mina Kato <mina.kato@example.com>", "Mina Kato"),
    ("Outlook", ' "Kato, Mina" <Mina.Kato@Example.com>', "Kato, Mina"),
    ("Outlook, 8-bit name", " =?iso-8859-1?Q?M=EDna_Kato?= <mina.kato@example.com>", "Mína Kato"),
    ("Thunderbird", " =?UTF-8?Q?M=C3=ADna_Kato?= <mina.kato@example.com>", "Mína Kato"),
    (
        "Apple Mail",
        "\r\n =?utf-8?Q?M=C3=ADna?= =?utf-8?B?IEthdG8=?= <mina.kato@example.com>",
        "Mína Kato",
    ),
    ("mutt", " Mina Kato <mina.kato@example.com>", "Mina Kato"),
    ("mail(1)", " mina.kato@example.com (Mina Kato)", "Mina Kato"),
    ("old sendmail", " mina.kato@example.com (Mina (the boss) Kato)", "Mina (the boss) Kato"),
    ("swaks", " <mina.kato@example.com>", ""),
    ("cron", " root (Cron Daemon) <mina.kato@example.com>", "root"),
    ("bare", " mina.kato@example.com", ""),
    ("PHP", "  mina.kato@example.com  ", ""),
    ("nodemailer", ' "mina.kato@example.com" <mina.kato@example.com>', "mina.kato@example.com"),
    ("K-9", " M. Kato <mina.kato@example.com>", "M. Kato"),
    ("GitHub-like", ' "Mina \\"M\\" Kato" <mina.kato@example.com>', 'Mina "M" Kato'),
    ("SMTPUTF8 by mistake", " Mína Kato <mina.kato@example.com>", "Mína Kato"),
    ("Japanese", " =?ISO-2022-JP?B?GyRCMkNGIxsoQg==?= <mina.kato@example.com>", "加藤"),
    ("mixed", ' Dr. "Mina K." Kato <mina.kato@example.com> (work)', "Dr. Mina K. Kato"),
    ("no space", "Mina Kato<mina.kato@example.com>", "Mina Kato"),
    ("spaces inside", " Mina < mina.kato@example.com >", "Mina"),
    ("bad charset", " =?x-none?Q?abc?= <mina.kato@example.com>", "=?x-none?Q?abc?="),
    ("apostrophe", " Mina O'Kato <mina.kato@example.com>", "Mina O'Kato"),
    ("at sign in a quoted name", ' "Mina @ Work" <mina.kato@example.com>', "Mina @ Work"),
    ("control in an encoded word", " =?utf-8?Q?a=0D=0Ab=00c?= <mina.kato@example.com>", "a b c"),
]


@pytest.mark.parametrize(
    ("body", "name"), [row[1:] for row in FROM_FIELDS], ids=[r[0] for r in FROM_FIELDS]
)
def test_from_fields_of_mail_programs_are_read(body: str, name: str) -> None:
    assert parse_from(body.encode()) == Mailbox(name, "mina.kato@example.com")


def test_a_name_in_latin_1_bytes_is_no_obstacle() -> None:
    assert parse_from(b"M\xedna <mina@example.com>") == Mailbox("M\ufffdna", "mina@example.com")


HOSTILE = [
    b"",
    b" ",
    b"Mina",
    b"a@example.com, b@example.com",
    b"a@example.com,",
    b"<a@example.com>, <b@example.com>",
    b"<a@example.com> <b@example.com>",
    b"a@example.com b@example.com",
    b"a@example.com <b@example.com>",
    b"b@evil.example <a@example.com>",
    b"<a@example.com> b@evil.example",
    b"a@example.com\r\nb@example.com",
    b"Team: a@example.com;",
    b"undisclosed-recipients:;",
    b"<@evil.example:a@example.com>",
    b"<a@example.com@evil.example>",
    b"a@evil.example@example.com",
    b"a(comment)@example.com",
    b"a@(comment)example.com",
    b"<a(x)@example.com>",
    b"<(x)a@example.com>",
    b"a @example.com",
    b"a@ example.com",
    b"a@example. com",
    b"=?utf-8?Q?a?=@example.com",
    b"<=?utf-8?Q?a=40evil.example=3E?=@example.com>",
    b'"=?utf-8?Q?a?="@example.com',
    b"=?utf-8?Q?<a@evil.example>?= <a@example.com>",
    b"=?utf-8?Q?a,b?= <a@example.com>",
    b"\xef\xbc\x9ca@example.com\xef\xbc\x9e",
    b"a\xef\xbc\xa0example.com",
    b"\xc3\xa4@example.com",
    b"a@ex\xc3\xa4mple.com",
    b"a@example.com\0",
    b"a\0@example.com",
    b"Mina\0 <a@example.com>",
    b"Mina\x0b <a@example.com>",
    b"Mina\r <a@example.com>",
    b"Mina\n <a@example.com>",
    b"Mina\r\n<a@example.com>",
    b"(a@example.com",
    b"a@example.com)",
    b'"Mina <a@example.com>',
    b'Mina" <a@example.com>',
    b"Mina\\ <a@example.com>",
    b"[Mina] <a@example.com>",
    b"Mina; <a@example.com>",
    b"Kato, Mina <a@example.com>",
    b"<a@example.com",
    b"a@example.com>",
    b"<<a@example.com>>",
    b"<>",
    b"<a@[127.0.0.1]>",
    b"a@example..com",
    b"a..b@example.com",
    b"<a@example.com>;",
    b"(" * 50_000,
]


@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_from_fields_are_refused(body: bytes) -> None:
    with pytest.raises(AddressError):
        parse_from(body)


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("Jürgen@example.com", "jürgen@example.com"),
        ("jürgen@BÜCHER.example", "jürgen@xn--bcher-kva.example"),
        ("ИВАН.2@example.com", "иван.2@example.com"),
        ("用户@example.com", "用户@example.com"),
        ("İ@example.com", "i\u0307@example.com"),
        ("user@example.com", "user@example.com"),
    ],
)
def test_an_address_beyond_ascii_has_one_spelling_too(written: str, normal: str) -> None:
    assert normalise_address(written, smtputf8=True) == normal
    assert normalise_address(normal, smtputf8=True) == normal
    assert parse_from(f"X <{written}>".encode(), smtputf8=True) == Mailbox("X", normal)
    assert parse_from(written.encode(), smtputf8=True).address == normal


@pytest.mark.parametrize("written", ["jürgen@example.com", "user@bücher.example"])
def test_a_from_beyond_ascii_needs_to_be_asked_for(written: str) -> None:
    with pytest.raises(AddressError):
        parse_from(f"X <{written}>".encode())


@pytest.mark.parametrize(
    "local",
    [
        "ju\u0308rgen",  # not normalised
        "\u212aurt",  # the Kelvin sign
        "ｕser",  # full width
        "ⓤser",
        "\ufb01n",  # a ligature
        "\u0301user",  # begins with a mark
        "user.\u0301x",
        "us\u0435r",  # a Cyrillic letter among Latin ones
        "us\u03b5r",  # a Greek one
        "user\u200d",
        "us\u00ader",
        "us\u202eer",
        "us\u00a0er",
        "user\ufffd",
        "user\u2024name",  # one dot leader
        "ü..x",
        ".ü",
        '"ü"',
        "ü" * 33,
    ],
)
def test_what_could_be_taken_for_another_local_part_is_refused(local: str) -> None:
    with pytest.raises(AddressError):
        normalise_address(f"{local}@example.com", smtputf8=True)
    with pytest.raises(AddressError):
        parse_from(f"X <{local}@example.com>".encode(), smtputf8=True)


def test_an_encoded_word_is_no_address_beyond_ascii() -> None:
    with pytest.raises(AddressError):
        parse_from("X <=?utf-8?q?ü?=@example.com>".encode(), smtputf8=True)


def test_a_from_that_is_not_utf_8_has_no_address_beyond_ascii() -> None:
    with pytest.raises(AddressError):
        parse_from("jürgen@example.com".encode("latin-1"), smtputf8=True)


def test_a_comma_in_a_name_is_told_with_what_to_do() -> None:
    with pytest.raises(AddressError) as caught:
        parse_from(b"Kato, Mina <mina@example.com>")
    told = "One address is allowed. A name with ',' in it has to stand between quotes"
    assert str(caught.value) == told
