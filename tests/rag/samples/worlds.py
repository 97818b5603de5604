"""The sample tables, a few rows in each, and the contexts of which prompts are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agent_persistence import AsyncPersistenceService, InMemoryAdapter, TablePolicy
from agent_persistence.query.records import Row
from agent_persistence.rag_context import ContextSpec
from agent_persistence.schema_registry import Schema

HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """Tables that others designed, the rows in them, and what a context of them is about."""

    name: str
    root: str
    rows: Mapping[str, list[Row]]
    filters: Mapping[str, Any] = field(default_factory=dict)
    query: str | None = None

    @property
    def schema(self) -> Schema:
        return Schema.from_file(HERE / f"{self.name}.toml")

    @property
    def spec(self) -> ContextSpec:
        """As the schema alone suggests it."""
        return ContextSpec.from_schema(self.schema, self.root, name=self.name)

    @property
    def policy(self) -> TablePolicy:
        tables = set(self.schema.tables)
        return TablePolicy(read=tables, write=tables)

    def service(self) -> AsyncPersistenceService:
        """Over the rows, in memory."""
        adapter = InMemoryAdapter({table: list(rows) for table, rows in self.rows.items()}, schema=self.schema)
        return AsyncPersistenceService(adapter, schema=self.schema, policy=self.policy, retry=False)


def _rows(columns: str, *rows: tuple[Any, ...]) -> list[Row]:
    return [dict(zip(columns.split(), row, strict=True)) for row in rows]


SHOP: Final = Sample(
    "shop",
    "orders",
    {
        "categories": _rows(
            "category_id category_name description",
            (1, "Beverages", "Soft drinks, coffees, teas, beers, and ales"),
            (4, "Dairy Products", "Cheeses"),
        ),
        "suppliers": _rows("supplier_id company_name country", (1, "Fjord Dairies", "Norway")),
        "products": _rows(
            "product_id product_name supplier_id category_id quantity_per_unit unit_price units_in_stock discontinued",
            (11, "Blue cheese", 1, 4, "1 kg pkg.", 21.0, 22, 0),
            (42, "Noodles", None, None, "32 - 1 kg pkgs.", 14.0, 26, 1),
            (72, "Mozzarella", 1, 4, "24 - 200 g pkgs.", 34.8, 14, 0),
        ),
        "customers": _rows(
            "customer_id company_name contact_name contact_title city country phone",
            ("VINET", "Vins et alcools", "Paule Henri", "Accounting Manager", "Reims", "France", "26.47.15.10"),
            ("TOMSP", "Toms Spezialitäten", "Karin Jost", "Marketing Manager", "Münster", "Germany", "0251-031259"),
        ),
        "employees": _rows(
            "employee_id last_name first_name title hire_date notes reports_to",
            (2, "Fell", "Andrea", "Vice President, Sales", "1992-08-14", "Speaks French and reads German.", None),
            (5, "Buch", "Stefan", "Sales Manager", "1993-10-17", "Knows the telephone.", 2),
            (6, "Suyam", "Mika", "Sales Representative", "1993-10-17", None, 5),
        ),
        "shippers": _rows("shipper_id company_name phone", (1, "Speedy", "555-9831"), (3, "Federal", "555-9931")),
        "orders": _rows(
            "order_id customer_id employee_id order_date required_date shipped_date ship_via freight ship_city"
            " ship_country",
            (10248, "VINET", 5, "1996-07-04", "1996-08-01", "1996-07-16", 3, 32.38, "Reims", "France"),
            (10274, "VINET", 6, "1996-08-06", "1996-09-03", "1996-08-16", 1, 6.01, "Reims", "France"),
            (10249, "TOMSP", 6, "1996-07-05", "1996-08-16", "1996-07-10", 1, 11.61, "Münster", "Germany"),
        ),
        "order_details": _rows(
            "order_id product_id unit_price quantity discount",
            (10248, 11, 14.0, 12, 0.0),
            (10248, 42, 9.8, 10, 0.0),
            (10248, 72, 34.8, 5, 0.0),
            (10274, 72, 27.8, 7, 0.0),
            (10249, 11, 18.6, 9, 0.0),
        ),
    },
    {"customers": {"customer_id": "VINET"}},
    "Which cheese did they buy?",
)

MUSIC_STORE: Final = Sample(
    "music_store",
    "playlist",
    {
        "artist": _rows("artist_id name", (1, "The Larks"), (2, "Quiet Harbour")),
        "album": _rows("album_id title artist_id", (1, "First Light", 1), (2, "Tides", 2)),
        "genre": _rows("genre_id name", (1, "Rock"), (2, "Jazz")),
        "track": _rows(
            "track_id name album_id genre_id composer milliseconds unit_price",
            (1, "Morning Song", 1, 1, "A. Lark, B. Wren", 343719, "0.99"),
            (2, "Over the Fields", 1, 1, None, 342562, "0.99"),
            (3, "Low Water", 2, 2, "C. Harbour", 230619, "0.99"),
        ),
        "playlist": _rows("playlist_id name", (1, "Music"), (5, "90’s Music"), (17, "Heavy Classic")),
        "playlist_track": _rows("playlist_id track_id", (1, 1), (1, 2), (1, 3), (5, 3), (17, 1)),
        "employee": [],
        "customer": [],
        "invoice": [],
        "invoice_line": [],
    },
    {"playlist": {"name": "Music"}},
)

BUG_TRACKER: Final = Sample(
    "bug_tracker",
    "bugs",
    {
        "profiles": _rows(
            "userid login_name cryptpassword realname",
            (1, "ada@example.org", "$2b$12$secret", "Ada Park"),
            (2, "ben@example.org", "$2b$12$secret", "Ben Ito"),
        ),
        "products": _rows("id name description", (1, "Editor", "Writes texts"), (2, "Viewer", "Shows texts")),
        "components": _rows("id name product_id initialowner", (1, "Saving", 1, 2), (2, "Printing", 2, 1)),
        "bugs": _rows(
            "bug_id assigned_to bug_severity bug_status creation_ts delta_ts short_desc priority component_id reporter"
            " version resolution",
            (
                7,
                2,
                "major",
                "NEW",
                "2026-03-01T08:00",
                "2026-03-02T08:00",
                "Saving loses the last line",
                "P1",
                1,
                1,
                "2.0",
                "",
            ),
            (
                8,
                2,
                "minor",
                "RESOLVED",
                "2026-03-03T08:00",
                "2026-03-03T09:00",
                "Umlauts print as ?",
                "P3",
                2,
                1,
                "2.1",
                "FIXED",
            ),
            (
                9,
                1,
                "major",
                "ASSIGNED",
                "2026-03-04T08:00",
                "2026-03-04T08:00",
                "Backup is empty",
                "P2",
                1,
                2,
                "2.1",
                "",
            ),
        ),
        "longdescs": _rows(
            "comment_id bug_id who bug_when thetext",
            (1, 7, 1, "2026-03-01T08:00:00", "Save a file without a line end: its last line is gone."),
            (2, 7, 2, "2026-03-01T10:30:00", "I can see it too.\nOnly since 2.0."),
            (3, 8, 1, "2026-03-03T08:00:00", "Print Müller, get M?ller."),
            (4, 9, 2, "2026-03-04T08:00:00", "The backup has 0 bytes, perhaps like bug 7."),
        ),
        "keyworddefs": _rows("id name description", (1, "dataloss", "Data is lost"), (2, "regression", "It worked")),
        "keywords": _rows("bug_id keywordid", (7, 1), (7, 2), (9, 1)),
        "dependencies": _rows("blocked dependson", (9, 7)),
    },
    {"components": {"name": "Saving"}},
)

SAMPLES: Final = {sample.name: sample for sample in (SHOP, MUSIC_STORE, BUG_TRACKER)}
