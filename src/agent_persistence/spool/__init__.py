"""Store and forward: writes that are made while the database cannot be reached wait in a file, and are applied once.

What is decided here, and where it is enforced:

- **What may wait** (`pipeline.spooling.rules`): what can be applied exactly once, however often it is sent. That is an
  insert whose rows hold a key that the database certainly keeps unique (made here or given), and whatever goes by way
  of the ledger: a unit of work under a key, and with `ledger=True` a write or merge of single rows. What is left fails
  as it does without a spool: `bulk_write` and merges of many rows, writes that nothing makes unique, and `update`,
  `delete` and `call` by themselves, whose answer only the database has. In a unit of work updates and deletes may wait.
- **When**: the retries have ended, and the last failure says that nothing was sent, that the server is starting,
  stopping or has no connection left, or that the answer was lost (the write may be applied: its key proves it, or lets
  it be sent again). Rejections, deadlocks, throttling and a full queue of this process are no such failure.
- **What the caller gets**: `Result.spooled`, a `SpooledRow` of what was sent, the outcome "spooled" in audit events and
  for observers, a count in the metrics. Columns that only the database knows raise `NotStoredYetError`.
- **Order**: what waits is applied in the order in which it came. While anything of a table waits, later writes of the
  table by this service go behind it, whoever makes them; one that cannot wait is refused, and nothing is sent.
- **Identity**: the file holds no token. A call that runs with the adapter's own credentials, as nobody, or over
  PostgreSQL under claims, is applied as the same; the claims are in the file. One under an access token is not kept.
- **Rules**: policy, validation, masks and tenant hold before a write is kept, so that the file has what would have been
  sent. The policy is asked again when it is applied.
- **Once** (`pipeline.spooling.draining`): before a write is sent it is marked in the file as tried. One that is marked
  is asked for by its key before a refusal is believed. One process applies at a time, under a lock that the kernel
  takes back from a process that is killed; any number may add.
- **Bounds**: rows, bytes and age. Full is a `SpoolFullError`; what is too old, or refused by the database or the
  policy, is set aside with the reason, and stays until it is retried or dropped.

`entry` is what waits, as JSON; `file` and `opening` are SQLite; `spool` is the public value.
"""

from agent_persistence.spool.entry import Entry as Entry
from agent_persistence.spool.file import SpooledWrite as SpooledWrite, SpoolStatus as SpoolStatus
from agent_persistence.spool.spool import Spool as Spool
