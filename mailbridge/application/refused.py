"""What cannot become a job, whoever tries it again."""

from __future__ import annotations

from mailbridge.errors import MailbridgeError
from mailbridge.reply import Reply


class JobRefused(MailbridgeError):
    """The message cannot be made into a job. `reply` is permanent, in words for the sender."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(reply.text)
