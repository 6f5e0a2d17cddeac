"""Every node is restarted in turn under load: rolling.py [--nodes N] [--rounds N] [--target etcd].

SIGTERM, and when it has ended, start again; a leader hands over before it goes. No request may fail
other than by UNAVAILABLE, which tells a client to ask another node; none may be lost on the way,
and nowhere may writes stand still as long as an election by time-out takes.
"""
import argparse
import os
import random
import time

from cluster import Cluster, target
from node import wait_until
from witness import Witness, show

CLIENTS = 6
PACE_SECONDS = 0.002
# An election after a lost leader takes longer than this (see failover.py); a hand-over does not.
STILL_SECONDS = 1.0


def longest_gap(ops):
    """(seconds, when) in which no write was acknowledged."""
    ends = sorted(op.ended for op in ops if op.writes())
    gaps = [(b - a, a) for a, b in zip(ends, ends[1:])]
    return max(gaps, default=(0, 0))


def serves_all(cluster, m):
    """Whether m has caught up with what the others have."""
    return m.revision() + 100 > max(o.revision() for o in cluster.running())


def roll(cluster, moments):
    """Restarts each once, the leader among them."""
    for m in list(cluster.members.values()):
        led = cluster.find_leader() is m
        moments.append((time.monotonic_ns() // 1000, m.number, led))
        m.stop()
        m.start()
        m.wait_ready()
        wait_until(lambda m=m: serves_all(cluster, m), 30, "member %d has caught up" % m.number)
        time.sleep(0.5)


def check_errors(ops, kind):
    """etcd lets what a follower passed on to a leader that goes run into its deadline."""
    failed = [op for op in ops if op.outcome != "ok"]
    retriable = ("UNAVAILABLE", "DEADLINE_EXCEEDED") if kind == "etcd" else ("UNAVAILABLE",)
    wrong = [op for op in failed if not op.error.startswith(retriable)]
    print("%d of %d requests failed and were told to try elsewhere" % (
        len(failed) - len(wrong), len(ops)))
    return ["failed for another reason: %s: %s" % (op.line(), op.error) for op in wrong]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--target", default=target())
    options = parser.parse_args()
    with Cluster(options.nodes, options.target) as cluster:
        witness = Witness(cluster, options.seed, CLIENTS, 1, PACE_SECONDS).start()
        time.sleep(1)
        moments = []
        for _ in range(options.rounds):
            roll(cluster, moments)
        witness.stop()
        ops = witness.ops()
        faults = witness.verify() + check_errors(ops, cluster.kind)
        gap, when = longest_gap(ops)
        _, number, led = max((t for t in moments if t[0] <= when + gap), default=moments[0])
        print("%s, %d nodes, %d restarts, %d of them of a leader: no write for %.0f ms at most, "
              "when %s stopped" % (cluster.kind, options.nodes, len(moments),
                                      sum(m[2] for m in moments), gap / 1000,
                                      ("leader %d" if led else "follower %d") % number))
        if gap > STILL_SECONDS * 1e6:
            faults.append("writes stood still for %.0f ms" % (gap / 1000))
        good = show("rolling", cluster, faults, ", seed %d" % options.seed)
    os._exit(0 if good else 1)


if __name__ == "__main__":
    main()
