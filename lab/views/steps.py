"""What a long command is doing: a line for each step, with a bar while it lasts."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

WORTH_SAYING_S = 1.0


class Steps:
    """Call it with what begins now; the step before has then ended.

    On a terminal the step under way has a moving bar. Steps that took less than a second leave no
    line behind. Elsewhere each step is a plain line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24, pulse_style="cyan"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._what = ""
        self._began_s = 0.0

    def __call__(self, what: str) -> None:
        self._end()
        self._what, self._began_s = what, time.monotonic()
        if self._console.is_terminal:
            self._task = self._progress.add_task(what, total=None)
        else:
            self._console.print(what, highlight=False)

    def count(self, done: int, total: int) -> None:
        """Turn the bar of this step into one that fills."""
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def __enter__(self) -> Steps:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end(failed=kind is not None)
        self._progress.stop()

    def _end(self, failed: bool = False) -> None:
        took_s = time.monotonic() - self._began_s
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
            if failed or took_s >= WORTH_SAYING_S:
                mark = "[red]✗[/]" if failed else "[green]✓[/]"
                self._console.print(f"{mark} {self._what} [dim]{took_s:.1f} s[/]", highlight=False)
