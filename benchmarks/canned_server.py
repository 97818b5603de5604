"""An HTTP/1.1 server that answers every request with the same rows, as PostgREST would, at the least cost.

It runs in a process of its own and does nothing but find where a request ends: about 8 us of Python for one, so that
the client is what is measured. Connections are kept alive; nothing is validated, so it is no server for anything else.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import selectors
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Final

ROW: Final = {
    "id": "95ead0bf-4624-47a9-a9fe-6ea1aca6311f",
    "email": "j.grossmann@molkerei-tannheim.example",
    "first_name": "Jürgen",
    "last_name": "Großmann",
    "company": "Molkerei Tannheim eG",
    "status": "qualified",
    "score": 0.83,
    "created_at": "2026-03-02T07:10:33+00:00",
}
_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"\r\ncontent-length:"


def answer(status: str, body: bytes, **headers: str) -> bytes:
    """A response with the headers that PostgREST sends."""
    named = {
        "Date": "Mon, 02 Mar 2026 07:10:33 GMT",
        "Server": "postgrest/14.1",
        "Content-Type": "application/json; charset=utf-8",
        **{name.replace("_", "-"): value for name, value in headers.items()},
        "Content-Length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def serve(tell_port: Connection, body: bytes, core: int | None) -> None:
    """Answer for ever: 201 to a POST, 200 to all else, `body` to both."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    location = f"/leads?id=eq.{ROW['id']}&limit=2&select=%2A"
    read = answer("200 OK", body, Content_Range="0-0/*", Content_Location=location)
    written = answer("201 Created", body, Content_Range="*/*", Preference_Applied="return=representation")
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, None)
    tell_port.send(listener.getsockname()[1])
    unread: dict[int, bytes] = {}
    while True:
        for key, _ in selector.select():
            if key.data is None:
                _accept(listener, selector)
                continue
            connection: socket.socket = key.data
            try:
                data = connection.recv(262_144)
            except ConnectionError:
                data = b""
            if not data:
                selector.unregister(connection)
                connection.close()
                unread.pop(key.fd, None)
                continue
            if key.fd in unread:
                data = unread.pop(key.fd) + data
            while data:
                size = _size(data)
                if size is None:
                    unread[key.fd] = data
                    break
                with suppress(ConnectionError):
                    connection.send(written if data.startswith(b"POST") else read)
                data = data[size:]


def _accept(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    with suppress(BlockingIOError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(connection, selectors.EVENT_READ, connection)


def _size(data: bytes) -> int | None:
    """How many bytes the first request has; None while it is not whole."""
    end = data.find(_END)
    if end < 0:
        return None
    end += len(_END)
    if data.startswith(b"GET"):
        return end
    head = data[:end].lower()
    start = head.find(_LENGTH)
    if start < 0:
        return end
    start += len(_LENGTH)
    size = end + int(head[start : head.index(b"\r", start)])
    return size if size <= len(data) else None


@contextmanager
def canned_server(rows: int = 1, *, core: int | None = None) -> Iterator[str]:
    """The base URL of a server that answers with `rows` rows; afterwards it has ended."""
    body = json.dumps([ROW] * rows, ensure_ascii=False, separators=(",", ":")).encode()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs, body, core), daemon=True)
    process.start()
    theirs.close()  # so that a server that could not start ends the wait for its port
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()
