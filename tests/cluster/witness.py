"""Load on a cluster that remembers all, and the check of what it saw when all is over."""
import os
import threading
import time

import clients
import history
from node import ROOT

WATCH_SECONDS = 120


class Witness:
    """Clients and watchers that begin with start() and end with stop(); verify() after that."""

    def __init__(self, cluster, seed, n_clients=10, n_watchers=2, pace=0, ballast=False):
        self.c, self.seed = cluster, seed
        self.stopping = threading.Event()
        self.endpoints = {m.number: m.endpoint for m in cluster.members.values()}
        self.clients = [clients.Client(i, seed, self.endpoints, self.stopping, pace)
                        for i in range(n_clients)]
        self.heard = [clients.Heard() for _ in range(n_watchers)]
        self.watchers = [clients.Watcher(h, seed + i, self.endpoints, self.stopping)
                         for i, h in enumerate(self.heard)]
        self.ballast = [clients.Ballast(seed, self.endpoints, self.stopping)] if ballast else []
        self.path = os.path.join(ROOT, "build", "cluster", "history-%d.txt" % seed)
        self.faults = []

    def start(self):
        self.began = time.monotonic()
        for thread in self.clients + self.watchers + self.ballast:
            thread.start()
        return self

    def stop(self):
        self.stopping.set()
        for thread in self.clients + self.watchers + self.ballast:
            thread.join()
        self.seconds = time.monotonic() - self.began

    def ops(self):
        return [op for c in self.clients for op in c.ops]

    def read_all(self, ops):
        """A last linearizable read of every key, at one node after another."""
        last = clients.Client(len(self.clients), 0, self.endpoints, self.stopping)
        numbers = list(self.c.members)
        for i, key in enumerate(sorted({op.key for op in ops})):
            last.node = numbers[i % len(numbers)]
            last.play(history.Op(last.number, "get", key, history.ABSENT, clients.now_us(),
                                 node=last.node))
        last.close()
        self.faults += ["the last read failed: " + history.describe(op)
                        for op in last.ops if op.outcome != "ok"]
        return last.ops

    def events(self, revision):
        """Every member's own events; they must be the same, and what the watchers heard."""
        told = {}
        never = threading.Event()
        for m in self.c.members.values():
            told[m.number] = clients.Heard()
            clients.watch_once(m.endpoint, told[m.number], WATCH_SECONDS, never, revision)
            self.faults += ["member %d: %s" % (m.number, f) for f in told[m.number].faults]
        events = told[m.number].events
        for number, other in told.items():
            if other.events != events:
                self.faults.append("the events of members %d and %d differ" % (number, m.number))
        for heard in self.heard:
            self.faults += heard.faults
            self.faults += ["a watcher heard something else at revision %d" % r
                            for r, e in heard.events.items() if events.get(r) != e][:5]
        return events

    def verify(self):
        """Everything heals; then what must be true. The faults found, as texts."""
        try:
            revision = self.c.settle()
        except AssertionError as e:
            self.faults.append(str(e))
            return self.faults
        ops = self.ops()
        ops += self.read_all(ops)
        self.faults += history.check(ops, self.events(revision))
        self.faults += ["an answer nobody should get: " + history.describe(op)
                        for c in self.clients for op in c.strange]
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        history.write(ops, self.path)
        word, faults = history.linear(self.path)
        self.faults += faults
        count = {o: sum(op.outcome == o for op in ops) for o in ("ok", "fail", "unknown")}
        print("%.0f s, %d operations (%d ok, %d failed, %d unknown), revision %d; %s" % (
            self.seconds, len(ops), count["ok"], count["fail"], count["unknown"], revision, word))
        return self.faults


def show(name, cluster, faults, about=""):
    """Prints how a test went, and its sum; whether it went well."""
    if faults:
        print("FAIL %s%s: %d faults; the first:" % (name, about, len(faults)))
        print("\n".join(faults[:5]) + "\n" + cluster.log_tails())
    print("%d passed, %d failed" % (not faults, bool(faults)), flush=True)
    return not faults
