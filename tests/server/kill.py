"""kill -9 under load: kill.py [--rounds N] [--seed N] [--target etcd].

Each round writers put and remember what was acknowledged, a watcher remembers what it heard, and
the server is killed at a random moment. After the restart every acknowledged write must be there at
its revision, revisions must be dense, and the watch, resumed where it stopped, must continue
without a gap or a double. At the end the store must equal what the events say.
"""
import argparse
import itertools
import os
import queue
import random
import sys
import threading
import time

import grpc

from etcd_api import Api, pb
from node import Node, wait_until

WRITERS = 8
KEYS_EACH = 40
CALL_SECONDS = 10
# Small, so that checkpoints are being written when the kill comes.
CONFMAN_ARGS = ("--checkpoint-log-bytes", "1048576", "--checkpoint-log-percent", "0")
ALL = dict(key=b"\0", range_end=b"\0")


class History:
    """What the watch told, over all its lives: revision -> events. Revisions come in order."""

    def __init__(self):
        self.changed = threading.Condition()
        self.events = {}
        self.last = 1
        self.faults = []

    def take(self, response):
        with self.changed:
            for revision, group in itertools.groupby(response.events,
                                                     lambda e: e.kv.mod_revision):
                if revision != self.last + 1:
                    self.faults.append("heard revision %d after %d" % (revision, self.last))
                self.last = max(self.last, revision)
                self.events[revision] = [(e.type, e.kv) for e in group]
            self.changed.notify_all()

    def wait(self, revision):
        with self.changed:
            return self.changed.wait_for(lambda: self.last >= revision, 60)


def watch(endpoint, history):
    """A thread that watches everything from where history ends, until the server is gone."""
    def read():
        api = Api(endpoint)
        requests = queue.SimpleQueue()
        requests.put(pb.WatchRequest(create_request=pb.WatchCreateRequest(
            start_revision=history.last + 1, **ALL)))
        try:
            for response in api.Watch(iter(requests.get, None)):
                if response.canceled:
                    history.faults.append("watch canceled: %s" % response)
                history.take(response)
        except grpc.RpcError:
            pass
        requests.put(None)
        api.close()
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def write(endpoint, writer, counter, acknowledged, stop):
    """Puts, deletes and transactions, one after another; appends (revision, key, value)."""
    api = Api(endpoint)
    r = random.Random(counter)
    try:
        for n in itertools.count():
            if stop.is_set():
                break
            key = b"w%d/%02d" % (writer, n % KEYS_EACH)
            value = b"%d/%d/%d " % (writer, counter, n) + b"x" * r.randrange(2000)
            form = r.random()
            if form < 0.1:
                done = api.DeleteRange(pb.DeleteRangeRequest(key=key), timeout=CALL_SECONDS)
                value = None if done.deleted else False
            elif form < 0.3:
                put = pb.RequestOp(request_put=pb.PutRequest(key=key, value=value))
                also = pb.RequestOp(request_put=pb.PutRequest(key=key + b"+", value=value))
                done = api.Txn(pb.TxnRequest(success=[put, also]), timeout=CALL_SECONDS)
                acknowledged.append((done.header.revision, key + b"+", value))
            else:
                done = api.Put(pb.PutRequest(key=key, value=value), timeout=CALL_SECONDS)
            if value is not False:
                acknowledged.append((done.header.revision, key, value))
    except grpc.RpcError:
        pass    # not acknowledged: it may be there or not
    api.close()


def check(history, acknowledged):
    faults = list(history.faults)
    for revision, key, value in acknowledged:
        told = [kv.value if kind == 0 else None
                for kind, kv in history.events.get(revision, ()) if kv.key == key]
        if told != [value]:
            faults.append("acknowledged at revision %d and lost: %r; the history has %r" % (
                revision, key, told))
    return faults


def check_state(api, history):
    """The store must be what the events add up to: every field of every pair."""
    pairs = {}
    for revision in sorted(history.events):
        for kind, kv in history.events[revision]:
            if kind == 0:
                pairs[kv.key] = kv
            else:
                pairs.pop(kv.key, None)
    stored = {kv.key: kv for kv in api.Range(pb.RangeRequest(**ALL)).kvs}
    return ["the store differs from its history at %r" % key
            for key in sorted(set(pairs) | set(stored)) if pairs.get(key) != stored.get(key)]


def play(node, number, history, r):
    """One round; (acknowledged writes, faults)."""
    node.start()
    api = Api(node.endpoint)
    faults = []
    current = wait_until(lambda: revision_of(api), 30, "the server answers")
    if current < history.last:
        faults.append("revision %d was heard, the server is back at %d" % (history.last, current))
    settled = history.last
    watcher = watch(node.endpoint, history)
    stop, acknowledged, threads = threading.Event(), [], []
    for writer in range(WRITERS):
        mine = []
        acknowledged.append(mine)
        threads.append(threading.Thread(
            target=write, args=(node.endpoint, writer, number * 100 + writer, mine, stop)))
    for thread in threads:
        thread.start()
    delay = r.uniform(0.1, 1.5)
    if r.random() < 0.5 and settled > 2:
        time.sleep(delay / 2)
        api.Compact(pb.CompactionRequest(revision=settled), timeout=CALL_SECONDS)
        delay /= 2
    time.sleep(delay)
    node.kill()
    stop.set()
    for thread in threads + [watcher]:
        thread.join()
    api.close()
    return list(itertools.chain(*acknowledged)), faults


def revision_of(api):
    try:
        return api.Range(pb.RangeRequest(key=b"x"), timeout=2).header.revision
    except grpc.RpcError:
        return 0


def verify(node, history, acknowledged):
    """Restarts the server, lets the watch catch up, checks, and stops it cleanly."""
    node.start()
    api = Api(node.endpoint)
    current = wait_until(lambda: revision_of(api), 30, "the server answers")
    watcher = watch(node.endpoint, history)
    faults = []
    if not history.wait(current):
        faults.append("the resumed watch stops at %d, the store is at %d" % (
            history.last, current))
    faults += check(history, acknowledged) + check_state(api, history)
    api.close()
    node.kill()
    watcher.join()
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--target", default=os.environ.get("CONFMAN_TARGET", "confman"))
    options = parser.parse_args()
    r = random.Random(options.seed)
    node = Node(options.target, args=() if options.target == "etcd" else CONFMAN_ARGS)
    history, passed, failed, writes = History(), 0, 0, 0
    for number in range(options.rounds):
        acknowledged, faults = play(node, number, history, r)
        faults += verify(node, history, acknowledged)
        writes += len(acknowledged)
        passed, failed = passed + (not faults), failed + bool(faults)
        if faults:
            print("FAIL kill round %d, seed %d: %d faults; the first:" % (
                number, options.seed, len(faults)))
            print("\n".join(faults[:5]))
            print(node.log_tail())
            break
    print("seed %d: %d acknowledged writes up to revision %d survived %d kills" % (
        options.seed, writes, history.last, passed * 2))
    node.close()
    print("%d passed, %d failed" % (passed, failed))
    sys.stdout.flush()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
