"""How far a long evaluation is: a bar on a terminal, a line a minute elsewhere."""

import logging
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from tqdm import tqdm

EVERY = 60.0  # seconds between two lines

log = logging.getLogger(__name__)


class Progress(Protocol):
    """What a long work tells how far it is."""

    def update(self, n: float) -> object:
        """Tell that n more of its steps are done."""


class Lines:
    """Logs a line a minute: what is done, its share, the time left. It is for output that is not a terminal.

    Args:
        total: number of steps.
        what: what is done, as a line says it.
    """

    def __init__(self, total: float, what: str) -> None:
        self.total, self.what, self.done = total, what, 0.0
        self.started = self.last = time.monotonic()

    def update(self, n: float) -> None:
        """Count n steps, and log a line where the last one is a minute ago."""
        self.done += n
        now = time.monotonic()
        if now - self.last >= EVERY and self.done < self.total:
            left = (self.total / self.done - 1) * (now - self.started)
            log.info("%s  %.0f %%  %s left", self.what, 100 * self.done / self.total, duration(left))
            self.last = now


def progress(total: float, what: str) -> AbstractContextManager[Progress]:
    """What shows the progress of a long work, as long as a ``with`` block lasts.

    Args:
        total: number of steps, or of fractions of them.
        what: what is done.
    """
    if not sys.stderr.isatty():
        return nullcontext(Lines(total, what))
    bar: tqdm = tqdm(total=total, desc=what, bar_format="{l_bar}{bar}| {elapsed}<{remaining}", leave=False)
    return bar


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(4.26), duration(95), duration(1000), duration(9000)
    ('4.3 s', '95 s', '17 min', '2 h 30 min')
    """
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
