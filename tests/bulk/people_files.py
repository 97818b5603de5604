"""Files as people have them, made here: exports of HubSpot, Salesforce, Apollo, LinkedIn, Excel, pandas, psql, others.

Each is to be imported into the leads or clients of the default schema with what a look at it finds, or to be refused
with the option that helps.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape

ADA = {"email": "ada@a.example", "first_name": "Ada", "last_name": "Lovelace"}
BOB = {"email": "bob@b.example", "first_name": "Bob", "last_name": "Müller"}


@dataclass(frozen=True)
class PeopleFile:
    """A file, and what becomes of it: the rows with these values, so many rejects, or a refusal with these words."""

    name: str
    content: bytes
    rows: Sequence[Mapping[str, Any]] = ()
    rejects: Sequence[str] = ()
    refused: str = ""
    table: str = "leads"
    given: Mapping[str, Any] = field(default_factory=dict)
    finds: Sequence[str] = ()
    """The options that the look has to find, no others."""


def workbook(rows: Sequence[Sequence[Any]], *, sheets: Sequence[str] = ("Sheet1",)) -> bytes:
    """An xlsx file with the rows in its last sheet; the others hold a word. Dates are (serial day, "date")."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in _workbook_parts(rows, sheets).items():
            archive.writestr(name, '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>' + text)
    return packed.getvalue()


def _workbook_parts(rows: Sequence[Sequence[Any]], sheets: Sequence[str]) -> dict[str, str]:
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    kinds = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    numbers = range(1, len(sheets) + 1)
    listed = "".join(f'<sheet name="{escape(sheets[n - 1])}" sheetId="{n}" r:id="rId{n}"/>' for n in numbers)
    links = "".join(
        f'<Relationship Id="rId{n}" Type="{kinds}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n in numbers
    )
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{office}.sheet.main+xml"/>'
        f'<Override PartName="/xl/styles.xml" ContentType="{office}.styles+xml"/>'
        + "".join(
            f'<Override PartName="/xl/worksheets/sheet{n}.xml" ContentType="{office}.worksheet+xml"/>' for n in numbers
        )
        + "</Types>",
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="rId1"'
        f' Type="{kinds}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{kinds}"><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">{links}'
        f'<Relationship Id="rId99" Type="{kinds}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="14" applyNumberFormat="1"/></cellXfs></styleSheet>',
    }
    for number in numbers:
        shown = rows if number == len(sheets) else [["Read me"]]
        lines = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in shown)
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>{lines}</sheetData></worksheet>'
        )
    return parts


def _cell(value: Any) -> str:
    match value:
        case None:
            return "<c/>"
        case bool():
            return f'<c t="b"><v>{int(value)}</v></c>'
        case int() | float():
            return f"<c><v>{value}</v></c>"
        case (day, "date"):
            return f'<c s="1"><v>{day}</v></c>'
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(str(value))}</t></is></c>'


def text(content: str, encoding: str = "utf-8") -> bytes:
    """The text with line feeds, encoded."""
    return content.encode(encoding)


def windows(content: str, encoding: str = "utf-8") -> bytes:
    """The text with the line ends of Windows."""
    return content.replace("\n", "\r\n").encode(encoding)


SEMICOLONS = "email;first_name;last_name\nada@a.example;Ada;Lovelace\nbob@b.example;Bob;Müller\n"
COMMAS = SEMICOLONS.replace(";", ",")
HUBSPOT = (
    "Record ID,First Name,Last Name,Email,Phone Number,Lead Status,HubSpot Score,Create Date,Associated Company\n"
    '"101","Ada","Lovelace","ada@a.example","+44 20 1","OPEN","12.0","2026-01-31 09:15","Engines, Ltd"\n'
    '"102","Bob","Müller","bob@b.example","","","","2026-02-28 17:00",""\n'
)
SALESFORCE = (
    '"First Name","Last Name","Email","Company / Account","Lead Status","Created Date"\n'
    '"Ada","Lovelace","ada@a.example","Engines","Open - Not Contacted","1/31/2026"\n'
    '"Bob","Müller","bob@b.example","","Working","2/28/2026"\n'
    "\n"
    '"All Leads"\n'
    '"Copyright (c) 2000-2026 Example, Inc. All rights reserved."\n'
    '"Confidential Information - Do Not Distribute"\n'
)
APOLLO = (
    "First Name,Last Name,Title,Company,Company Name for Emails,Email,Email Status,# Employees,Corporate Phone,Stage\n"
    "Ada,Lovelace,CTO,Engines,Engines,ada@a.example,Verified,12,'+44 20 1,Cold\n"
    "Bob,Müller,CEO,,,bob@b.example,Guessed,,,New\n"
)
LINKEDIN = (
    "Notes:\n"
    '"When exporting your connection data, you may notice that some of the email addresses are missing."\n'
    "\n"
    "First Name,Last Name,URL,Email Address,Company,Position,Connected On\n"
    "Ada,Lovelace,https://x.example/in/ada,ada@a.example,Engines,CTO,31 Jan 2026\n"
    "Bob,Müller,https://x.example/in/bob,bob@b.example,,CEO,28 Feb 2026\n"
)
PANDAS = (
    ",email,first_name,last_name,score,is_qualified\n"
    "0,ada@a.example,Ada,Lovelace,12.0,True\n"
    "1,bob@b.example,Bob,Müller,NaN,False\n"
)
OUTLOOK = (
    "Vorname;Nachname;E-Mail-Adresse;Firma;Telefon\n"
    "Ada;Lovelace;ada@a.example;Engines;020 1\n"
    "Bob;Müller;bob@b.example;;\n"
)
PSQL = (
    "     email     | first_name | last_name \n"
    "---------------+------------+-----------\n"
    " ada@a.example | Ada        | Lovelace\n"
    " bob@b.example | Bob        | Müller\n"
    "(2 rows)\n"
)
PEOPLE = [ADA, BOB]
CLIENTS = [{"name": "Acme", "budget": 1234.5}, {"name": "Beta", "budget": 12}]
SHEET = [["email", "first_name", "last_name"], *([r["email"], r["first_name"], r["last_name"]] for r in PEOPLE)]
LINES = "".join(json.dumps(row) + "\n" for row in PEOPLE)

FILES = [
    # What fits as it is
    PeopleFile("plain.csv", text(COMMAS), PEOPLE),
    PeopleFile("marked.csv", text(COMMAS, "utf-8-sig"), PEOPLE),
    PeopleFile("windows.csv", windows(COMMAS), PEOPLE),
    PeopleFile("packed.csv.gz", gzip.compress(text(COMMAS)), PEOPLE),
    PeopleFile("tabs.tsv", text(COMMAS.replace(",", "\t")), PEOPLE),
    PeopleFile("utf16_marked.csv", text(COMMAS, "utf-16"), PEOPLE),
    PeopleFile("old_mac.csv", text(COMMAS.replace("\n", "\r")), PEOPLE),
    PeopleFile("lines.jsonl", text(LINES), PEOPLE),
    PeopleFile("array.json", text(json.dumps(PEOPLE, indent=2)), PEOPLE),
    PeopleFile("book.xlsx", workbook(SHEET), PEOPLE),
    PeopleFile("no_end.csv", text(COMMAS.rstrip("\n")), PEOPLE),
    PeopleFile("blank_lines.csv", text(COMMAS.replace("\n", "\n\n")), PEOPLE),
    # Delimiters
    PeopleFile("semicolons.csv", text(SEMICOLONS), PEOPLE, finds=["delimiter"]),
    PeopleFile("tabs.csv", text(COMMAS.replace(",", "\t")), PEOPLE, finds=["delimiter"]),
    PeopleFile("bars.csv", text(COMMAS.replace(",", "|")), PEOPLE, finds=["delimiter"]),
    PeopleFile("tabs.txt", text(COMMAS.replace(",", "\t")), PEOPLE, finds=["format", "delimiter"]),
    PeopleFile("sep_line.csv", windows("sep=;\n" + SEMICOLONS), PEOPLE, finds=["delimiter", "skip_lines"]),
    PeopleFile("sep_comma.csv", windows("sep=,\n" + COMMAS), PEOPLE, finds=["delimiter", "skip_lines"]),
    # Encodings
    PeopleFile("latin1.csv", text(SEMICOLONS, "latin-1"), PEOPLE, finds=["delimiter", "encoding"]),
    PeopleFile("cp1252.csv", windows(COMMAS, "cp1252"), PEOPLE, finds=["encoding"]),
    PeopleFile("utf16le.csv", COMMAS.encode("utf-16-le"), PEOPLE, finds=["encoding"]),
    PeopleFile("utf16be.csv", COMMAS.encode("utf-16-be"), PEOPLE, finds=["encoding"]),
    PeopleFile(
        "excel_unicode.txt", windows(COMMAS.replace(",", "\t"), "utf-16"), PEOPLE, finds=["format", "delimiter"]
    ),
    PeopleFile(
        "cyrillic.csv",
        text("email;first_name;last_name\nivan@i.example;Иван;Кузнецов\nolga@i.example;Ольга;Морозова\n" * 1, "cp1251"),
        [{"email": "ivan@i.example", "first_name": "Иван"}, {"email": "olga@i.example", "last_name": "Морозова"}],
        finds=["delimiter", "encoding"],
    ),
    # Titles, notes and sums
    PeopleFile("title.csv", text("All leads\n\n" + COMMAS), PEOPLE, finds=["skip_lines"]),
    PeopleFile(
        "padded_title.csv",
        text("All leads;;\nas of today;;\n;;\n" + SEMICOLONS),
        PEOPLE,
        finds=["delimiter", "skip_lines"],
    ),
    PeopleFile("footer.csv", text(COMMAS + "2 rows exported\n"), PEOPLE, ["perhaps a note"]),
    PeopleFile(
        "twice.csv",
        text(COMMAS + "email,first_name,last_name\ncy@c.example,Cy,\n"),
        [*PEOPLE, {"email": "cy@c.example"}],
        ["repeats the header"],
    ),
    PeopleFile(
        "sum.csv",
        text("name,email,budget\nAcme,a@a.example,1234.5\nBeta,,12\nTotal,,1246.5\n"),
        CLIENTS,
        ["sums up other rows"],
        table="clients",
    ),
    # Exports by name
    PeopleFile(
        "hubspot.csv",
        text(HUBSPOT, "utf-8-sig"),
        [
            {**ADA, "score": 12, "company": "Engines, Ltd", "phone": "+44 20 1", "status": "OPEN"},
            {**BOB, "score": None, "phone": None, "status": "new"},
        ],
        finds=["columns", "fill_defaults", "quoted_null"],
    ),
    PeopleFile(
        "salesforce.csv",
        text(SALESFORCE, "cp1252"),
        [{**ADA, "status": "Open - Not Contacted"}, BOB],
        ["perhaps a note"] * 3,
        finds=["columns", "date_format", "encoding"],
    ),
    PeopleFile("apollo.csv", text(APOLLO), [{**ADA, "company": "Engines", "status": "Cold"}, BOB], finds=["columns"]),
    PeopleFile(
        "linkedin.csv",
        text(LINKEDIN),
        [{**ADA, "created_at": "2026-01-31T00:00:00+00:00"}, {**BOB, "company": None}],
        finds=["columns", "date_format", "skip_lines"],
    ),
    PeopleFile(
        "pandas.csv",
        text(PANDAS),
        [{**ADA, "score": 12, "is_qualified": True}, {**BOB, "score": None}],
        finds=["columns", "null"],
    ),
    PeopleFile(
        "outlook.csv",
        windows(OUTLOOK, "cp1252"),
        [{**ADA, "phone": "020 1"}, BOB],
        finds=["columns", "delimiter", "encoding"],
    ),
    PeopleFile("psql.txt", text(PSQL), PEOPLE, ["1 field"] * 2, finds=["delimiter", "format", "trim"]),
    # Headings
    PeopleFile("spaced.csv", text(COMMAS.replace(",", ", ")), PEOPLE, finds=["trim"]),
    PeopleFile(
        "camel.csv",
        text(COMMAS.replace("first_name", "firstName").replace("last_name", "LastName")),
        PEOPLE,
        finds=["columns"],
    ),
    PeopleFile(
        "comma_heading.csv",
        text('Email,"Name, first",last_name\nada@a.example,Ada,Lovelace\n'),
        [{"email": "ada@a.example", "last_name": "Lovelace", "first_name": None}],
        finds=["columns"],
    ),
    PeopleFile(
        "given_columns.csv",
        text('Mail of record,"Name, first"\nada@a.example,Ada\n'),
        [{"email": "ada@a.example", "first_name": "Ada"}],
        given={"columns": {"Mail of record": "email", "Name, first": "first_name"}},
    ),
    PeopleFile(
        "doubled.csv",
        text("email,first_name,Email\nada@a.example,Ada,other@a.example\n"),
        [{"email": "ada@a.example"}],
        finds=["columns"],
    ),
    PeopleFile(
        "unnamed.csv",
        text("email,,last_name\nada@a.example,x,Lovelace\n"),
        [{"email": "ada@a.example"}],
        finds=["columns"],
    ),
    PeopleFile(
        "more_columns.csv",
        text("email,favourite colour\nada@a.example,blue\n"),
        [{"email": "ada@a.example"}],
        finds=["columns"],
    ),
    # Values
    PeopleFile(
        "decimal_comma.csv",
        text("name;budget\nAcme;1.234,50\nBeta;12,00\n"),
        CLIENTS,
        table="clients",
        finds=["decimal", "delimiter"],
    ),
    PeopleFile(
        "currency.csv",
        text('name,budget\nAcme,"$1,234.50"\nBeta,$12.00\n'),
        CLIENTS,
        table="clients",
        finds=["decimal"],
    ),
    PeopleFile(
        "whole_floats.csv",
        text("name,daily_limit,starts_on\nSpring,12.0,2026-03-01\n"),
        [{"name": "Spring", "daily_limit": 12}],
        table="campaigns",
    ),
    PeopleFile(
        "german_dates.csv",
        text("name;starts_on\nSpring;31.03.2026\nMay;01.05.2026\n"),
        [{"starts_on": "2026-03-31"}, {"starts_on": "2026-05-01"}],
        table="campaigns",
        finds=["date_format", "delimiter"],
    ),
    PeopleFile(
        "lists.csv",
        text("email,tags\nada@a.example,a; b\nbob@b.example,c\n"),
        [{"tags": ["a", "b"]}, {"tags": ["c"]}],
        finds=["list_separator"],
    ),
    PeopleFile(
        "nulls.csv",
        text("email,score,phone\nada@a.example,N/A,NULL\nbob@b.example,-,1\n"),
        [{"score": None, "phone": None}, {"phone": "1"}],
        finds=["null"],
    ),
    # Spreadsheets
    PeopleFile("in_disguise.csv", workbook(SHEET), PEOPLE, finds=["format"]),
    PeopleFile("titled.xlsx", workbook([["All leads"], [None], *SHEET]), PEOPLE, finds=["skip_lines"]),
    PeopleFile("sheets.xlsx", workbook(SHEET, sheets=["Read me", "Leads"]), PEOPLE, given={"sheet": "Leads"}),
    PeopleFile("more_sheets.xlsx", workbook(SHEET, sheets=["Read me", "Leads"]), PEOPLE, finds=["sheet"]),
    PeopleFile(
        "typed.xlsx",
        workbook([["name", "daily_limit", "starts_on"], ["Spring", 12.0, (46112, "date")]]),
        [{"name": "Spring", "daily_limit": 12, "starts_on": "2026-03-31"}],
        table="campaigns",
    ),
    PeopleFile("array.jsonl", text(json.dumps(PEOPLE)), PEOPLE, finds=["format"]),
    PeopleFile(
        "named_otherwise.jsonl",
        text('{"Email": "ada@a.example", "extra": 1}\n'),
        [{"email": "ada@a.example"}],
        finds=["columns"],
    ),
    # What is refused, with what helps
    PeopleFile(
        "page.xls", text("<html><body><table><tr><td>email</td></tr></table></body></html>"), refused="save it as CSV"
    ),
    PeopleFile("archive.zip.csv", b"PK\x03\x04" + b"\0" * 40, refused="unpack it"),
    PeopleFile("report.pdf.csv", b"%PDF-1.7\n...", refused="export the table itself as CSV"),
    PeopleFile(
        "no_header.csv", text("ada@a.example,Ada,Lovelace\nbob@b.example,Bob,x\n"), refused="columns=['email', …]"
    ),
    PeopleFile("strange_headings.csv", text("alpha,beta\nx,y\n"), refused="columns={heading: column}"),
    PeopleFile("no_email.csv", text("First Name,Company\nAda,Engines\n"), refused="email is needed"),
    PeopleFile(
        "two_ways.csv",
        text("name;starts_on\nSpring;03/04/2026\nMay;05/06/2026\n"),
        table="campaigns",
        refused="date_format='%m/%d/%Y' or date_format='%d/%m/%Y'",
    ),
    PeopleFile(
        "thousands.csv",
        text('name,budget\nAcme,"1,234"\nBeta,"2,500"\n'),
        table="clients",
        refused="decimal=',' or decimal='.'",
    ),
    PeopleFile("empty.csv", b"", refused="0 bytes"),
    PeopleFile(
        "no_sheet.xlsx", workbook([["see the other file"]], sheets=["Read me", "More"]), refused="the headings are"
    ),
    PeopleFile(
        "ragged.csv", text("email,first_name,last_name\nada@a.example;Ada;Lovelace\n"), refused="another delimiter="
    ),
]
