"""What each detector takes for a personal value, and what it leaves alone."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import Final

import pytest

from agent_persistence import ConfigurationError
from agent_persistence.redaction import (
    DETECTORS,
    Cards,
    Credentials,
    Detector,
    Emails,
    Ibans,
    IpAddresses,
    Phones,
    Redaction,
    redact,
    scan,
)
from tests.redaction.figures import found_by

FOUND: Final = {
    "email": (
        "jane.roe+crm@mail.example.org",
        "O'Hara_1@x-y.example",
        "josé@correo.example",
        "дмитрий@почта.рф",
        "info@münchen.example",
        "x@例え.jp",
        '"jane roe"@mail.example',
        "root@[192.0.2.1]",
        "ｊａｎｅ＠ｍａｉｌ．ｅｘａｍｐｌｅ",
        "ja\u200bne@ma\u00adil.exam\u2060ple",
        "jаne@mаil.example",
        "a@b.co",
    ),
    "iban": (
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "gb82-west-1234-5698-7654-32",
        "NO93 8601 1117 947",
        "MT84MALT011000012345MTLCAST001S",
        "ＤＥ８９ ３７０４ ００４４ ０５３２ ０１３０ ００",
    ),
    "card": (
        "4111111111111111",
        "4111 1111 1111 1111",
        "5555-5555-5555-4444",
        "3782 822463 10005",
        "6011000990139424",
        "3530111333300000",
        "4222222222222",
        "٤١١١١١١١١١١١١١١١",
        "4111\u00a01111\u00a01111\u00a01111",
    ),
    "ip": (
        "203.0.113.77",
        "192.168.001.001",
        "2001:db8::8a2e:370:7334",
        "2001:0db8:85a3:0000:0000:8a2e:0370:7334",
        "::ffff:192.0.2.128",
        "fe80::1",
    ),
    "phone": (
        "+442079460112",
        "+44 (0)20 7946-0112",
        "(202) 555-0129",
        "202.555.0108",
        "0044 20 7946 0112",
        "030 23125 418",
        "01 99 00 45 10",
        "09012345678",
        "+1-202-555-0172 ext. 4",
        "＋４４ ２０ ７９４６ ０１１２",
        "+44‑20‑7946‑0112",
        "01.99.00.45.10",
        "+34 972 807 000",
        "+55 96 2090-6267",
        "090-2062-8377",
    ),
}
JSON_WEB_TOKEN: Final = "eyJ" + "hbGciOiJub25lIn0" + ".eyJ" + "zdWIiOiJmYWtlIn0" + "." + "ZmFrZQ"


def _private_key(sort: str, body: str) -> str:
    return f"-----BEGIN {sort}" + f"PRIVATE KEY-----{body}-----END {sort}" + "PRIVATE KEY-----"


FOUND_CREDENTIALS: Final = (
    JSON_WEB_TOKEN,
    "sb_" + "secret_FAKE_fake0000",
    "sk-" + "FAKEfake" * 4,
    "sk-" + "a" * 48,
    "sk-" + "proj-FAKE_fake-0000-fake",
    "sk-" + "ant-api03-" + "fake" * 8,
    "AKI" + "A" + "FAKE" * 4,
    "ASI" + "A" + "FAKE0000" * 2,
    *("gh" + kind + "_" + "fake" * 9 for kind in "posur"),
    "github_" + "pat_" + "FAKE_0000_fake_0000_fake",
    *("xox" + kind + "-000000000000-fakefake" for kind in "baprs"),
    _private_key("", "\nZmFrZQ==\n"),
    _private_key("RSA ", "\nProc-Type: 4,ENCRYPTED\n\nZmFrZQ==\n"),
    _private_key("OPENSSH ", "\\n" + "ZmFr" * 16 + "\\nZmFrZQ==\\n"),
    _private_key("EC ", "\n" + "ZmFr" * 16).partition("-----END")[0].rstrip(),
)
"""Put together here, so that no scanner of secrets takes this file for a leak."""
ASSIGNED: Final = (
    ("password: ", "hunter2", ""),
    ("Passwort=", "Geheim", ""),
    ("pw: ", "Sommer2024!", " ok"),
    ("api_key=", "0123456789abcdef", "&page=2"),
    ("DB_PASSWORD='", "correct horse battery", "'"),
    ('{"password": "', "hunter", '", "user": "jane"}'),
    ('{\\"apiKey\\": \\"', "FAKEfake00", '\\"}'),
    ("client-secret : ", "FAKE-fake-0000", "\n"),
    ("X-Api-Key: ", "0123456789abcdef", "\r\nHost: x.example"),
    ("<password>", "hunter", "</password>"),
    ("--db-password ", "hunter2", " --verbose"),
    ("Server=x;Password=", "a&b;c1", ";Timeout=3"),
    ("the password is ", "hunter2", ", keep it"),
    ("Das Passwort lautet ", "Sommer2024", "."),
    ("Mot de passe : ", "soleil99", ""),
    ("パスワードは ", "hunter22", " です"),
    ("비밀번호: ", "hunter22", ""),
    ("Authorization: Bearer ", JSON_WEB_TOKEN, ""),
    ("Authorization: Basic ", "ZmFrZTpmYWtl", ""),
    ("bearer ", "0123456789abcdef", " was sent"),
    ("postgresql://", "user:pw@host", "/app"),
    ("postgresql+asyncpg://", "jane:p@ss/w#rd@db.example:5432", "/app?ssl=on"),
    ("mongodb://", "u:pw@a.example:1,b.example:2", "/app"),
    ("redis://", ":pw@10.0.0.1:6379", "/0"),
    ("https://", "jane:pw@x.example", "/path?to=a"),
)
"""What stands before a credential, the credential, and what stands after it."""
ACCOUNTS: Final = """
    AD1200012030200359100100 AE070331234567890123456 AL47212110090000000235698741 AT611904300234573201
    AZ21NABZ00000000137010001944 BA391290079401028494 BE68539007547034 BG80BNBG96611020345678
    BH67BMAG00001299123456 BI4210000100010000332045181 BR1800360305000010009795493C1
    BY13NBRB3600900000002Z00AB00 CH9300762011623852957 CR05015202001026284066 CY17002001280000001200527600
    CZ6508000000192000145399 DE89370400440532013000 DJ2100010000000154000100186 DK5000400440116243
    DO28BAGR00000001212453611324 EE382200221020145685 EG380019000500000000263180002 ES9121000418450200051332
    FI2112345600000785 FK88SC123456789012 FO6264600001631634 FR1420041010050500013M02606 GB29NWBK60161331926819
    GE29NB0000000101904917 GI75NWBK000000007099453 GL8964710001000206 GR1601101250000000012300695
    GT82TRAJ01020000001210029690 HN88CABF00000000000250005469 HR1210010051863000160 HU42117730161111101800000000
    IE29AIBK93115212345678 IL620108000000099999999 IQ98NBIQ850123456789012 IS140159260076545510730339
    IT60X0542811101000000123456 JO94CBJO0010000000000131000302 KW81CBKU0000000000001234560101
    KZ86125KZT5004100100 LB62099900000001001901229114 LC55HEMM000100010012001200023015 LI21088100002324013AA
    LT121000011101001000 LU280019400644750000 LV80BANK0000435195001 LY83002048000020100120361
    MC5811222000010123456789030 MD24AG000225100013104168 ME25505000012345678951 MK07250120000058984
    MN121234123456789123 MR1300020001010000123456753 MT84MALT011000012345MTLCAST001S
    MU17BOMM0101101030300200000MUR NI45BAPR00000013000003558124 NL91ABNA0417164300 NO9386011117947
    OM810180000001299123456 PK36SCBL0000001123456702 PL61109010140000071219812874 PS92PALS000000000400123456702
    PT50000201231234567890154 QA58DOHB00001234567890ABCDEFG RO49AAAA1B31007593840000 RS35260005601001611379
    RU0304452522540817810538091310419 SA0380000000608010167519 SC18SSCB11010000000000001497USD
    SD2129010501234001 SE4550000000058398257466 SI56263300012039086 SK3112000000198742637541
    SM86U0322509800000000270100 SO211000001001000100141 ST23000100010051845310146 SV62CENR00000000000000700025
    TL380080012345678910157 TN5910006035183598478831 TR330006100519786457841326 UA213223130000026007233566001
    VA59001123000012345678 VG96VPVG0000012345678901 XK051212012345678906 YE15CBYE0001018861234567891234
"""
"""The examples of SWIFT's registry of IBANs, one of each country."""
SEPARATORS: Final = (" ", "  ", "\u00a0", "\u202f", "\t", ".", "/", "-", "_", " - ", "·", ", ", "\n", "\r\n> ", "-\n")
LEFT_ALONE: Final = {
    "email": ("@jane", "jane@", "jane@localhost", "logo@2x.png", "pkg@1.2.3", "a @ b.example", "mail: @ example.org"),
    "iban": (
        "DE88370400440532013000",
        "DE8937040044053201300",
        "XX89370400440532013000",
        "ADE89370400440532013000X",
        "de 89 3704 0044 0532 0130 00",
        "SO85722 left on 2019/05/20 at 05:07:51",
    ),
    "card": (
        "4111111111111112",
        "1234567812345670",
        "41111111111111110000000",
        "0.4111111111111111",
        "12.4222222222222",
        "IMEI 352099001761481",
        "EAN 4006381333931",
    ),
    "ip": (
        "256.1.1.1",
        "1.2.3",
        "1.2.3.4.5",
        "version 1.2.3.4",
        "v10.0.19041.1",
        "12:30:45",
        "00:1a:2b:3c:4d:5e",
        "std::vector",
        "a::b",
        "::1",
        "::",
    ),
    "phone": (
        "2026-11-23",
        "23.11.2026",
        "20261123T101500",
        "10:15:00",
        "1700000000",
        "1700000000000",
        "INV-2026-0412",
        "#123456789",
        "123e4567-e89b-12d3-a456-426614174000",
        "$1,234,567.00",
        "1.250.000,00 €",
        "1 000 000",
        "2024/25",
        "2019-2026",
        "ISBN 978-3-16-148410-0",
        "62.0066825",
        "1920x1080",
        "AB-26-1182",
        "192.0.2.1",
        "https://shop.example/p/4711234567",
        "12345678",
        "10.0.19045.3803",
        "Windows 10.0.22631.4317-rc.1",
        "Chrome/120.0.6099.225",
        "5.15.0-91.101",
        "libssl.so.1.1.14502",
        "1.3.6.1.4.1.311.21.20",
        "version 202.555.0108",
        "Signal version 7.12.4033.21 is out",
        "2026-11-23/2026-11-30",
        "23.11.2026-30.11.2026",
        "23 11 2026",
        "2026 11 23",
        "23. 11. 2026",
        "2026-11-23-10-15-30",
        "order no. 202-555-0108",
        "Rechnung 2026-0412-7788",
        "order 025-9813701-3855317",
    ),
    "credential": (
        "the password was changed",
        "Forgot your password? Reset it",
        "password: required field",
        "Password: must be at least 8 characters",
        "Passwort: vergessen?",
        '{"password": ["This field is required."]}',
        '{"password": "must be at least 8 characters"}',
        "password: str",
        "token: Optional[str] = None",
        "password=password",
        "password=os.environ['DB_PASSWORD']",
        "password=settings.db_password",
        "password = getpass.getpass()",
        "api_key=$API_KEY",
        "api_key=${API_KEY}",
        "api_key=<your key>",
        "password: ********",
        "max_tokens=409600000",
        "tokens: 123456789",
        "token: https://wiki.example/tokens1",
        "the token is expired",
        "token expires: 2026-11-23T10:15:00Z",
        "password to LinkedIn",
        "secret santa: Bob",
        "bearer token required",
        "Bearer authentication",
        "sk-learn",
        "sk-learn-contrib-with-a-long-name-of-words",
        "risk-" + "a1b2c3d4" * 6,
        "sb_publishable_0123456789abcdef",
        "api_key=sb_publishable_0123456789abcdef",
        "AKIA",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "123e4567-e89b-12d3-a456-426614174000",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUA",
        "eyJhbGciOiJub25lIn0",
        "-----BEGIN CERTIFICATE-----\n" + "ZmFr" * 16,
        "-----BEGIN PRIVATE KEY----- is how a key begins",
        "postgresql://localhost:5432/app",
        "postgresql://user@host/app",
        "postgresql://user:***@host/app",
        "postgresql://user:${PW}@host/app",
        "ssh://git@github.com/x/y.git",
        "https://x.example:8443/path?to=jane@mail.example",
    ),
}
BY_KIND: Final[dict[str, Detector]] = {
    "email": Emails(),
    "iban": Ibans(),
    "card": Cards(),
    "ip": IpAddresses(),
    "phone": Phones(),
    "credential": Credentials(),
}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((kind, value) for kind, values in FOUND.items() for value in values),
        *(("credential", value) for value in FOUND_CREDENTIALS),
    ],
)
def test_a_value_is_found_as_a_whole(kind: str, value: str) -> None:
    """In any of its notations, also next to Japanese, which sets no blanks."""
    for before, after in (("", ""), ("see ", ", ok"), ("(", ")"), ("連絡先は", "です。"), ("it is: ", ".\n")):
        found = found_by([BY_KIND[kind]], before + value + after)
        assert [(kind, before + value)] == [(f.kind, (before + value + after)[: f.end]) for f in found]
        assert found[0].start == len(before)


@pytest.mark.parametrize(("before", "value", "after"), ASSIGNED)
def test_a_credential_is_found_by_what_stands_before_it(before: str, value: str, after: str) -> None:
    """The value alone: its name, its quotes and the scheme of a URL stay."""
    text = before + value + after
    assert [text[f.start : f.end] for f in found_by([Credentials()], text)] == [value]


@pytest.mark.parametrize("name", ["password", "api_key", "Passwort"])
def test_the_name_of_a_column_or_a_key_makes_its_value_a_credential(name: str) -> None:
    """As it does in a text."""
    redaction = Redaction({"clients": {name: scan(), "custom": scan()}})
    row = redaction.row("clients", {name: "hunter2hunter2", "custom": {name: "hunter2hunter2", "city": "hunter2"}})
    assert row == {name: "[CREDENTIAL]", "custom": {name: "[CREDENTIAL]", "city": "hunter2"}}


def test_credentials_are_one_only_if_they_are_the_same_to_the_letter() -> None:
    """Case counts, unlike in an address."""
    redactor = Redaction({}).session()
    assert redactor.text("pw=Fake0001 pw=fake0001 pw=Fake0001") == (
        "pw=[CREDENTIAL_1] pw=[CREDENTIAL_2] pw=[CREDENTIAL_1]"
    )


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in LEFT_ALONE.items() for text in texts])
def test_what_only_looks_like_a_value_is_left_alone(kind: str, text: str) -> None:
    """Dates, times, codes, amounts, versions, wrong check digits and the like."""
    for around in ("{}", "see {}, ok", "({})"):
        assert not found_by([BY_KIND[kind]], around.format(text))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("電話はjane@mail.exampleです。", "jane@mail.example"),
        ("メールは佐藤_01@例え.jpまで", "メールは佐藤_01@例え.jp"),
        ("संपर्कjane@mail.example।", "jane@mail.example"),
        ("김철수@예시.한국으로 보내", "김철수@예시.한국으로"),
        ("用户@例子.公司and more", "用户@例子.公司"),
        ("وابريد:محمد@مثال.السعودية،", "محمد@مثال.السعودية"),
    ],
)
def test_an_email_address_ends_where_another_script_begins(text: str, found: str) -> None:
    """What is written on to it in the same script is taken too: nothing tells where it would end."""
    assert [text[f.start : f.end] for f in found_by([Emails()], text)] == [found]


@pytest.mark.parametrize("account", ACCOUNTS.split(), ids=lambda account: account[:2])
def test_an_iban_of_every_country_is_found_with_any_separators(account: str) -> None:
    """Between groups of four, of two, and between the country and the check digits."""
    for separator in SEPARATORS:
        for size in (2, 4, 32):
            written = separator.join(account[i : i + size] for i in range(0, len(account), size))
            assert [(7, 7 + len(written))] == [(f.start, f.end) for f in found_by([Ibans()], f"Konto: {written} bitte")]


@pytest.mark.parametrize("separator", SEPARATORS[:-3])
@pytest.mark.parametrize(
    "groups", ["4111 1111 1111 1111", "3782 822463 10005", "3056 930902 5904", "6304 0000 0000 0000 000"]
)
def test_a_card_is_found_with_any_separators(groups: str, separator: str) -> None:
    """The same ones between all groups, and another one between the last two."""
    for last in (separator, " "):
        card = last.join(groups.replace(" ", separator).rsplit(separator, 1))
        assert [(5, 5 + len(card))] == [(f.start, f.end) for f in found_by([Cards()], f"Card {card} was declined")]


@pytest.mark.parametrize("card", ["4111111111111111", "4111 1111 1111 1111", "3782-822463-10005"])
@pytest.mark.parametrize("line_break", SEPARATORS[-3:])
def test_a_card_is_found_that_a_line_break_cuts_anywhere(card: str, line_break: str) -> None:
    """One break: a column of numbers is no card."""
    for place in range(1, len(card)):
        text = f"Card {card[:place]}{line_break}{card[place:]} was declined"
        assert [(f.start, f.end) for f in found_by([Cards()], text)] == [(5, len(text) - len(" was declined"))]
    assert not found_by([Cards()], line_break.join(["4111", "1111", "1111", "1111"]))


@pytest.mark.parametrize("cue", ["Tel. {}", "call me: {}", "Телефон {}", "電話は{}", "handy {}"])
def test_bare_digits_are_a_phone_number_after_a_word_that_says_so(cue: str) -> None:
    """Without one they are not."""
    text = cue.format("79460112")
    assert [text[f.start : f.end] for f in found_by([Phones()], text)] == ["79460112"]
    assert not found_by([Phones()], "79460112")


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("555-123-4567 555-987-6543", 2),
        ("(202) 555-0129 (202) 555-0130", 2),
        ("01 99 00 45 10 01 99 00 45 11 01 99 00 45 12", 3),
        ("202.555.0108/202.555.0109", 2),
        ("Tel. 79460112 79460113, 79460114 or 79460115", 4),
        ("+44 20 7946 0112 030 23125 418", 2),
    ],
)
def test_numbers_in_a_row_are_found_one_by_one(text: str, count: int) -> None:
    """Each with a label of its own, and no digit of any is left."""
    shown = Redaction({}, detectors=[Phones()]).session().text(text)
    assert re.findall(r"\d{2,}", shown) == []
    assert shown.count("[PHONE_") == count


def test_bare_digits_after_a_number_count_if_they_are_as_many() -> None:
    """An order's number after a phone number is none."""
    assert len(found_by([Phones()], "call 79460112, 7946011")) == 2
    assert len(found_by([Phones()], "+44 20 7946 0112, 79460113")) == 1


def test_with_regions_bare_digits_are_a_phone_number_where_they_are_valid() -> None:
    """Eleven digits of a Chinese mobile number, which nothing else tells from another number."""
    assert not found_by([Phones()], "15098259791")
    assert not found_by([Phones(regions=["FR"])], "15098259791")
    assert found_by([Phones(regions=["FR", "CN"])], "15098259791")


@pytest.mark.parametrize("regions", ["DE", ["de"], ["Germany"], [1], [None]], ids=str)
def test_regions_that_are_none_are_refused(regions: list[str]) -> None:
    """A misspelt option does not quietly find less."""
    with pytest.raises(ConfigurationError, match="regions"):
        Phones(regions=regions)


def test_regions_without_the_extra_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(ConfigurationError, match=r"agent-persistence\[redaction\]"):
        Phones(regions=["DE"])


def test_of_findings_that_overlap_the_longest_gives_the_kind_and_all_is_covered() -> None:
    """A card's digits inside an address are part of the address."""
    redaction = Redaction({}, detectors=DETECTORS)
    assert redaction.session().text("to 4111111111111111@mail.example now") == "to [EMAIL_1] now"
    assert redaction.session().text("DE89 3704 0044 0532 0130 00") == "[IBAN_1]"
    assert redaction.session().text("+4111111111111111") != "+4111111111111111"


UNITS: Final = {
    "digits": "1",
    "groups": "1 ",
    "dashes": "12-",
    "fours": "4111 ",
    "cards": "4111 1111 1111 1111 ",
    "locals": "a.",
    "ats": "a@",
    "dots": "x@y.",
    "quotes": '"a',
    "colons": "ab:",
    "pluses": "+1 ",
    "ibans": "DE89 ",
    "codes": "a-",
    "amounts": "1,000",
    "currency": "€1 000",
    "years": "2024-",
    "hashes": "#1",
    "urls": "http://",
    "uuids": "00000000-0000-",
    "cues": "tel ",
    "versions": "version 1.",
    "letters": "a",
    "passwords": "password=",
    "questions": "password ",
    "quoted": "token='",
    "hidden": "password=${",
    "tokens": "eyJhbGciOi-",
    "keys": "sk-a-",
    "long keys": "sk-" + "ant-",
    "private keys": "-----BEGIN " + "PRIVATE KEY-----",
    "base64": "-----BEGIN " + "PRIVATE KEY-----\n" + "ZmFr" * 8,
    "logins": "x://a:b@",
    "ports": "x://a:",
    "schemes": "a+",
    "headers": "Authorization: ",
    "marks": "कि@",
    "letters of two scripts": "aअ",
    "breaks": "1\n",
    "countries": "D E ",
}


def _time_s(call: Callable[[], object], *, calls: int) -> float:
    """The processor time of the fastest call."""
    taken = []
    for _ in range(calls):
        start = time.process_time()
        call()
        taken.append(time.process_time() - start)
    return min(taken)


@pytest.mark.parametrize("kind", BY_KIND)
@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_time_grows_with_the_length_of_a_hostile_text_and_not_with_its_square(kind: str, unit: str) -> None:
    """A text of 1 MB takes about 16 times as long as one of 64 KB; with backtracking it would be 256 times."""

    def find(length: int) -> Callable[[], object]:
        text = unit * (length // len(unit)) + "!a"
        return lambda: list(BY_KIND[kind].find(text))

    assert _time_s(find(2**20), calls=1) < 64 * max(_time_s(find(2**16), calls=3), 0.002)


def test_time_of_a_session_grows_with_the_length_of_a_text_too() -> None:
    """With thousands of known names that begin alike, labels, and something to replace in every word."""
    redaction = Redaction({"leads": {"name": redact("person")}})
    redactor = redaction.session()
    redactor.learn("leads", [{"name": f"Anna{number}"} for number in range(2000)])

    def redacted(length: int) -> Callable[[], object]:
        text = "Anna Anna7 a@b.co [EMAIL_1] [EMAIL_ Ａ" * (length // 40)
        return lambda: redactor.text(text)

    assert _time_s(redacted(2**17), calls=1) < 64 * max(_time_s(redacted(2**13), calls=3), 0.002)


def test_backtracking_would_be_noticed() -> None:
    """Control: a pattern of quadratic time fails the comparison."""
    backtracking = re.compile(r"(?:a+b)")

    def find(length: int) -> Callable[[], object]:
        return lambda: backtracking.search("a" * length)

    assert _time_s(find(2**14), calls=1) > 64 * _time_s(find(2**10), calls=3)
