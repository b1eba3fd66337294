"""The tests, at the paths of what they test. Run them with `python -m twisted.trial tests`."""

from hypothesis import settings

# A busy machine is no fault of the code: the time of one example decides nothing.
settings.register_profile("mailbridge", deadline=None)
settings.load_profile("mailbridge")
