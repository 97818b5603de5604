"""What the detectors of free text find and miss: precision and recall by kind and locale, and megabytes a second.

Generated sentences in twelve languages, each with one value, beside sentences with dates, codes, amounts and other
numbers. A value counts as found if all of it is covered; a finding is wrong if it meets no value of its kind. The
sentences are the same in every run; `--sentences` and `--seed` take others. The last column is `Phones(regions=…)` with
the regions of the twelve locales, which needs the extra `redaction`.
"""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from _measure import Target, arguments, report

sys.path.insert(0, str(Path(__file__).parents[1]))

from agent_persistence.redaction import DETECTORS, Phones, Redaction
from tests.redaction.corpus import KINDS, LOCALES, sentences
from tests.redaction.figures import Figures, found_by, measure

REGIONS = tuple(locale.partition("_")[2] for locale in LOCALES)
PHONES_IN_REGIONS = "phone+"
FLOORS = {
    "email": (0.999, 0.999),
    "iban": (1.0, 1.0),
    "card": (0.995, 0.999),
    "ip": (1.0, 1.0),
    "phone": (0.97, 0.97),
    "credential": (0.99, 0.99),
}
FLOORS_WITH_EXTRA = (0.82, 0.997)


def figures(locale: str, count: int, seed: int) -> dict[str, Figures]:
    told = list(sentences(locale, count, seed=seed))
    found = measure(partial(found_by, DETECTORS), told)
    with_regions = (*DETECTORS[:-1], Phones(regions=REGIONS))
    return found | {PHONES_IN_REGIONS: measure(partial(found_by, with_regions), told)["phone"]}


def megabytes_per_s(count: int, seed: int) -> float:
    """The speed of a whole session over the sentences of all locales."""
    texts = [sentence.text for locale in LOCALES for sentence in sentences(locale, count, seed=seed)]
    redactor = Redaction.default().session()
    start = time.process_time()
    for text in texts:
        redactor.text(text)
    return sum(len(text.encode()) for text in texts) / (time.process_time() - start) / 1e6


def table(found: dict[str, dict[str, Figures]], totals: dict[str, Figures]) -> list[str]:
    columns = (*KINDS, PHONES_IN_REGIONS)
    lines = [f"{'precision/recall':<18}" + "".join(f"{kind:>14}" for kind in columns)]
    for name, row in {**found, "all": totals}.items():
        cells = (f"{row[kind].precision:.3f}/{row[kind].recall:.3f}" for kind in columns)
        lines.append(f"  {name:<16}" + "".join(f"{cell:>14}" for cell in cells))
    return lines


def targets(totals: dict[str, Figures]) -> list[Target]:
    """The floors as shares that are wrong or missed."""
    made = []
    for kind, (precision, recall) in {**FLOORS, PHONES_IN_REGIONS: FLOORS_WITH_EXTRA}.items():
        wrong, missed = 1 - totals[kind].precision, 1 - totals[kind].recall
        made.append(Target(f"{kind} wrong", 100 * wrong, round(100 * (1 - precision), 3), " %"))
        made.append(Target(f"{kind} missed", 100 * missed, round(100 * (1 - recall), 3), " %"))
    return made


def main(count: int, seed: int, as_json: bool) -> None:
    found = {locale: figures(locale, count, seed) for locale in LOCALES}
    totals = {kind: Figures() for kind in (*KINDS, PHONES_IN_REGIONS)}
    for row in found.values():
        for kind, total in totals.items():
            total += row[kind]
    speed = megabytes_per_s(count, seed)
    lines = [*table(found, totals), "", f"{totals['email'].values} values of each kind, {speed:.2f} MB/s"]
    shares = {kind: {"precision": total.precision, "recall": total.recall} for kind, total in totals.items()}
    report(lines, targets(totals), {"figures": shares, "megabytes_per_s": speed}, as_json=as_json)


if __name__ == "__main__":
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--sentences", type=int, default=300, help="of each kind and locale (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other sentences")
    options = parser.parse_args()
    main(options.sentences, options.seed, options.json)
