"""The boundary of every command: what stops it becomes a message and an exit status, never a traceback."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

from agent_persistence.cli.hiding import hidden
from agent_persistence.cli.screen import Screen
from agent_persistence.cli.status import Status, status_of
from agent_persistence.exceptions import PersistenceError

T = TypeVar("T")


@contextmanager
def running(command: str, *, as_json: bool) -> Iterator[Screen]:
    """Within, a command does its work; afterwards its document is written and the process ends with its status."""
    screen = Screen(command, as_json=as_json)
    try:
        with _reported(screen):
            yield screen
        screen.finish()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(Status.PIPE_CLOSED) from None
    if screen.status:
        raise typer.Exit(screen.status)


@contextmanager
def _reported(screen: Screen) -> Iterator[None]:
    try:
        yield
    except PersistenceError as error:
        screen.fail(str(error), status_of(error), type(error).__name__)
    except KeyboardInterrupt:
        screen.fail("interrupted", Status.INTERRUPTED, "KeyboardInterrupt")
    except (BrokenPipeError, typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except OSError as error:
        about = f": {error.filename}" if error.filename else ""
        screen.fail(f"{error.strerror or type(error).__name__}{about}", Status.CONFIGURATION, type(error).__name__)
    except Exception as error:  # a traceback shows no variables, but messages of others may hold a key
        sys.stderr.write(hidden(traceback.format_exc()))
        screen.fail("this is a bug; the traceback above says where", Status.BUG, type(error).__name__)


def run(work: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
    """What the coroutine function returns, run on asyncio."""
    import anyio

    return anyio.run(work, *arguments)
