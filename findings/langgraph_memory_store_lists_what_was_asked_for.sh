#!/usr/bin/env bash
# langgraph-checkpoint 4.3.2: InMemoryStore lists namespaces that hold nothing.
#
# Expected: list_namespaces gives the namespaces of stored items ("List and filter namespaces in the store.
# Used to explore the organization of data", BaseStore.list_namespaces), as PostgresStore does, which selects them from
# its items. A read changes nothing.
# Seen: a get of a key in a namespace that does not exist makes the namespace appear in the list, and a namespace of
# which every item was deleted stays in it.
#
# Ends with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
python=$folder/venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check langgraph-checkpoint==4.3.2

"$python" - <<'PY'
from langgraph.store.memory import InMemoryStore

store = InMemoryStore()
store.get(("asked", "for"), "k")
after_get = store.list_namespaces()
store.put(("emptied",), "k", {})
store.delete(("emptied",), "k")
after_delete = store.list_namespaces()
print("namespaces after a get of what is not there:", after_get)
print("namespaces after the only item of another was deleted:", after_delete)
print("items:", store.search(()))
raise SystemExit(0 if after_get == [("asked", "for")] and ("emptied",) in after_delete else 1)
PY
