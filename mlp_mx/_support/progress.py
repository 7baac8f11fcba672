"""Progress bars, and loops that signals end between two steps."""

import sys

from . import signals

__all__ = ["bar", "steps"]


def bar(iterable=None, show=True, **options):
    """A `tqdm.tqdm` on standard error, if wanted and if that is a terminal; removed at its end."""
    import tqdm  # here, because --help does not need it

    disable = None if show and sys.stderr else True  # None: unless the stream is a terminal
    return tqdm.tqdm(iterable, leave=False, disable=disable, **options)


def steps(iterable, show=True, **options):
    """Yield the items of an iterable under a `bar`; a signal ends the loop between two."""
    with signals.deferred():
        for item in bar(iterable, show, **options):
            signals.check()
            yield item
