"""The messages with which CPython tests its own email package become jobs in every format."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.recipe import Recipe
from mailbridge.application.textfile import FORMATS
from tests.application.mails import NOW, NUMBER, mail
from tests.application.readers import strict, windows
from tests.application.test_hostile_mail import FAX
from tests.message.hostile import seconds
from tests.message.test_cpython import SUGGESTION, messages


class CPythonTests(SynchronousTestCase):
    """Messages of others, many of them broken on purpose."""

    def test_every_message_in_every_format(self) -> None:
        """Each becomes a job in each of the four formats, and as JSON, in under a second without an exception."""
        found = messages()
        self.assertTrue(found, SUGGESTION)
        settings: list[dict[str, Any]] = [
            {**FAX, "format_preference": [name], "process_att_msg": attached} for name in FORMATS
            for attached in (False, True)
        ]
        recipes = [Recipe.make("sms", **options) for options in (*settings, {"ctl_type": "json"})]
        for path in found:
            one = mail(path.read_bytes())
            for recipe in recipes:
                self.assertLess(seconds(lambda: self._check(recipe, one)), 1.0, path)  # noqa: B023

    def _check(self, recipe: Recipe, one: Any) -> None:
        made = recipe.job(one, NUMBER, NOW)
        if made.files:
            found = strict(made.control.octets)
            self.assertEqual(windows(made.control.octets), found)
            self.assertEqual(found["message"]["text"], made.files[0].name)
            self.assertEqual(found["to"]["number"], "+420603280030")
