"""Download a file of known size within a fixed time, however slow the server is."""

import threading
import time

from .._support.progress import bar

__all__ = ["Failed", "get"]

SECONDS = 6  # in which a server must send LEAST bytes, or the rest
LEAST = 60_000  # 10 kB/s
SECONDS_TO_CONNECT = 2  # to each address of a server; some have eight
POLL = 0.1  # seconds between looks at what has arrived
CHUNK = 1 << 14


class Failed(Exception):
    """A server has sent nothing usable; the message says why in a few words."""


def get(url, size, progress=False):
    """Download `size` bytes into memory, as they are sent.

    A thread does the work, because a name server, a header or a body that trickles in can keep it
    waiting forever. When a server is too slow, the thread is abandoned.

    Parameters
    ----------
    url : str
    size : int
    progress : bool, default False
        Show a bar on standard error, if that is a terminal.

    Returns
    -------
    bytearray
        Its content is for the caller to verify.

    Raises
    ------
    Failed
        If the server fails, sends more or less than `size`, or less than 10 kB/s.
    OSError
        If the certificates that the settings name are missing.
    """
    received, errors, abandoned = bytearray(), [], threading.Event()

    def work():
        try:
            for chunk in _chunks(url):
                if abandoned.is_set() or len(received) > size:
                    break
                received.extend(chunk)
        except Exception as error:  # for the thread that waits
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    options = {"desc": url.rpartition("/")[2], "total": size, "unit": "B", "unit_scale": True}
    try:
        with bar(show=progress, **options) as shown:
            thread.start()
            _wait(thread, received, shown)
    finally:
        abandoned.set()
    if errors:
        raise _failure(errors[0])
    if len(received) != size:
        raise Failed("wrong size")
    return received


def _wait(thread, received, shown):
    """Return when the thread has ended; raise `Failed` if too little arrives."""
    counted, since = 0, time.monotonic()
    while thread.is_alive():
        thread.join(POLL)
        shown.update(len(received) - shown.n)
        if len(received) >= counted + LEAST:
            counted, since = len(received), time.monotonic()
        elif time.monotonic() > since + SECONDS and thread.is_alive():
            raise Failed("timed out")


def _chunks(url):
    """Yield the bytes of a response as they are on the server, without decoding them."""
    import requests

    with requests.get(
        url, stream=True, timeout=(SECONDS_TO_CONNECT, SECONDS), hooks={"response": _skip_redirect},
        headers={"Accept-Encoding": "identity"},
    ) as response:
        response.raise_for_status()
        yield from response.raw.stream(CHUNK, decode_content=False)


def _skip_redirect(response, **options):
    """Close a redirect: requests would read its body, however long."""
    if response.is_redirect:
        response.close()


def _failure(error):
    """The exception to raise for one of the thread's."""
    import requests
    import urllib3

    if not isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError)):
        return error
    if getattr(error, "response", None) is not None:
        return Failed(f"HTTP {error.response.status_code}")
    return Failed("timed out" if "timed out" in str(error) else "connection failed")
