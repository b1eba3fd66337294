"""Tells `twist` about mailbridge. There is no `__init__.py` here or above: this folder is added to Twisted's own."""

from twisted.application.service import ServiceMaker

mailbridge = ServiceMaker(
    "mailbridge",
    "mailbridge.tap",
    "A mail bridge: SMTP in, POP3 out, one durable store between them.",
    "mailbridge",
)

mailbridge_oce = ServiceMaker(
    "mailbridge-oce",
    "mailbridge.ocetap",
    "An OCE for bridges and other tribes: takes messages over HTTP and hands them out.",
    "mailbridge-oce",
)
