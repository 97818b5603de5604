"""How an import goes, while it goes: a live bar in a terminal, now and then a line elsewhere. Both on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeAlias

from rich.progress import BarColumn, Progress as Bar, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

from agent_persistence.bulk.import_rows import Progress

if TYPE_CHECKING:
    from agent_persistence.cli.screen import Screen

Tell: TypeAlias = Callable[[Progress], None]
LINE_EVERY_S: Final = 5.0
_ALMOST: Final = 0.99
"""The most that is done before the end has come."""


@contextmanager
def shown_progress(screen: Screen, title: str) -> Iterator[Tell]:
    """A function that shows the progress it is called with, until the end."""
    if not screen.err.is_terminal:
        yield Lines(screen, title)
        return
    ended = SpinnerColumn(finished_text=Text("✓", style="green"), style="cyan")
    bar = Bar(
        ended,
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(bar_width=16, complete_style="cyan", finished_style="green"),
        _Figures(table_column=Column(no_wrap=True)),
        console=screen.err,
        refresh_per_second=10,
    )
    with bar:
        task = bar.add_task(title, total=None, progress=None)

        def show(progress: Progress) -> None:
            share = done_share(progress)
            bar.update(task, total=None if share is None else 1.0, completed=share or 0.0, progress=progress)

        try:
            yield show
        except BaseException:
            ended.finished_text = Text("✗", style="red")
            bar.update(task, visible=bar.tasks[0].fields["progress"] is not None)
            raise


class Lines:
    """Writes a line when LINE_EVERY_S seconds of the import have passed since the last one, and one at the end."""

    def __init__(self, screen: Screen, title: str) -> None:
        self._screen = screen
        self._title = title
        self._next_s = LINE_EVERY_S

    def __call__(self, progress: Progress) -> None:
        if progress.is_final or progress.seconds >= self._next_s:
            self._next_s = progress.seconds + LINE_EVERY_S
            self._screen.note(f"{self._title}: {', '.join(figures(progress))}")


class _Figures(ProgressColumn):
    """Rows, bytes, rejects, rate and time left."""

    def render(self, task: Task) -> Text:
        progress: Progress | None = task.fields["progress"]
        return Text("") if progress is None else Text("  ").join(map(_coloured, figures(progress)))


def _coloured(figure: str) -> Text:
    return Text(figure, style="yellow" if figure.endswith("rejected") else "")


def figures(progress: Progress) -> list[str]:
    """The figures of an import, each as a few words."""
    found = [
        f"{progress.rows_written:,} row{'s' * (progress.rows_written != 1)}",
        size(progress.bytes_read, progress.bytes_total),
    ]
    if progress.rejected:
        found.append(f"{progress.rejected:,} rejected")
    found.append(f"{progress.rows_per_second:,.0f} rows/s")
    share = done_share(progress)
    if not progress.is_final and share:
        found.append(f"{duration(progress.seconds * (1 - share) / share)} left")
    return found


def done_share(progress: Progress) -> float | None:
    """How much of the source is done, from 0 to 1: of the bytes read, the share of the rows that are in or rejected.

    None where its size is not known. Reading is ahead of writing by some chunks, which for a small file is all of it.
    """
    if progress.is_final:
        return 1.0
    if not progress.bytes_total:
        return None
    done = min((progress.rows_written + progress.rejected) / progress.rows_read, 1.0) if progress.rows_read else 0.0
    return min(progress.bytes_read / progress.bytes_total * done, _ALMOST)


def size(read: int, total: int | None) -> str:
    """Bytes in the unit of the larger number."""
    largest = read if total is None else max(read, total)
    power = next((power for power in (4, 3, 2, 1) if largest >= 1000**power), 0)
    unit = ("B", "kB", "MB", "GB", "TB")[power]
    shown = f"{read / 1000**power:,.{min(power, 1)}f}"
    return f"{shown} {unit}" if total is None else f"{shown} of {total / 1000**power:,.{min(power, 1)}f} {unit}"


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {whole % 60:02} s" if minutes else f"{whole} s"
