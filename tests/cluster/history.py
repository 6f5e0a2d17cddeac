"""What clients did, and whether one order of all of it explains it.

Every write of the store has its own revision, so the server itself names an order: the events of a
watch from revision 1. check() holds every operation against it: what was acknowledged is there, at
its revision; what failed for certain is not; what is there was asked for, and once; every read
saw the state of the revision it names; and the order keeps to real time (what ended before
another began is before it), which makes the history linearizable, over all keys at once. write()
gives the text that the checker `linear` reads, which knows nothing of revisions.
"""
import bisect
import collections
import dataclasses
import os
import subprocess

from cluster import ROOT

ABSENT = "-"
UNSEEN = "!"
LINEAR_SECONDS = 300
PROBE = "probe"     # a key that is written outside of the history


@dataclasses.dataclass
class Op:
    client: int
    kind: str               # put, get, delete, cas; sget: a serializable read
    key: str
    value: str              # of put: the new one; of cas: OLD>NEW
    began: int              # microseconds
    ended: int = 0
    outcome: str = "unknown"
    result: str = ABSENT
    revision: int = 0       # of the answer's header
    node: int = 0
    error: str = ""

    def writes(self):
        """Whether it is known to have written."""
        return self.outcome == "ok" and (self.kind == "put" or (
            self.kind in ("delete", "cas") and self.result == "1"))

    def new_value(self):
        return self.value.split(">")[-1]

    def line(self):
        return "%d %s %s %s %d %s %s %s" % (
            self.client, self.kind, self.key, self.value, self.began,
            ABSENT if self.outcome == "unknown" else self.ended, self.outcome,
            self.result if self.outcome == "ok" else ABSENT)


def write(ops, path):
    """All but serializable reads, which may be old, and reads that told nothing."""
    with open(path, "w", encoding="ascii") as f:
        for op in ops:
            if op.kind != "sget" and not (op.kind == "get" and op.outcome != "ok"):
                f.write(op.line() + "\n")


class Truth:
    """The events, as states: what a key was at a revision."""

    def __init__(self, events):
        self.last = max(events, default=1)
        self.changes = collections.defaultdict(list)    # key: [(revision, value or ABSENT)]
        self.of_value = collections.defaultdict(list)   # (key, value): [revision]
        self.at = {}                                    # revision: (key, value or ABSENT)
        for revision in sorted(events):
            for kind, kv in events[revision]:
                key = kv.key.decode()
                value = kv.value.decode() if kind == 0 else ABSENT
                self.changes[key].append((revision, value))
                self.of_value[key, value].append(revision)
                self.at[revision] = (key, value)

    def state(self, key, revision):
        changes = self.changes.get(key, ())
        at = bisect.bisect_right(changes, (revision, "\x7f"))
        return changes[at - 1][1] if at else ABSENT


def describe(op):
    return "%s (rev %d, node %d%s)" % (op.line(), op.revision, op.node,
                                       ", " + op.error if op.error else "")


def check_write(op, truth):
    value = ABSENT if op.kind == "delete" else op.new_value()
    if truth.at.get(op.revision) != (op.key, value):
        return ["acknowledged and lost: %s; at its revision is %s" % (
            describe(op), truth.at.get(op.revision))]
    if op.kind == "cas":
        old = op.value.split(">", maxsplit=1)[0]
        before = truth.state(op.key, op.revision - 1)
        if before != old:
            return ["swapped though it was %s: %s" % (before, describe(op))]
    if op.kind == "delete" and truth.state(op.key, op.revision - 1) == ABSENT:
        return ["deleted what was not there: " + describe(op)]
    return []


def check_read(op, truth):
    """get and sget, and cas and delete that changed nothing."""
    there = truth.state(op.key, op.revision)
    if op.revision > truth.last:
        return ["a revision that never was: " + describe(op)]
    if op.kind == "delete":
        return [] if there == ABSENT else ["there was %s to delete: %s" % (there, describe(op))]
    if op.kind == "cas" and there == op.value.split(">", maxsplit=1)[0]:
        return ["not swapped though it was so: " + describe(op)]
    if op.result not in (there, UNSEEN):
        return ["read what was not there, it was %s: %s" % (there, describe(op))]
    return []


def check_values(ops, truth):
    """What is there was asked for and happened once; what failed is not there."""
    faults, asked = [], set()
    deletes = collections.Counter()     # of a key: how many may have happened
    for op in ops:
        if op.kind in ("put", "cas"):
            there = truth.of_value.get((op.key, op.new_value()), ())
            if len(there) > 1:
                faults.append("happened twice, at %s: %s" % (there, describe(op)))
            if op.outcome == "fail" and there:
                faults.append("failed, yet is there at %s: %s" % (there, describe(op)))
            asked.add((op.key, op.new_value()))
        elif op.kind == "delete" and (op.outcome == "unknown" or op.writes()):
            deletes[op.key] += 1
    for (key, value), revisions in truth.of_value.items():
        if value == ABSENT and len(revisions) > deletes[key]:
            faults.append("%s was deleted %d times, asked for %d times" % (
                key, len(revisions), deletes[key]))
        elif value != ABSENT and key != PROBE and (key, value) not in asked:
            faults.append("nobody put %s = %s" % (key, value))
    return faults


def point(op, truth):
    """Its place in the order: a write at 2r, what reads the state after it at 2r + 1; 0: none."""
    if op.outcome == "ok":
        return 2 * op.revision + (not op.writes())
    there = truth.of_value.get((op.key, op.new_value())) if op.kind in ("put", "cas") else None
    return 2 * there[0] if there and op.outcome == "unknown" else 0


def check_time(ops, truth):
    """The order of revisions keeps to real time."""
    faults = []
    steps = []
    for op in ops:
        at = point(op, truth) if op.kind != "sget" else 0
        if at:
            steps.append((op.began, 0, at, op))
            if op.outcome == "ok":
                steps.append((op.ended, 1, at, op))
    steps.sort(key=lambda s: s[:3])
    newest, whose = 0, None
    for _, ended, at, op in steps:
        if ended:
            if at > newest:
                newest, whose = at, op
        elif at < newest or (at == newest and op.writes()):
            faults.append("old: %s\n   began after the end of: %s" % (
                describe(op), describe(whose)))
    return faults


def check(ops, events):
    """Faults as texts. events: revision -> [(type, KeyValue)], all of them from the first on."""
    truth = Truth(events)
    faults = ["revision %d has no event" % r for r in range(2, truth.last + 1) if r not in events]
    for op in ops:
        if op.outcome == "ok":
            faults += (check_write if op.writes() else check_read)(op, truth)
    return faults + check_values(ops, truth) + check_time(ops, truth)


def linear(path):
    """What the other checker says of a written history, and the faults it finds."""
    binary = os.path.join(ROOT, os.environ.get("LINEAR_BIN", "build/release/linear"))
    if not os.path.exists(binary):
        return "%s is not built, checked by revisions only" % binary, []
    done = subprocess.run([binary, path], capture_output=True, text=True, check=False,
                          timeout=LINEAR_SECONDS)
    word = (done.stdout.strip().splitlines() or ["linear: no word"])[-1]
    return word, [] if done.returncode == 0 else ["linear %s: %s%s" % (
        path, done.stdout, done.stderr)]
