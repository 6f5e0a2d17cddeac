"""Faults under load: chaos.py [--nodes N] [--seconds S] [--seed N] [--target etcd] [--plan A,B...].

Clients put, read, swap and delete; watchers follow from node to node; meanwhile processes are
killed, halted, cut off and slowed down, and disks get full. At the end all heals. Then every node
must have the same content, what was acknowledged must be there, watches must have told all of it
in order, and the history must be linearizable: by revisions (history.py), and by `linear`, which
sees nothing but times and values.
"""
import argparse
import os
import random
import subprocess
import sys
import threading
import time

import clients
import history
from cluster import Cluster, target
from kill import History
from node import ROOT, wait_until

CLIENTS = 10
WATCHERS = 2
RECOVER_SECONDS = 30    # after a fault is over, until every node takes writes again
# Small, so that checkpoints are written and followers need them while it goes on.
ARGS = {"confman": ("--checkpoint-log-bytes", "1048576"), "etcd": ("--snapshot-count", "2000")}
LINEAR_SECONDS = 300


class Chaos:
    """The faults. Each method that has a line in FAULTS begins one and returns what ends it."""

    def __init__(self, cluster, r):
        self.c, self.r = cluster, r
        self.may_die = set()    # members whose process may end by itself, for want of disk

    def one(self):
        return self.r.choice(list(self.c.members.values()))

    def leader_or_one(self):
        return self.c.find_leader() or self.one()

    def numbers(self, *but):
        return [n for n in self.c.members if n not in but]

    def some(self, count):
        return self.r.sample(list(self.c.members.values()), count)

    def start(self, members):
        for m in members:
            if m.process is None:
                m.start()

    def kill(self, members):
        for m in members:
            if m.process is not None:
                m.kill()
        return lambda: self.start(members)

    def kill_one(self):
        return self.kill([self.one()])

    def kill_leader(self):
        return self.kill([self.leader_or_one()])

    def kill_majority(self):
        return self.kill(self.some(len(self.c.members) // 2 + 1))

    def kill_all(self):
        return self.kill(self.some(len(self.c.members)))

    def vanish_leader(self):
        """As when a machine loses power: nobody tells the others."""
        m = self.leader_or_one()
        self.c.separate([m.number], self.numbers(m.number))
        return self.kill([m])

    def halt(self, m):
        if m.process is not None:
            m.pause()
        return m.resume

    def halt_one(self):
        return self.halt(self.one())

    def halt_leader(self):
        return self.halt(self.leader_or_one())

    def part(self, some):
        """Cuts these off from the others; a part of the broken connections never comes back."""
        others = self.numbers(*some)
        self.c.separate(some, others)
        if self.r.random() < 0.5:
            for a in some:
                for b in others:
                    self.c.proxy.tell("reset", a, b)
        return lambda: None

    def part_leader(self):
        return self.part([self.leader_or_one().number])

    def part_minority(self):
        return self.part([m.number for m in self.some((len(self.c.members) - 1) // 2)])

    def part_all(self):
        for n in self.numbers():
            self.part([n])
        return lambda: None

    def deafen_leader(self):
        n = self.leader_or_one().number
        self.c.cut(self.numbers(n), [n])
        return lambda: None

    def mute_leader(self):
        n = self.leader_or_one().number
        self.c.cut([n], self.numbers(n))
        return lambda: None

    def cut_one_way(self):
        a, b = self.some(2)
        self.c.cut([a.number], [b.number])
        return lambda: None

    def bridge(self):
        """Two halves that only one member hears both of."""
        numbers = self.numbers()
        self.r.shuffle(numbers)
        half = len(numbers) // 2
        self.c.separate(numbers[:half], numbers[half + 1:])
        return lambda: None

    def slow(self):
        self.c.delay([self.one().number], self.r.choice((20, 100, 400)))
        return lambda: None

    def slow_all(self):
        self.c.delay(self.numbers(), self.r.choice((5, 30, 100)))
        return lambda: None

    def reset(self):
        stop = threading.Event()

        def resetting():
            r = random.Random(self.r.random())
            while not stop.wait(0.1):
                a, b = r.sample(self.numbers(), 2)
                self.c.proxy.tell("reset", a, b)
        thread = threading.Thread(target=resetting)
        thread.start()

        def end():
            stop.set()
            thread.join()
        return end

    def fill_disk(self):
        m = self.one()
        self.may_die.add(m.number)
        m.fill_disk()
        return m.free_disk

    def fault(self, name):
        return getattr(self, name)()

    def rise(self):
        """All faults are over: mends the network, starts what died. Faults: who died of itself."""
        died = []
        self.c.proxy.tell("heal")
        for m in self.c.members.values():
            if m.process is not None and m.process.poll() is not None:
                if m.number not in self.may_die:
                    died.append("member %d died, exit code %d\n%s" % (
                        m.number, m.process.returncode, m.log_tail()))
                m.process = None
            self.start([m])
        self.may_die.clear()
        return died


# name: weight, and whether another fault may go on at the same time
FAULTS = {
    "kill_one": 4, "kill_leader": 6, "kill_majority": 3, "kill_all": 2, "vanish_leader": 3,
    "halt_one": 2, "halt_leader": 3, "part_leader": 6, "part_minority": 3, "part_all": 1,
    "deafen_leader": 3, "mute_leader": 3, "cut_one_way": 3, "bridge": 2, "slow": 3, "slow_all": 2,
    "reset": 2, "fill_disk": 3,
}


def takes_writes(m):
    op = history.Op(-1, "put", "probe/%d" % m.number, "x", 0)
    api = m.api()
    try:
        clients.call(api, op)
        return True
    except clients.grpc.RpcError:
        return False
    finally:
        api.close()


class Run:
    def __init__(self, cluster, options):
        self.c, self.options = cluster, options
        self.r = random.Random(options.seed)
        self.chaos = Chaos(cluster, self.r)
        self.stop = threading.Event()
        endpoints = {m.number: m.endpoint for m in cluster.members.values()}
        self.clients = [clients.Client(i, options.seed, endpoints, self.stop)
                        for i in range(CLIENTS)]
        self.heard = [History() for _ in range(WATCHERS)]
        self.watchers = [clients.Watcher(h, options.seed + i, endpoints, self.stop)
                         for i, h in enumerate(self.heard)]
        self.faults, self.played, self.recoveries = [], [], []

    def pick(self):
        names = [n for n in FAULTS if n != "fill_disk" or self.c.small_disks]
        return self.r.choices(names, [FAULTS[n] for n in names])[0]

    def round(self, names, seconds):
        """These faults at once, for this long; then all is well again, and must be seen to be."""
        self.played += names
        if self.options.verbose:
            print("%8.1f s: %s" % (time.monotonic() - self.began, " + ".join(names)), flush=True)
        ends = [self.chaos.fault(name) for name in names]
        time.sleep(seconds)
        self.chaos.c.proxy.tell("heal")
        for end in ends:
            end()
        self.faults += self.chaos.rise()
        began = time.monotonic()
        for m in self.c.members.values():
            try:
                wait_until(lambda m=m: takes_writes(m), RECOVER_SECONDS,
                           "member %d takes writes after %s" % (m.number, " + ".join(names)))
            except AssertionError as e:
                self.faults.append("%s\n%s" % (e, m.log_tail()))
        self.recoveries.append(time.monotonic() - began)

    def play(self):
        self.began = time.monotonic()
        for thread in self.clients + self.watchers:
            thread.start()
        time.sleep(0.5)
        plan = [p.split("+") for p in self.options.plan.split(",") if p]
        while not self.faults:
            if plan:
                names = plan.pop(0)
            elif self.options.plan or time.monotonic() - self.began > self.options.seconds:
                break
            else:
                names = [self.pick() for _ in range(1 + (self.r.random() < 0.25))]
            self.round(names, self.r.uniform(0.5, self.options.fault_seconds))
            time.sleep(self.r.uniform(0.2, 1.5))
        self.stop.set()
        for thread in self.clients + self.watchers:
            thread.join()

    def read_all(self, ops):
        """A last linearizable read of every key, at one node after another."""
        endpoints = {m.number: m.endpoint for m in self.c.members.values()}
        last = clients.Client(CLIENTS, 0, endpoints, self.stop)
        for i, key in enumerate(sorted({op.key for op in ops})):
            last.node = list(endpoints)[i % len(endpoints)]
            last.play(history.Op(CLIENTS, "get", key, history.ABSENT, clients.now_us(),
                                 node=last.node))
        self.faults += ["the last read failed: " + history.describe(op)
                        for op in last.ops if op.outcome != "ok"]
        return last.ops

    def events(self, revision):
        """Every member's own events; they must be the same, and what the watchers heard."""
        told = {}
        never = threading.Event()
        for m in self.c.members.values():
            told[m.number] = History()
            clients.watch_once(m.endpoint, told[m.number], 60, never, revision)
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

    def check(self):
        """Everything heals; then what must be true."""
        try:
            revision = self.c.settle()
        except AssertionError as e:
            self.faults.append(str(e))
            return
        ops = [op for c in self.clients for op in c.ops]
        ops += self.read_all(ops)
        events = self.events(revision)
        probes = [op for op in ops if op.key.startswith("probe/")]
        assert not probes
        self.faults += history.check(ops, {
            r: [e for e in group if not e[1].key.startswith(b"probe/")]
            for r, group in events.items()})
        strange = [op for c in self.clients for op in c.strange]
        self.faults += ["an answer nobody should get: " + history.describe(op) for op in strange]
        self.report(ops, revision)
        history.write(ops, self.options.history)
        self.faults += linear(self.options.history)

    def report(self, ops, revision):
        count = {o: sum(op.outcome == o for op in ops) for o in ("ok", "fail", "unknown")}
        print("seed %d, %s, %d nodes, %.0f s: %d faults, %d operations (%d ok, %d failed, "
              "%d unknown), revision %d; recovery %.1f s at most" % (
                  self.options.seed, self.c.kind, len(self.c.members),
                  time.monotonic() - self.began, len(self.played), len(ops), count["ok"],
                  count["fail"], count["unknown"], revision, max(self.recoveries, default=0)))


def linear(path):
    """Faults that the other checker finds; it is built by `make`."""
    binary = os.path.join(ROOT, os.environ.get("LINEAR_BIN", "build/release/linear"))
    if not os.path.exists(binary):
        print("%s is not built: checked by revisions only" % binary)
        return []
    done = subprocess.run([binary, path], capture_output=True, text=True, check=False,
                          timeout=LINEAR_SECONDS)
    print((done.stdout.strip().splitlines() or ["linear: no word"])[-1])
    return [] if done.returncode == 0 else ["linear: %s%s" % (done.stdout, done.stderr)]


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--fault-seconds", type=float, default=4, help="at most, each")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--target", default=target())
    parser.add_argument("--plan", default="", help="these faults and no others: a,b+c")
    parser.add_argument("--history", help="where to write what the clients saw")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if not options.history:
        os.makedirs(os.path.join(ROOT, "build", "chaos"), exist_ok=True)
        options.history = os.path.join(ROOT, "build", "chaos", "history-%d.txt" % options.seed)
    return options


def main():
    options = arguments()
    small_disks = os.geteuid() == 0 and (not options.plan or "fill_disk" in options.plan)
    cluster = Cluster(options.nodes, options.target, proxied=True, small_disks=small_disks,
                      args=ARGS[options.target])
    with cluster:
        run = Run(cluster, options)
        run.play()
        run.check()
        if run.faults:
            print("FAIL chaos, seed %d: %d faults; the first:" % (options.seed, len(run.faults)))
            print("\n".join(run.faults[:5]))
            print("after: %s; history: %s" % (" ".join(run.played), options.history))
        print("%d passed, %d failed" % (not run.faults, bool(run.faults)))
        sys.stdout.flush()
    os._exit(1 if run.faults else 0)


if __name__ == "__main__":
    main()
