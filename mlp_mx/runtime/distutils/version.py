"""Version numbers that compare with each other and with text."""

import functools
import re

__all__ = ["LooseVersion", "StrictVersion"]


@functools.total_ordering
class LooseVersion:
    """Numbers and words: "1.26.4", "2.0.0rc1". `version` is the list of its parts."""

    def __init__(self, vstring=None):
        self.vstring = vstring
        self.version = self.parse(vstring) if vstring else []

    def parse(self, vstring):
        """Split a version's text; return what is compared."""
        return [int(part) if part.isdigit() else part
                for part in re.findall(r"\d+|[a-z]+|[^\da-z.]+", vstring)]

    def _of(self, other):
        return (type(self)(other) if isinstance(other, str) else other).version

    def __eq__(self, other):
        return self.version == self._of(other)

    def __lt__(self, other):
        return self.version < self._of(other)

    def __str__(self):
        return str(self.vstring)

    def __repr__(self):
        return f"{type(self).__name__} ('{self}')"


class StrictVersion(LooseVersion):
    """Two or three numbers, and a or b with a number for a pre-release: "1.2", "1.2.3b4"."""

    def parse(self, vstring):
        """Split a version's text, or raise a ValueError; return what is compared."""
        match = re.fullmatch(r"(\d+)\.(\d+)(?:\.(\d+))?(?:([ab])(\d+))?", vstring, re.ASCII)
        if not match:
            raise ValueError(f"invalid version number '{vstring}'")
        *numbers, letter, number = match.groups(default="0")
        return [*map(int, numbers), letter if match[4] else "final", int(number)]
