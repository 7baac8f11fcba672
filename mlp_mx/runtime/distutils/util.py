"""Words that mean yes or no."""

__all__ = ["strtobool"]


def strtobool(val):
    """1 for y, yes, t, true, on and 1; 0 for n, no, f, false, off and 0; else a ValueError."""
    val = val.lower()
    if val in ("y", "yes", "t", "true", "on", "1"):
        return 1
    if val in ("n", "no", "f", "false", "off", "0"):
        return 0
    raise ValueError(f"invalid truth value {val!r}")
