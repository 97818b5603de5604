"""The report of an import as JSON."""

from __future__ import annotations

from typing import Any

from agent_persistence.bulk.import_rows import ImportReport, Reject


def report_document(report: ImportReport) -> dict[str, Any]:
    """How an import ended, of which rows and lines."""
    return {
        "table": report.table,
        "rows": report.rows,
        "rejected": report.rejected,
        "skipped_by_database": report.skipped_by_database,
        "ignored": report.ignored,
        "note": report.note,
        "resumed_rows": report.resumed_rows,
        "dry_run": report.is_dry_run,
        "chunks": report.chunks,
        "seconds": round(report.seconds, 3),
        "rows_per_second": round(report.rows_per_second, 1),
        "bytes_read": report.bytes_read,
        "lines": [list(each) for each in report.lines],
        "rejects": report.rejects,
        "first_reject": _reject(report.first_reject),
        "last_reject": _reject(report.last_reject),
    }


def _reject(reject: Reject | None) -> dict[str, Any] | None:
    return None if reject is None else {"line": reject.line, "column": reject.column, "reason": reject.reason}
