"""Runs the benchmarks one after the other and prints one table: what the project promises, and what was measured.

Each is a script beside this one, run as a process of its own with `--json`; what it measures against a peer, it
measures in interleaved rounds. The table is Markdown. The figures of a whole run go into `results.json`, its drawings
into `docs/`; `--quick`, or naming some benchmarks, prints the table alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results.json"
DRAWINGS: Final = HERE.parent / "docs"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`script` takes `--json` and `--rounds`, and `--svg DIR` if it `draws`; `quick` are its options for a short run,
    None where there is no short one."""

    script: str
    quick: tuple[str, ...] | None = None
    draws: bool = False


SUITE: Final = (
    Benchmark("throughput", quick=("--rounds", "1", "--callers", "1", "64"), draws=True),
    Benchmark("shared_requests", quick=("--rounds", "1"), draws=True),
    Benchmark("many_users", quick=("--rounds", "1")),
    Benchmark("postgres_calls"),
    Benchmark("units", quick=("--rounds", "1")),
    Benchmark("related_rows", quick=("--rounds", "3")),
    Benchmark("graph_checkpoints"),
    Benchmark("rag_against_peer", quick=("--rounds", "3"), draws=True),
    Benchmark("bulk_import"),
    Benchmark("import_workers"),
    Benchmark("waiting_memory"),
    Benchmark("lifetimes"),
    Benchmark("import_time", quick=("--rounds", "1")),
    Benchmark("chain_overhead", quick=("--rounds", "10")),
    Benchmark("call_counts"),
    Benchmark("request_cost"),
    Benchmark("exporters"),
    Benchmark("mcp_tools", quick=("--rounds", "5")),
    Benchmark("memory_query"),
    Benchmark("rag_wall_time"),
    Benchmark("rag_any_schema"),
    Benchmark("rag_packing"),
    Benchmark("rag_tokens"),
    Benchmark("redaction"),
    Benchmark("ci_guard"),
)


def run(benchmark: Benchmark, options: Sequence[str]) -> dict[str, Any] | None:
    """What the script tells; None if it failed, and said so itself."""
    command = [sys.executable, str(HERE / f"{benchmark.script}.py"), "--json", *options]
    start = time.perf_counter()
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    verdict = "failed" if ended.returncode else "done"
    print(f"{benchmark.script} {verdict} after {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    told: dict[str, Any] | None = None if ended.returncode else json.loads(ended.stdout)
    return told


def table(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    about = next(iter(results.values()))["machine"]
    yield " · ".join(f"{name} {value}" for name, value in about.items() if name != "load")
    yield "\n" + _row("benchmark", "what", "target", "measured", "", "")
    yield "|---|---|--:|--:|---|---|"
    met = []
    for name, told in results.items():
        for target in told["targets"]:
            bound = f"{'>=' if target['at_least'] else '<='} {target['limit']:g} {target['unit']}"
            verdict = "passes" if target["met"] else "falls short"
            yield _row(
                name, target["what"], bound, f"{target['value']:.2f} {target['unit']}", verdict, target["beside"]
            )
            met.append(target["met"])
    yield f"\n{sum(met)} of {len(met)} targets are met"


def _row(name: str, what: str, bound: str, measured: str, verdict: str, beside: str) -> str:
    return f"| {name:<16} | {what:<58} | {bound:>13} | {measured:>13} | {verdict:<11} | {beside:<24} |"


def options_for(benchmark: Benchmark, *, quick: bool, whole: bool) -> Sequence[str]:
    if quick:
        return benchmark.quick or ()
    return ("--svg", str(DRAWINGS)) if whole and benchmark.draws else ()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(each.script for each in SUITE)}")
    parser.add_argument("--quick", action="store_true", help="the most telling ones, in a minute")
    options = parser.parse_args()
    if unknown := set(options.names) - {each.script for each in SUITE}:
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    whole = not options.names and not options.quick
    chosen = [each for each in SUITE if not options.names or each.script in options.names]
    if options.quick:
        chosen = [each for each in chosen if each.quick is not None]
    told = {each.script: run(each, options_for(each, quick=options.quick, whole=whole)) for each in chosen}
    results = {name: result for name, result in told.items() if result is not None}
    print(*table(results), sep="\n")
    if whole:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0 if len(results) == len(told) else 1


if __name__ == "__main__":
    sys.exit(main())
