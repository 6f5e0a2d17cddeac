"""Faults under load: chaos.py [--nodes N] [--seconds S] [--seed N] [--target etcd] [--plan A,B...].

Clients put, read, swap and delete; watchers follow from node to node; meanwhile processes are
killed, halted, cut off and slowed down, and disks get full. At the end all heals. Then every node
must have the same content, what was acknowledged must be there, watches must have told all of it
in order, and the history must be linearizable: by revisions (history.py), and by `linear`, which
knows nothing but times and values.
"""
import argparse
import os
import random
import threading
import time

import clients
import history
from cluster import Cluster, target
from node import wait_until
from witness import Witness, show

RECOVER_SECONDS = 30    # after a fault is over, until every node takes writes again
# Small, so that checkpoints are written and followers need them while it goes on.
ARGS = {"confman": ("--checkpoint-log-bytes", "1048576", "--checkpoint-log-percent", "0",
                    "--raft-keep-bytes", "1048576"),
        "etcd": ("--snapshot-count", "2000")}
# Lines of the logs that show what was tried.
TOLD = ("leader", "checkpoint", "installed a checkpoint")


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


# name: weight
FAULTS = {
    "kill_one": 4, "kill_leader": 6, "kill_majority": 3, "kill_all": 2, "vanish_leader": 3,
    "halt_one": 2, "halt_leader": 3, "part_leader": 6, "part_minority": 3, "part_all": 1,
    "deafen_leader": 3, "mute_leader": 3, "cut_one_way": 3, "bridge": 2, "slow": 3, "slow_all": 2,
    "reset": 2, "fill_disk": 3,
}


def serves(m):
    """Whether a member has a leader that has a majority: a linearizable read."""
    api = m.api()
    try:
        clients.call(api, history.Op(-1, "get", "x", history.ABSENT, 0))
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
        self.witness = Witness(cluster, options.seed, ballast=True)
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
        self.c.proxy.tell("heal")
        for end in ends:
            end()
        self.faults += self.chaos.rise()
        began = time.monotonic()
        for m in self.c.members.values():
            try:
                wait_until(lambda m=m: serves(m), RECOVER_SECONDS,
                           "member %d serves again after %s" % (m.number, " + ".join(names)))
            except AssertionError as e:
                self.faults.append("%s\n%s" % (e, m.log_tail()))
        self.recoveries.append(time.monotonic() - began)

    def play(self):
        self.began = time.monotonic()
        self.witness.start()
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
        self.witness.stop()

    def check(self):
        self.faults += self.witness.verify()
        print("seed %d, %s, %d nodes: %d faults; all served again within %.1f s of each" % (
            self.options.seed, self.c.kind, len(self.c.members), len(self.played),
            max(self.recoveries, default=0)))
        if self.c.kind == "confman":
            print("; ".join("%d x %s" % (sum(m.log().count('message="%s"' % line)
                                             for m in self.c.members.values()), line)
                            for line in TOLD))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--fault-seconds", type=float, default=4, help="at most, each")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--target", default=target())
    parser.add_argument("--plan", default="", help="these faults and no others: a,b+c")
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


def main():
    options = arguments()
    small_disks = os.geteuid() == 0 and (not options.plan or "fill_disk" in options.plan)
    cluster = Cluster(options.nodes, options.target, proxied=True, small_disks=small_disks,
                      args=ARGS[options.target])
    with cluster:
        run = Run(cluster, options)
        run.play()
        run.check()
        good = show("chaos", cluster, run.faults, ", seed %d, after %s; history: %s" % (
            options.seed, " ".join(run.played), run.witness.path))
    os._exit(0 if good else 1)


if __name__ == "__main__":
    main()
