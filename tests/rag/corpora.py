"""Texts by kind, to measure how far a count of tokens is off: made up, the same in every run."""

from __future__ import annotations

import argparse
import inspect
import json
from collections.abc import Mapping, Sequence
from functools import cache

from faker import Faker

from examples import crm_data

LOCALES = (
    *("en_US", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL", "pl_PL", "cs_CZ", "vi_VN"),
    *("ru_RU", "uk_UA", "el_GR", "he_IL", "fa_IR", "th_TH", "ja_JP", "zh_CN", "hy_AM"),
)
SIZE = 600


@cache
def corpora() -> Mapping[str, Sequence[str]]:
    """Texts of some 600 characters by kind: sentences in eighteen languages, JSON, code, and the example CRM."""
    made = {}
    for locale in LOCALES:
        fake = Faker(locale)
        fake.seed_instance(11)
        made[locale] = [fake.text(SIZE) for _ in range(6)]
    fake = Faker("en_US")
    fake.seed_instance(11)
    made["JSON"] = _cut(
        "\n".join(
            json.dumps(
                {
                    "id": fake.uuid4(),
                    "name": fake.name(),
                    "email": fake.email(),
                    "at": fake.iso8601(),
                    "n": fake.pyfloat(),
                }
            )
            for _ in range(40)
        )
    )
    made["code"] = _cut(inspect.getsource(argparse)[4_000:24_000])
    messages = [row["content"] or "" for row in crm_data.rows("messages")]
    made["CRM"] = _cut("\n".join(messages))
    made["CRM, JSON"] = _cut("\n".join(json.dumps(row, ensure_ascii=False) for row in crm_data.rows("leads")))
    return made


def _cut(text: str) -> list[str]:
    pieces = [text[at : at + SIZE] for at in range(0, len(text), SIZE)]
    return [piece for piece in pieces if len(piece) > SIZE / 2]
