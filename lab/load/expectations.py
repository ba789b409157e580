"""What a scenario's envelope can ask for: a few forms, each one line of the file.

Seconds count from the start of the load.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from lab.load.shapes import Closed, Seconds

Servers = Annotated[int, Field(ge=0, le=1000)]
Milliseconds = Annotated[float, Field(gt=0, le=3_600_000)]


class ServingAtLeast(Closed):
    """Holds when so many servers were serving at some moment up to `serving_by_s`."""

    at_least: Servers
    serving_by_s: Seconds

    def __str__(self) -> str:
        return f"at least {self.at_least} serving by {self.serving_by_s:g} s"


class ServingAtMost(Closed):
    """Holds when no more were serving at `serving_by_s`, or at the end if that came sooner."""

    at_most: Servers
    serving_by_s: Seconds

    def __str__(self) -> str:
        return f"at most {self.at_most} serving by {self.serving_by_s:g} s"


class PeakAtLeast(Closed):
    """Holds when so many servers were serving at some moment of the run."""

    peak_at_least: Servers

    def __str__(self) -> str:
        return f"a peak of at least {self.peak_at_least} serving"


class MaxFailed(Closed):
    """Holds when no more requests failed than this."""

    max_failed: Annotated[int, Field(ge=0)]

    def __str__(self) -> str:
        return f"at most {self.max_failed} failed" if self.max_failed else "no failed request"


class MaxP50(Closed):
    p50_ms: Milliseconds

    def __str__(self) -> str:
        return f"p50 at most {self.p50_ms:g} ms"


class MaxP95(Closed):
    p95_ms: Milliseconds

    def __str__(self) -> str:
        return f"p95 at most {self.p95_ms:g} ms"


class MaxP99(Closed):
    p99_ms: Milliseconds

    def __str__(self) -> str:
        return f"p99 at most {self.p99_ms:g} ms"


Expectation = ServingAtLeast | ServingAtMost | PeakAtLeast | MaxFailed | MaxP50 | MaxP95 | MaxP99
FORMS: dict[str, type[Closed]] = {
    "at_least": ServingAtLeast,
    "at_most": ServingAtMost,
    "peak_at_least": PeakAtLeast,
    "max_failed": MaxFailed,
    "p50_ms": MaxP50,
    "p95_ms": MaxP95,
    "p99_ms": MaxP99,
}
"""Each form by the key that only it has."""

HOW_TO_WRITE = (
    "{at_least = 4, serving_by_s = 40}, {at_most = 1, serving_by_s = 120}, "
    "{peak_at_least = 6}, {max_failed = 0}, {p50_ms = 300}, {p95_ms = 800}, {p99_ms = 900}"
)


def _form(value: Any) -> str | None:
    if isinstance(value, dict):
        return next((key for key in FORMS if key in value), None)
    return next((key for key, form in FORMS.items() if isinstance(value, form)), None)


AnyExpectation = Annotated[
    Annotated[ServingAtLeast, Tag("at_least")]
    | Annotated[ServingAtMost, Tag("at_most")]
    | Annotated[PeakAtLeast, Tag("peak_at_least")]
    | Annotated[MaxFailed, Tag("max_failed")]
    | Annotated[MaxP50, Tag("p50_ms")]
    | Annotated[MaxP95, Tag("p95_ms")]
    | Annotated[MaxP99, Tag("p99_ms")],
    Discriminator(
        _form,
        custom_error_type="no_such_expectation",
        custom_error_message=f"none of {HOW_TO_WRITE}",
    ),
]
