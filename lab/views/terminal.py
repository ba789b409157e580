"""The live view of `lab demo` and `lab watch`.

On a terminal it redraws in place at most four times a second and leaves its last frame standing;
anywhere else it prints one plain line for each change.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from lab.views import words
from lab.views.screen import render
from lab.views.state import ViewState, fold, new_events, with_progress

REFRESH_PER_S = 4
MAX_HEIGHT = 40


class LiveView:
    """Shows trace lines as they come. `line` and `progress` may be called from any thread.

    >>> with LiveView(lab="lab", world="lxd", scenario="ramp") as view:
    ...     view.line(json.loads(text))
    ...     view.progress(done_s=12.0, total_s=110.0, users=24)
    """

    def __init__(
        self,
        lab: str,
        world: str,
        scenario: str = "",
        console: Console | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`console` is standard output by default; `now_s` tells how long no line has come."""
        self._console = console if console is not None else Console(highlight=False)
        self._state = ViewState(lab=lab, world=world, scenario=scenario)
        self._now_s = now_s
        self._heard_s = now_s()
        self._lock = threading.Lock()
        self._live: Live | None = None

    @property
    def state(self) -> ViewState:
        return self._state

    @property
    def draws(self) -> bool:
        """Whether it redraws a picture; otherwise it prints lines."""
        encoding = self._console.encoding.lower().replace("-", "")
        return self._console.is_interactive and encoding.startswith("utf")

    def __enter__(self) -> Self:
        if self.draws:
            self._live = Live(
                console=self._console,
                get_renderable=self._frame,
                refresh_per_second=REFRESH_PER_S,
                vertical_overflow="crop",
                # Output that goes into a file or a pipe is not to appear above the picture.
                redirect_stdout=sys.stdout.isatty(),
            )
            self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def line(self, trace_line: dict[str, Any]) -> None:
        """Take in one trace line, as `lab.trace.to_line` writes it."""
        with self._lock:
            before = self._state
            self._state = after = fold(before, trace_line)
            self._heard_s = self._now_s()
        if self._live is None:
            for event in new_events(before, after):
                at = words.clock(event.at_s, tenths=True)
                self._print(f"{at:>8}  {event.kind:<8} {event.text}")

    def progress(self, done_s: float, total_s: float | None, users: int | None = None) -> None:
        """Take in how far the load is: seconds done and in all, users now; None: nobody knows."""
        with self._lock:
            self._state = with_progress(self._state, done_s, total_s, users)

    def _frame(self) -> Text:
        # One line less than the terminal has: the shell's next line must not push the title off.
        size = self._console.size
        silent_s = self._now_s() - self._heard_s
        state = replace(self._state, silent_s=silent_s)
        return render(state, size.width, min(size.height - 1, MAX_HEIGHT))

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()
