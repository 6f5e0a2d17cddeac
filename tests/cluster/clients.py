"""Clients that load a cluster and remember what they did and what they heard."""
import itertools
import queue
import random
import threading
import time

import grpc

from cluster import EAGER
from etcd_api import Api, pb
from history import ABSENT, PROBE, Op
from kill import History

CALL_SECONDS = 2
PHASE_SECONDS = 3       # then other keys: the history of each stays short
KEYS = 12
# Kinds of operations, by weight.
MIX = (("put", 40), ("get", 25), ("cas", 20), ("delete", 5), ("sget", 10))
# The server refused before it took the request into its log.
REFUSED = ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "OUT_OF_RANGE")
# What a client may hear while nodes come and go; anything else is a fault of the server.
EXPECTED = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "RESOURCE_EXHAUSTED")


def now_us():
    return time.monotonic_ns() // 1000


def outcome_of(error):
    """fail: certainly not done. unknown: it may have been, or may yet be."""
    code, text = error.code().name, error.details() or ""
    if code in REFUSED:
        return "fail"
    if code == "UNAVAILABLE" and text.startswith("failed to connect to all addresses"):
        return "fail"
    return "unknown"


def request_put(key, value):
    return pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))


def request_get(key):
    return pb.RequestOp(request_range=pb.RangeRequest(key=key))


def call(api, op):
    """Does op; fills in what the answer says."""
    key = op.key.encode()
    if op.kind == "put":
        done = api.Put(pb.PutRequest(key=key, value=op.value.encode()), timeout=CALL_SECONDS)
    elif op.kind in ("get", "sget"):
        done = api.Range(pb.RangeRequest(key=key, serializable=op.kind == "sget"),
                         timeout=CALL_SECONDS)
        op.result = done.kvs[0].value.decode() if done.kvs else ABSENT
    elif op.kind == "delete":
        done = api.DeleteRange(pb.DeleteRangeRequest(key=key), timeout=CALL_SECONDS)
        op.result = str(done.deleted)
    else:
        old, new = op.value.encode().split(b">")
        compare = (pb.Compare(key=key, target=3, value=old) if old != b"-" else
                   pb.Compare(key=key, target=1, create_revision=0))
        done = api.Txn(pb.TxnRequest(compare=[compare], success=[request_put(key, new)],
                                     failure=[request_get(key)]), timeout=CALL_SECONDS)
        kvs = [] if done.succeeded else done.responses[0].response_range.kvs
        op.result = "1" if done.succeeded else kvs[0].value.decode() if kvs else ABSENT
    op.revision = done.header.revision


class Client(threading.Thread):
    """One operation after another, at one node until that fails it, then at another."""

    def __init__(self, number, seed, endpoints, stop, pace=0):
        super().__init__(daemon=True)
        self.number, self.endpoints, self.stopping, self.pace = number, endpoints, stop, pace
        self.random = random.Random(seed * 1000 + number)
        self.apis = {}
        self.ops = []
        self.strange = []       # errors that no client should ever get
        self.seen = {}          # key: the value last heard of
        self.node = list(endpoints)[number % len(endpoints)]
        self.began = time.monotonic()

    def api(self):
        if self.node not in self.apis:
            self.apis[self.node] = Api(self.endpoints[self.node], EAGER)
        return self.apis[self.node]

    def make(self, n):
        kinds, weights = zip(*MIX)
        kind = self.random.choices(kinds, weights)[0]
        phase = int((time.monotonic() - self.began) / PHASE_SECONDS)
        key = "p%d/%d" % (phase, self.random.randrange(KEYS))
        new = "c%d.%d" % (self.number, n)
        value = {"put": new, "cas": "%s>%s" % (self.seen.get(key, ABSENT), new)}.get(kind, ABSENT)
        return Op(self.number, kind, key, value, now_us(), node=self.node)

    def learn(self, op):
        if op.writes():
            self.seen[op.key] = ABSENT if op.kind == "delete" else op.new_value()
        elif op.kind in ("get", "cas"):
            self.seen[op.key] = op.result

    def play(self, op):
        """Does one operation and remembers it; whether it was answered well."""
        try:
            call(self.api(), op)
            op.outcome = "ok"
            self.learn(op)
        except grpc.RpcError as e:
            op.outcome, op.error = outcome_of(e), "%s %s" % (e.code().name, e.details())
            if e.code().name not in EXPECTED:
                self.strange.append(op)
        op.ended = now_us()
        self.ops.append(op)
        return op.outcome == "ok"

    def run(self):
        for n in itertools.count():
            if self.stopping.is_set():
                break
            if not self.play(self.make(n)):
                self.node = self.random.choice(list(self.endpoints))
                self.stopping.wait(0.05)
            elif self.pace:
                self.stopping.wait(self.random.uniform(0, 2 * self.pace))
        self.close()

    def close(self):
        for api in self.apis.values():
            api.close()


class Ballast(threading.Thread):
    """Large values under a key of its own: logs grow fast enough that whoever was away for seconds
    needs a checkpoint."""
    BYTES, PACE_SECONDS = 16 << 10, 0.05

    def __init__(self, seed, endpoints, stop):
        super().__init__(daemon=True)
        self.endpoints, self.stopping, self.random = endpoints, stop, random.Random(seed)

    def run(self):
        while not self.stopping.wait(self.PACE_SECONDS):
            api = Api(self.random.choice(list(self.endpoints.values())), EAGER)
            try:
                while not self.stopping.wait(self.PACE_SECONDS):
                    api.Put(pb.PutRequest(key=PROBE.encode(), value=bytes(self.BYTES)),
                            timeout=CALL_SECONDS)
            except grpc.RpcError:
                pass
            api.close()


class Heard(History):
    """What a watch told; large values only by their length."""

    def take(self, response):
        for event in response.events:
            if event.kv.key == PROBE.encode():
                event.kv.value = b"%d" % len(event.kv.value)
        super().take(response)


class Watcher(threading.Thread):
    """Watches all from revision 1 on, at one node after another, each time from where it was."""
    TURN_SECONDS = 4

    def __init__(self, history, seed, endpoints, stop):
        super().__init__(daemon=True)
        self.history, self.endpoints, self.stopping = history, endpoints, stop
        self.random = random.Random(seed)

    def run(self):
        while not self.stopping.is_set():
            watch_once(self.random.choice(list(self.endpoints.values())), self.history,
                       self.TURN_SECONDS, self.stopping)
            self.stopping.wait(0.1)


def watch_once(endpoint, history, seconds, stop, until=None):
    """Takes events into history, of at most this long, or until that revision was heard."""
    api = Api(endpoint, EAGER)
    requests = queue.SimpleQueue()
    requests.put(pb.WatchRequest(create_request=pb.WatchCreateRequest(
        key=b"\0", range_end=b"\0", start_revision=history.last + 1)))
    stream = api.Watch(iter(requests.get, None), timeout=seconds)
    try:
        for response in stream:
            if response.canceled:
                history.faults.append("watch canceled: %s" % response)
            history.take(response)
            if stop.is_set() or (until is not None and history.last >= until):
                break
    except grpc.RpcError:
        pass
    stream.cancel()
    requests.put(None)
    api.close()
