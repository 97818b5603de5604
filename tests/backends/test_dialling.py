"""Which of a host's addresses is connected to, and that no other socket stays open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from agent_persistence.backends.transport import dialling
from agent_persistence.backends.transport.dialling import Address, dialled, in_turns

pytestmark = pytest.mark.asyncio

SIX, FOUR = socket.AF_INET6, socket.AF_INET


def address(family: int, host: str, port: int = 80) -> Address:
    return (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))


class Net:
    """What happens at each address: "refused", "silent", or a connection after so many seconds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **answers: str | float) -> None:
        self.answers = answers
        self.tried: list[str] = []
        self.sockets: list[socket.socket] = []
        self._made = socket.socket
        monkeypatch.setattr(socket, "socket", self._recorded)

    def _recorded(self, *arguments: Any) -> socket.socket:
        made = self._made(*arguments)
        self.sockets.append(made)
        return made

    async def connect(self, connection: socket.socket, target: tuple[str, int]) -> None:
        self.tried.append(target[0])
        answer = self.answers[target[0]]
        if answer == "refused":
            raise ConnectionRefusedError(target[0])
        await asyncio.sleep(1e6 if answer == "silent" else float(answer))

    @property
    def open(self) -> int:
        return sum(each.fileno() != -1 for each in self.sockets)


Dial = Callable[..., Any]


@pytest.fixture
def dial(monkeypatch: pytest.MonkeyPatch) -> Dial:
    """A net in which a host has these addresses, and what dialling it gives."""

    def net(head_start_s: float = 0.01, **answers: str | float) -> Net:
        made = Net(monkeypatch, **answers)
        loop = asyncio.get_running_loop()

        async def resolved(host: str, port: int) -> list[Address]:
            return [address(FOUR, name) for name in answers]

        monkeypatch.setattr(dialling, "_resolved", resolved)
        monkeypatch.setattr(dialling, "HEAD_START_S", head_start_s)
        monkeypatch.setattr(loop, "sock_connect", made.connect)
        return made

    return net


async def test_families_take_turns() -> None:
    """RFC 8305, section 4: the first one's goes first, and each keeps its order."""
    mixed = [address(SIX, "a"), address(SIX, "b"), address(SIX, "c"), address(FOUR, "d"), address(FOUR, "e")]
    assert [each[4][0] for each in in_turns(mixed)] == ["a", "d", "b", "e", "c"]
    assert in_turns([]) == []


async def test_the_first_that_answers_is_taken(dial: Dial) -> None:
    """Nobody waits for one that is silent, and its socket is closed."""
    net = dial(first="silent", second=0.0)
    with await dialled("host", 80):
        assert (net.tried, net.open) == (["first", "second"], 1)
    assert net.open == 0


async def test_who_answers_within_the_head_start_is_alone(dial: Dial) -> None:
    """No second connection is tried."""
    net = dial(60.0, first=0.0, second=0.0)
    (await dialled("host", 80)).close()
    assert net.tried == ["first"]


async def test_after_a_refusal_the_next_is_tried_at_once(dial: Dial) -> None:
    """Whatever is left of the head start."""
    net = dial(60.0, first="refused", second="refused", third=0.0)
    (await dialled("host", 80)).close()
    assert (net.tried, net.open) == (["first", "second", "third"], 0)


async def test_where_nobody_answers_the_first_refusal_is_told(dial: Dial) -> None:
    """It is that of the address which should have answered."""
    net = dial(60.0, first="refused", second="refused")
    with pytest.raises(ConnectionRefusedError, match="first"):
        await dialled("host", 80)
    assert net.open == 0


async def test_two_that_answer_at_once_are_one_connection(dial: Dial) -> None:
    """The other one's socket is closed."""
    net = dial(0.0, first=0.02, second=0.02, third=0.02)
    with await dialled("host", 80):
        assert net.open == 1


@pytest.mark.parametrize("answers", [{"only": "silent"}, {"first": "silent", "second": "silent"}], ids=["one", "two"])
async def test_whoever_gives_up_leaves_no_socket(dial: Dial, answers: dict[str, str]) -> None:
    """At whichever moment the task is cancelled."""
    for turns in range(12):
        net = dial(0.0, **answers)
        task = asyncio.create_task(dialled("host", 80))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert net.open == 0


async def test_a_cancelled_race_that_was_won_leaves_no_socket(dial: Dial) -> None:
    """A winner whom nobody waits for any more is closed too."""
    for turns in range(12):
        net = dial(0.0, first=0.0, second=0.0)
        task = asyncio.create_task(dialled("host", 80))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            (await task).close()
        assert net.open == 0


async def test_an_address_is_resolved_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is looked up in one."""
    asked: list[str] = []

    async def looked_up(host: str, port: int, **options: Any) -> list[Address]:
        asked.append(host)
        return [address(FOUR, "127.0.0.1", port)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up)
    assert (await dialling._resolved("127.0.0.1", 80))[0][4] == ("127.0.0.1", 80)
    assert (await dialling._resolved("::1", 80))[0][0] == SIX
    assert asked == []
    assert (await dialling._resolved("host.example", 80))[0][4] == ("127.0.0.1", 80)
    assert asked == ["host.example"]


async def test_a_real_connection_is_made(unused_tcp_port: int) -> None:
    """To "localhost", whose first address may be one where nobody listens."""
    async with await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with await dialled("localhost", port) as connection:
            assert connection.getpeername()[1] == port
    with pytest.raises(ConnectionRefusedError):
        await dialled("127.0.0.1", unused_tcp_port)
