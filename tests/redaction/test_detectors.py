"""What each detector takes for a personal value, and what it leaves alone."""

from __future__ import annotations

import re
import sys
from typing import Final

import pytest

from agent_persistence import ConfigurationError
from agent_persistence.redaction import (
    DETECTORS,
    Cards,
    Detector,
    Emails,
    Ibans,
    IpAddresses,
    Phones,
    Redaction,
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
SEPARATORS: Final = (" ", "  ", "\u00a0", "\u202f", "\t", ".", "/", "-", "_", " - ", "·", "\n", "\r\n> ", "-\n")
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
        "4111, 1111, 1111, 1111",
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
}

BY_KIND: Final[dict[str, Detector]] = {
    "email": Emails(),
    "iban": Ibans(),
    "card": Cards(),
    "ip": IpAddresses(),
    "phone": Phones(),
}


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, values in FOUND.items() for value in values])
def test_a_value_is_found_as_a_whole(kind: str, value: str) -> None:
    """In any of its notations, also next to Japanese, which sets no blanks."""
    for before, after in (("", ""), ("see ", ", ok"), ("(", ")"), ("連絡先は", "です。"), ("it is: ", ".\n")):
        found = found_by([BY_KIND[kind]], before + value + after)
        assert [(kind, before + value)] == [(f.kind, (before + value + after)[: f.end]) for f in found]
        assert found[0].start == len(before)


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
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[redaction\]"):
        Phones(regions=["DE"])


def test_of_findings_that_overlap_the_longest_gives_the_kind_and_all_is_covered() -> None:
    """A card's digits inside an address are part of the address."""
    redaction = Redaction({}, detectors=DETECTORS)
    assert redaction.session().text("to 4111111111111111@mail.example now") == "to [EMAIL_1] now"
    assert redaction.session().text("DE89 3704 0044 0532 0130 00") == "[IBAN_1]"
    assert redaction.session().text("+4111111111111111") != "+4111111111111111"
