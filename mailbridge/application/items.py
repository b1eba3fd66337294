"""The eleven items of a message that transforms insert and `ctl_settings` look through.

Their names are historic and exact in case. The values are plain text from the message and its envelope; nothing in a
value has a meaning to whoever inserts it.
"""

from __future__ import annotations

from collections.abc import Mapping

ITEMS = (
    "address",  # the envelope sender (MAIL FROM)
    "app",  # the name of the application
    "format",  # txt, eml, mht or htm: what the text file is
    "messageFromAddress",
    "messageFromName",
    "messageReplyToAddress",
    "messageReplyToName",
    "msgFileName",  # the name of the text file
    "pri",  # high, normal, low, or empty when the message does not say
    "subject",
    "msg",  # the text without its @commands
)

Items = Mapping[str, str]
"""The value of each item by name; an item without a value is missing or empty."""
