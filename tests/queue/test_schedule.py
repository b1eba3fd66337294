"""The schedule: waits, ends and notices by table."""

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.queue.schedule import Schedule

PLAIN = 0.5  # the random number that adds nothing


class ScheduleTests(SynchronousTestCase):
    """A Schedule with its defaults: 5 minutes doubling to 4 hours, 5 days, a notice after 4 hours."""

    schedule = Schedule()

    def test_wait_doubles(self):
        """The wait doubles with each failure up to the longest, however many there were."""
        for failures, seconds in ((0, 300), (1, 300), (2, 600), (3, 1200), (6, 9600), (7, 14400), (8, 14400),
                                  (10**9, 14400)):
            self.assertAlmostEqual(self.schedule.wait(failures, PLAIN), seconds, msg=failures)

    def test_jitter(self):
        """What failed together is spread over a fifth of the wait."""
        self.assertAlmostEqual(self.schedule.wait(1, 0.0), 270)
        self.assertAlmostEqual(self.schedule.wait(1, 1.0), 330)

    def test_last_attempt(self):
        """The last attempt is made when the time of the message ends, not hours later."""
        self.assertAlmostEqual(self.schedule.again(1000, 0, 1, PLAIN), 1300)
        self.assertEqual(self.schedule.again(432000 - 60, 0, 7, PLAIN), 432000)
        self.assertAlmostEqual(self.schedule.again(432000, 0, 7, PLAIN), 446400)

    def test_expiry(self):
        """A message is given up five days after it came."""
        for now, expired in ((1000.0, False), (432999.9, False), (433000.0, True), (10**9, True)):
            self.assertIs(self.schedule.expired(now, 1000.0), expired, now)

    def test_delay_notice(self):
        """A delay is told once, four hours after the message came."""
        for now, noticed, expected in ((14399, False, False), (14400, False, True), (14400, True, False)):
            self.assertIs(self.schedule.delayed(now, 0, noticed), expected, (now, noticed))
