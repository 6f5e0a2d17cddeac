"""The checks must find what is wrong: histories with one fault each."""
import copy
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "server"))

import history
from etcd_api import pb
from history import Op
from node import main


def good():
    """Two clients, one key; revisions 2 to 5."""
    return [
        Op(1, "put", "k", "a", 10, 20, "ok", revision=2),
        Op(2, "get", "k", "-", 15, 30, "ok", "a", revision=2),
        Op(1, "cas", "k", "a>b", 30, 40, "ok", "1", revision=3),
        Op(2, "cas", "k", "a>c", 45, 50, "ok", "b", revision=3),
        Op(2, "put", "k", "lost", 55, 60, "fail"),
        Op(1, "put", "k", "late", 55, 60, "unknown"),
        Op(3, "get", "k", "-", 90, 95, "ok", "late", revision=4),
        Op(3, "delete", "k", "-", 100, 110, "ok", "1", revision=5),
        Op(3, "delete", "k", "-", 120, 130, "ok", "0", revision=5),
        Op(3, "sget", "k", "-", 140, 150, "ok", "b", revision=3),
    ]


def events(*changes):
    return {r: [(value is None, pb.KeyValue(key=b"k", value=(value or "").encode()))]
            for r, value in changes}


TRUTH = ((2, "a"), (3, "b"), (4, "late"), (5, None))


class HistoryTest(unittest.TestCase):
    def faults(self, ops, *changes):
        return "\n".join(history.check(ops, events(*(changes or TRUTH))))

    def broken(self, number, **fields):
        ops = copy.deepcopy(good())
        for name, value in fields.items():
            setattr(ops[number], name, value)
        return self.faults(ops)

    def test_good(self):
        self.assertEqual(self.faults(good()), "")

    def test_unknown_may_never_happen(self):
        ops = [op for op in good() if op.began < 90]
        self.assertEqual(self.faults(ops, *TRUTH[:2]), "")

    def test_lost_write(self):
        self.assertIn("acknowledged and lost", self.faults(good()[:3], TRUTH[0]))
        self.assertIn("acknowledged and lost", self.broken(0, revision=3))

    def test_gap(self):
        self.assertIn("revision 3 has no event", self.faults(good(), *TRUTH[:1] + TRUTH[2:]))

    def test_wrong_read(self):
        self.assertIn("read what was not there", self.broken(1, result="b"))
        self.assertIn("read what was not there", self.broken(9, result="a"))
        self.assertIn("read what was not there", self.broken(3, result="c"))

    def test_old_read(self):
        self.assertIn("began after the end of", self.broken(6, result="a", revision=2))

    def test_reads_go_back(self):
        ops = good()[:3]
        ops[2].ended = 100          # the swap takes long; one read sees it, a later one does not
        ops += [Op(4, "get", "k", "-", 50, 60, "ok", "b", revision=3),
                Op(5, "get", "k", "-", 70, 80, "ok", "a", revision=2)]
        self.assertIn("began after the end of", self.faults(ops, *TRUTH[:2]))

    def test_write_in_the_past(self):
        self.assertIn("began after the end of", self.broken(0, began=41, ended=42))

    def test_unknown_in_the_past(self):
        self.assertIn("began after the end of", self.broken(5, began=115))

    def test_future(self):
        self.assertIn("a revision that never was", self.broken(6, revision=9))

    def test_bad_swaps(self):
        self.assertIn("swapped though", self.broken(2, value="x>b"))
        self.assertIn("not swapped though", self.broken(3, value="b>c"))

    def test_deletes(self):
        self.assertIn("to delete", self.broken(8, revision=4))
        self.assertIn("asked for 0 times", self.faults(good()[:7], *TRUTH))

    def test_failed_yet_there(self):
        self.assertIn("failed, yet is there", self.broken(5, outcome="fail"))

    def test_twice(self):
        self.assertIn("happened twice", self.faults(good(), *TRUTH, (6, "late")))

    def test_nobody_put(self):
        self.assertIn("nobody put", self.faults(good(), *TRUTH, (6, "what")))


if __name__ == "__main__":
    main()
