"""A multi-line answer in bulk: its dots off, its line ends CR LF, its end found wherever the network cut it.

Only CR LF dot CR LF ends it, as the server that stuffed it saw lines: an end found after a lone LF would let the author
of a message speak for the server.
"""

from __future__ import annotations

from mailbridge.lines import DotUnstuffer, Normaliser

_END = b"\r\n.\r\n"


class DottedText:
    """One text. Linear in what it is given: no line is looked at by itself."""

    def __init__(self) -> None:
        self._dots = DotUnstuffer()
        self._lines = Normaliser()
        self.ended = False

    def take(self, data: bytes, at: int) -> tuple[bytes, int]:
        """(octets of the text, where in `data` the rest begins). Takes `data` from `at` up to the end mark."""
        end = data.find(_END, at)  # at the latest: the mark may have begun before `at`, and then `feed` finds it first
        stop = end + len(_END) if end >= 0 else len(data)
        text, rest = self._dots.feed(data[at:stop])
        text = self._lines.feed(text)
        if rest is None:
            return text, stop
        self.ended = True
        return text + self._lines.finish(), stop - len(rest)
