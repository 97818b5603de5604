"""Many rows from a file or an iterable into a table."""

from agent_persistence.bulk.import_rows import (
    FileLook as FileLook,
    ImportReport as ImportReport,
    ImportStoppedError as ImportStoppedError,
    Progress as Progress,
    Reject as Reject,
    bulk_import as bulk_import,
    look_at as look_at,
)
