"""Feeds one random stream of operations to Debian's etcd and to confman and compares every field
of every answer and every watch event:

    differ.py [--seed N] [--ops N] [--left etcd] [--right confman]

Two processes drive one server each with the same generator (differ_ops.py); it sees only what the
server answered, so the streams stay equal as long as the answers are. The first difference that
ALLOWED does not name is printed with the seed, the operation and both answers, and ends the run.
"""
import argparse
import bisect
import os
import pickle
import queue
import random
import subprocess
import sys
import tempfile
import threading
import time

import grpc

import etcd_api
from differ_ops import Ops
from etcd_api import Api, pb
from node import Node

BARRIER_EVERY = 400     # operations between two looks at what the watches heard
STREAMS = 3             # watch streams besides the one that hears everything
PENDING_MAX = 32
WAIT_SECONDS = 20
SETTLE_SECONDS = 0.35
READS = ("Range", "LeaseTimeToLive", "LeaseLeases")
RESPONSES = {m: getattr(pb, row[2]) for m, row in etcd_api.METHODS.items()}
RESPONSES.update(WatchCreate=pb.WatchResponse, WatchCancel=pb.WatchResponse,
                 WatchProgress=pb.WatchResponse, WatchEvents=pb.WatchResponse)

SORTED_BY = {0: lambda kv: kv.key, 1: lambda kv: kv.version, 2: lambda kv: kv.create_revision,
             3: lambda kv: kv.mod_revision, 4: lambda kv: kv.value}


def even_ties(request, answer):
    """Keys that are equal in what they are sorted by: in order of key; where the limit cuts among
    them, only what they are sorted by is left. What is not in the asked order stays as it is."""
    values = [SORTED_BY[request.sort_target](kv) for kv in answer.kvs]
    wanted = sorted(values, reverse=request.sort_order == 2)
    if request.sort_target == 0 or values != wanted:
        return
    kvs = sorted(answer.kvs, key=lambda kv: kv.key)
    kvs.sort(key=SORTED_BY[request.sort_target], reverse=request.sort_order == 2)
    cut = SORTED_BY[request.sort_target](kvs[-1]) if answer.more else None
    del answer.kvs[:]
    for kv in kvs:
        at_cut = cut is not None and SORTED_BY[request.sort_target](kv) == cut
        answer.kvs.append(type(kv)() if at_cut else kv)


def even_ties_in_txn(request, answer):
    ops = request.success if answer.succeeded else request.failure
    for op, response in zip(ops, answer.responses):
        if op.HasField("request_range"):
            even_ties(op.request_range, response.response_range)
        elif op.HasField("request_txn"):
            even_ties_in_txn(op.request_txn, response.response_txn)


def same_but_ties(left, right):
    kind, name, text, _ = left
    if kind not in ("Range", "Txn") or not isinstance(left[3], bytes) or not isinstance(
            right[3], bytes):
        return False
    request = getattr(pb, name).FromString(text)
    answers = [RESPONSES[kind].FromString(side[3]) for side in (left, right)]
    for answer in answers:
        (even_ties if kind == "Range" else even_ties_in_txn)(request, answer)
    return answers[0] == answers[1]


PUT_ERRORS = ("NOT_FOUND: etcdserver: requested lease not found",
              "INVALID_ARGUMENT: etcdserver: key not found")
RANGE_ERRORS = ("OUT_OF_RANGE: etcdserver: mvcc: required revision is a future revision",
                "OUT_OF_RANGE: etcdserver: mvcc: required revision has been compacted")


def same_but_first_error(left, right):
    """A transaction with a wrong put and a wrong range; left is etcd."""
    return left[0] == "Txn" and left[3] in PUT_ERRORS and right[3] in RANGE_ERRORS


# What may differ, and why. The first six are evened out while recording (Driver.canonical and
# Driver.barrier); the functions look at one pair of answers: (request, left, right) -> equal?
ALLOWED = [
    ("header cluster_id, member_id, raft_term", "each server's own", None),
    ("remaining TTL", "depends on the clock: only checked to be within 3 s of what it must be",
     None),
    ("order of lease lists and of a lease's keys", "etcd's follow clocks and a Go map", None),
    ("ID of LeaseGrant without an ID", "random", None),
    ("hash_revision of HashKV", "3.4 has no such field", None),
    ("how events of several revisions are grouped into watch responses",
     "timing; checked instead: one revision is never torn, order and count are right", None),
    ("order of keys that are equal in what they are sorted by",
     "etcd sorts with Go's sort.Sort, which leaves equal ones in any order", same_but_ties),
    ("which of several errors of a transaction is told",
     "3.4 looks at all puts first, later ones go through it in order (txn.go), as confman does",
     same_but_first_error),
]


class Stream:
    """One watch stream: control answers in a queue, events by watch id."""

    def __init__(self, api):
        self.requests = queue.SimpleQueue()
        self.control = queue.SimpleQueue()
        self.progress = queue.SimpleQueue()
        self.changed = threading.Condition()
        self.events = {}
        self.torn = []
        self.last = {}
        self.call = api.Watch(iter(self.requests.get, None))
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for answer in self.call:
                self.take(answer)
        except grpc.RpcError as e:
            self.control.put(e)

    def take(self, answer):
        if answer.created or answer.canceled:
            if answer.created and not answer.canceled:
                self.events[answer.watch_id] = []
            self.control.put(answer)
        elif answer.watch_id == -1:
            self.progress.put(answer)
        elif answer.events:
            first, last = answer.events[0].kv.mod_revision, answer.events[-1].kv.mod_revision
            if self.last.get(answer.watch_id) == first:
                self.torn.append("revision %d in two responses" % first)
            if last > answer.header.revision:
                self.torn.append("event %d under header %d" % (last, answer.header.revision))
            self.last[answer.watch_id] = None if answer.fragment else last
            with self.changed:
                self.events[answer.watch_id].extend(answer.events)
                self.changed.notify()

    def wait_events(self, watch_id, done):
        with self.changed:
            return self.changed.wait_for(lambda: done(self.events[watch_id]), WAIT_SECONDS)


class Watcher:
    def __init__(self, request, start):
        self.request = request
        self.end = request.range_end
        self.key = request.key or b"\0"
        self.filters = set(request.filters)
        self.start = start
        self.next = None        # place in the driver's history
        self.settled = 0        # when etcd surely counts it among those that are up to date

    def wants(self, event):
        key, kind, revision = event
        if revision < self.start:
            return False
        if kind == 0 and 0 in self.filters or kind == 1 and 1 in self.filters:
            return False
        if self.end == b"":
            return key == self.key
        return key >= self.key and (self.end == b"\0" or key < self.end)


class Driver:
    def __init__(self, endpoint, seed, emit):
        self.api = Api(endpoint)
        self.ops = Ops(seed)
        self.random = random.Random(seed + 1)
        self.emit = emit
        self.pending = []
        self.touched = {}       # lease: when it was granted or renewed
        self.watchers = {}      # (stream number, watch id): Watcher
        self.history = []       # (key, kind, revision) of every event there was
        self.revisions = []     # their revisions, for bisecting
        self.streams = [Stream(self.api) for _ in range(STREAMS + 1)]
        self.keep_alive_queue = queue.SimpleQueue()
        self.keep_alive = self.api.LeaseKeepAlive(iter(self.keep_alive_queue.get, None))

    def run(self, count):
        self.watch_create(pb.WatchCreateRequest(key=b"\0", range_end=b"\0", prev_kv=True,
                                                start_revision=2), 0)
        for n in range(count):
            kind, request = self.ops.next()
            if kind in READS:
                self.pending.append((kind, request, getattr(self.api, kind).future(request)))
                if len(self.pending) >= PENDING_MAX:
                    self.flush()
                continue
            self.flush()
            if n % BARRIER_EVERY == 0:
                self.barrier()
                self.hash()
            special = {"WatchCreate": self.watch_create, "WatchCancel": self.watch_cancel,
                       "WatchProgress": self.watch_progress, "Compact": self.compact,
                       "LeaseGrant": self.grant, "LeaseKeepAlive": self.renew}.get(kind)
            if special:
                special(request)
            else:
                self.unary(kind, request)
        self.flush()
        self.barrier()
        self.api.close()

    def flush(self):
        for kind, request, future in self.pending:
            self.finish(kind, request, future.result)
        self.pending = []

    def unary(self, kind, request):
        return self.finish(kind, request, lambda: getattr(self.api, kind)(request))

    def finish(self, kind, request, result):
        try:
            answer = result()
        except grpc.RpcError as e:
            self.emit(kind, request, "%s: %s" % (e.code().name, e.details()))
            return None
        self.ops.revision = max(self.ops.revision, answer.header.revision)
        raw = self.canonical(kind, request, answer)
        self.emit(kind, request, raw)
        return answer

    def canonical(self, kind, request, answer):
        header = answer.header
        header.cluster_id = header.member_id = header.raft_term = 0
        if kind == "LeaseTimeToLive":
            answer.keys.sort()
            if answer.TTL >= 0:
                left = answer.grantedTTL - (time.monotonic() - self.touched[request.ID])
                if abs(left - answer.TTL) <= 3:
                    answer.TTL = 0
        elif kind == "LeaseLeases":
            answer.leases.sort(key=lambda lease: lease.ID)
        elif kind == "HashKV":
            answer.hash_revision = 0
        elif kind == "LeaseGrant" and request.ID == 0:
            answer.ID = 0 if answer.ID > 0 else -1
        return answer.SerializeToString(deterministic=True)

    def grant(self, request):
        if request.ID:
            if self.unary("LeaseGrant", request):
                self.touched[request.ID] = time.monotonic()
            return
        answer = self.api.LeaseGrant(request)
        lease = answer.ID
        self.emit("LeaseGrant", request, self.canonical("LeaseGrant", request, answer))
        answer = self.api.LeaseRevoke(pb.LeaseRevokeRequest(ID=lease))
        self.emit("LeaseRevoke", request, self.canonical("LeaseRevoke", request, answer))

    def renew(self, request):
        self.keep_alive_queue.put(request)
        answer = self.finish("LeaseKeepAlive", request, lambda: next(self.keep_alive))
        if answer and answer.TTL:
            self.touched[request.ID] = time.monotonic()

    def compact(self, request):
        self.barrier()
        # etcd looks every 100 ms at watchers that begin in the past, even at those who have nothing
        # to hear; compaction must not overtake them, or it would be chance who is told so.
        settled = max(w.settled for w in self.watchers.values())
        time.sleep(max(0, settled - time.monotonic()))
        if self.unary("Compact", request):
            self.ops.compacted = request.revision

    def hash(self):
        """etcd's own sum over every version that is kept, at some revision that still can be; 3.4
        refuses the compacted one itself, later ones do not."""
        last = self.ops.revision
        first = min(self.ops.compacted + 1, last)
        if first > self.ops.compacted:
            self.unary("HashKV", pb.HashKVRequest(revision=self.random.randint(first, last)))

    def watch_create(self, request, number=None):
        number = self.random.randrange(1, len(self.streams)) if number is None else number
        stream = self.streams[number]
        stream.requests.put(pb.WatchRequest(create_request=request))
        answer = self.finish("WatchCreate", request, lambda: self.control(stream))
        if answer is None or answer.canceled:
            return
        place = (number, answer.watch_id)
        stream.last.pop(answer.watch_id, None)
        start = request.start_revision or self.ops.revision + 1
        if 0 < start < self.ops.compacted:
            self.finish("WatchCancel", request, lambda: self.control(stream))
            return
        watcher = self.watchers[place] = Watcher(request, start)
        if start <= self.ops.revision:
            watcher.settled = time.monotonic() + SETTLE_SECONDS
        if number:
            self.ops.watches.append(place)

    def watch_cancel(self, place):
        self.barrier()
        stream = self.streams[place[0]]
        request = pb.WatchRequest(cancel_request=pb.WatchCancelRequest(watch_id=place[1]))
        stream.requests.put(request)
        self.finish("WatchCancel", request, lambda: self.control(stream))
        del self.watchers[place]

    def watch_progress(self, unused):
        self.barrier()
        stream = self.streams[0]
        request = pb.WatchRequest(progress_request=pb.WatchProgressRequest())
        for _ in range(WAIT_SECONDS * 2):       # it is unanswered while a watcher is behind
            stream.requests.put(request)
            try:
                answer = stream.progress.get(timeout=0.5)
                break
            except queue.Empty:
                answer = pb.WatchResponse(cancel_reason="no answer to a progress request")
        self.finish("WatchProgress", request, lambda: answer)

    @staticmethod
    def control(stream):
        try:
            answer = stream.control.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            answer = pb.WatchResponse(cancel_reason="no answer")
        if isinstance(answer, grpc.RpcError):
            raise answer
        return answer

    def barrier(self):
        """Waits until every watcher has heard all that it must, and records what it heard."""
        if self.ops.revision > 1:
            self.streams[0].wait_events(
                0, lambda e: bool(e) and e[-1].kv.mod_revision >= self.ops.revision
                or not e and bool(self.revisions) and self.revisions[-1] >= self.ops.revision)
        for event in self.streams[0].events[0]:
            revision = event.kv.mod_revision
            if revision > (self.revisions[-1] if self.revisions else 1) + 1:
                self.emit("WatchEvents", "a gap before revision %d" % revision, "")
            self.history.append((event.kv.key, event.type, revision))
            self.revisions.append(revision)
        for place, watcher in sorted(self.watchers.items()):
            self.collect(place, watcher)
        for stream in self.streams:
            if stream.torn:
                self.emit("WatchEvents", "torn: %s" % stream.torn, "")

    def collect(self, place, watcher):
        stream = self.streams[place[0]]
        if watcher.next is None:
            watcher.next = bisect.bisect_left(self.revisions, watcher.start)
        expected = [e for e in self.history[watcher.next:] if watcher.wants(e)]
        watcher.next = len(self.history)
        stream.wait_events(place[1], lambda e: len(e) >= len(expected))
        with stream.changed:
            heard = stream.events[place[1]]
            stream.events[place[1]] = []
        if [(e.kv.key, e.type, e.kv.mod_revision) for e in heard] != expected:
            self.emit("WatchEvents", "%s heard %d events, not the %d expected; it asked for %s" % (
                place, len(heard), len(expected), watcher.request), "")
        if heard or expected:
            self.emit("WatchEvents", "of stream %d watch %d" % place,
                      pb.WatchResponse(events=heard).SerializeToString(deterministic=True))


def drive(endpoint, seed, count):
    """The driving process: records go to standard output."""
    out = sys.stdout.buffer

    def emit(kind, request, answer):
        text = request if isinstance(request, str) else request.SerializeToString()
        pickle.dump((kind, type(request).__name__, text, answer), out)

    Driver(endpoint, seed, emit).run(count)
    out.flush()
    os._exit(0)     # gRPC's threads have nothing more to do


def records(pipe):
    while True:
        try:
            yield pickle.load(pipe)
        except EOFError:
            yield None


def shown(record, other):
    if record is None:
        return "    (the driver ended)"
    kind, _, _, answer = record
    if isinstance(answer, bytes):
        answer = RESPONSES[kind].FromString(answer)
        if kind == "WatchEvents" and other and isinstance(other[3], bytes):
            rest = RESPONSES[kind].FromString(other[3]).events
            same = next((i for i, pair in enumerate(zip(answer.events, rest))
                         if pair[0] != pair[1]), min(len(answer.events), len(rest)))
            answer = "%d events; from number %d on:\n%s" % (
                len(answer.events), same, pb.WatchResponse(events=answer.events[same:same + 3]))
        answer = str(answer)
    return "\n".join("    " + line for line in answer[:6000].splitlines()) or "    (empty)"


def asked(record):
    kind, name, text, _ = record
    return "%s %s" % (kind, text if isinstance(text, str) else getattr(pb, name).FromString(text))


def equal(left, right):
    if left == right:
        return True
    if left is None or right is None or left[:3] != right[:3]:
        return False
    return any(same and same(left, right) for _, _, same in ALLOWED)


def compare(pipes, seed):
    """(operations, per kind counts, whether all were equal)"""
    counts = {}
    streams = [records(pipe) for pipe in pipes]
    recent = []
    for n, (left, right) in enumerate(zip(*streams)):
        if left is None and right is None:
            return n, counts, True
        if not equal(left, right):
            print("record %d, after `differ.py --seed %d`: %s" % (n, seed, asked(left or right)))
            if left and right and left[:3] != right[:3]:
                print("the right side was asked: %s" % asked(right))
            print("left:\n%s\nright:\n%s" % (shown(left, right), shown(right, left)))
            print("the operations before it:\n  " +
                  "\n  ".join(asked(r)[:400].replace("\n", " ") for r in recent[-6:]))
            return n, counts, False
        bad = left[0] == "WatchEvents" and left[3] == ""
        if bad:
            print("record %d, after `differ.py --seed %d`: both sides: %s" % (n, seed, asked(left)))
            return n, counts, False
        counts[left[0]] = counts.get(left[0], 0) + 1
        recent = recent[-6:] + [left]
    raise AssertionError("not reached")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--ops", type=int, default=3000)
    parser.add_argument("--left", default="etcd")
    parser.add_argument("--right", default="confman")
    parser.add_argument("--drive", help="(the driving process: an endpoint)")
    options = parser.parse_args()
    if options.drive:
        drive(options.drive, options.seed, options.ops)
    if os.access("/dev/shm", os.W_OK):
        tempfile.tempdir = "/dev/shm"   # the disk's speed is not what is compared
    started = time.monotonic()
    with Node(options.left) as left, Node(options.right) as right:
        drivers = [subprocess.Popen(
            [sys.executable, __file__, "--drive", node.endpoint, "--seed", str(options.seed),
             "--ops", str(options.ops)], stdout=subprocess.PIPE) for node in (left, right)]
        n, counts, same = compare([d.stdout for d in drivers], options.seed)
        if same:
            same = all(d.wait(WAIT_SECONDS) == 0 for d in drivers) and n >= options.ops
        for d in drivers:
            d.kill()
            d.wait()
    seconds = time.monotonic() - started
    print("seed %d: %d answers compared in %.1f s (%.0f operations/s): %s" % (
        options.seed, n, seconds, options.ops / seconds,
        ", ".join("%s %d" % c for c in sorted(counts.items()))))
    print("allowed to differ: " + "; ".join("%s (%s)" % row[:2] for row in ALLOWED))
    print("%d passed, %d failed" % (same, not same))
    sys.exit(not same)


if __name__ == "__main__":
    main()
