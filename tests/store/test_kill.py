"""Kill -9 at random moments: nothing acknowledged is missing, nothing deleted comes back, no id comes twice."""

import random
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import mailbridge
from mailbridge.store.changes import AddUser
from mailbridge.store.check import check_store
from tests.store.test_sqlite import OpenStore
from tests.store.values import CREDENTIALS
from tests.store.victim import octets

ROUNDS = 6
ROOT = Path(mailbridge.__file__).resolve().parent.parent


class KillTests(OpenStore, SynchronousTestCase):
    """A store in a process that is killed again and again."""

    def setUp(self):
        """A store with a user, closed."""
        self.open(min_free=0)
        (self.user,) = self.wait(self.store.commit(AddUser("bonnie", CREDENTIALS)))
        self.close(self.store, self.clock)
        self.accepted = {}
        self.maybe_gone = set()
        self.gone = set()
        self.settled = set()
        self.maybe_settled = set()

    def live_and_die(self, first, seconds):
        """Run the victim for a while after its first word, kill it, and take down what it said."""
        victim = subprocess.Popen([sys.executable, "-m", "tests.store.victim", str(self.folder.absolute()),
                                   str(self.user), str(first)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        said = [victim.stdout.readline()]
        time.sleep(seconds)
        victim.kill()
        said += victim.stdout.read().splitlines()
        victim.wait()
        victim.stdout.close()
        for line in said:
            match line.split():
                case ["A", number, uid]:
                    self.assertNotIn(int(uid), self.accepted, "an id came twice")
                    self.accepted[int(uid)] = int(number)
                case ["u", uid]:
                    self.maybe_gone.add(int(uid))
                case ["U", uid]:
                    self.gone.add(int(uid))
                case ["c", recipient]:
                    self.maybe_settled.add(recipient)
                case ["C", recipient]:
                    self.settled.add(recipient)

    def test_killed(self):
        """Every acknowledged message is there, octet for octet, unless its deletion had begun."""
        chance = random.Random()
        for round_ in range(ROUNDS):
            self.live_and_die(round_ * 100_000, chance.uniform(0.0, 0.12))
            self.assertEqual(check_store(self.folder / "mail.db"), [])
        self.open(self.folder, min_free=0)
        uids = set(self.wait(self.store.snapshot(self.user)).uids)
        self.assertEqual(self.accepted.keys() - self.maybe_gone - uids, set(), "acknowledged mail is missing")
        self.assertEqual(self.gone & uids, set(), "deleted mail came back")
        self.assertGreater(len(self.accepted), ROUNDS)
        for uid in sorted(uids):
            message = self.store.messages([uid])[uid]
            expected = octets(int(message.queue_id))
            self.assertEqual(self.store.read(message.content, 0, len(expected) + 1), expected)
        self.deliveries()

    def deliveries(self):
        """Every queued delivery that was not settled waits; none that was settled does."""
        waiting = {delivery.recipient for lane in self.wait(self.store.lanes())
                   for delivery in self.wait(self.store.claim("me", lane.id, 1_000_000, 60))}
        queued = {f"{number}@x" for number in self.accepted.values() if number % 4 == 0}
        self.assertEqual(queued - self.maybe_settled - waiting, set(), "a queued delivery is missing")
        self.assertEqual(self.settled & waiting, set(), "a settled delivery came back")
