"""Members that are behind: catchup.py [--keys N] [--writes N] [--target etcd].

A cluster with N keys; a follower is down for M writes and catches up from the log; then one with an
empty disk takes its place and catches up by a snapshot. How long, what the others' writes lose
meanwhile, and what memory it takes beside the state itself. Needs build/release/perf.
"""
import argparse
import os
import subprocess
import threading
import time

from cluster import ROOT, Cluster, target
from node import wait_until
from witness import show

LOAD = os.environ.get("LOAD_BIN", os.path.join(ROOT, "build", "release", "perf"))
LOAD_SECONDS = 5
CATCH_UP_SECONDS = 300
RECEIVED = ("confman_snapshots_received_total", "etcd_network_snapshot_receive_success")
NEAR = 1000             # writes
MIB = 1 << 20
# The default keeps 64 MiB, some 180,000 writes of this size.
ARGS = {"confman": ("--raft-keep-bytes", str(128 * MIB)), "etcd": ()}


def load(member, *args):
    """The load generator's figures."""
    done = subprocess.run([LOAD, *map(str, args), "--port", str(member.port), "--server-pid",
                           str(member.process.pid)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError("load %s: %s%s" % (args, done.stdout, done.stderr))
    return {k: float(v) for k, v in (w.split("=") for w in done.stdout.split())
            if k != "workload"}


def fill(member, n):
    return load(member, "fill", "--fill", n, "-c", 8, "-s", 32)


def puts_per_s(member, keys):
    return load(member, "put", "--keys", keys, "-c", 4, "-s", 8, "-d", LOAD_SECONDS)["per_s"]


class Memory(threading.Thread):
    """The most memory that the leader has, looked at again and again."""

    def __init__(self, member):
        super().__init__(daemon=True)
        self.member, self.most_kib, self.ended = member, 0, threading.Event()
        self.start()

    def run(self):
        while not self.ended.wait(0.05):
            self.most_kib = max(self.most_kib, self.member.memory_kib())

    def end(self):
        self.ended.set()
        self.join()
        return self.most_kib


class Rates(threading.Thread):
    """Put rates of the leader, one run after another, until told to end."""

    def __init__(self, member, keys):
        super().__init__(daemon=True)
        self.member, self.keys, self.rates, self.ended = member, keys, [], False
        self.start()

    def run(self):
        while not self.ended:
            try:
                self.rates.append(puts_per_s(self.member, self.keys))
            except AssertionError as e:
                print(e, flush=True)
                self.rates.append(0)
                return

    def end(self):
        self.ended = True
        self.join()
        return min(self.rates)


def is_near(member, leader):
    """Whether it has, but for a few, what the leader had when asked."""
    for m in (member, leader):
        if not m.alive():
            raise AssertionError("member %d died" % m.number)
    want = leader.revision()
    return want and member.revision() > want - NEAR


def catch_up(cluster, what, start, keys, normal):
    """Calls start() -> member under load; prints the figures; returns the member."""
    leader = cluster.leader()
    kib_before = leader.memory_kib()
    memory, rates = Memory(leader), Rates(leader, keys)
    began = time.monotonic()
    member = start()
    wait_until(lambda: is_near(member, leader), CATCH_UP_SECONDS, "%s: caught up" % what)
    took = time.monotonic() - began
    rate, most = rates.end(), memory.end()
    print("%s: caught up in %.1f s; puts meanwhile %.0f/s, %.0f %% of %.0f/s; memory of the leader "
          "%d MiB, at most %d; of the follower %d MiB, at most %d" % (
              what, took, rate, 100 * rate / normal, normal, kib_before >> 10, most >> 10,
              member.memory_kib() >> 10, member.memory_kib("VmHWM") >> 10), flush=True)
    return member


def snapshots(cluster):
    """Snapshots that the members have received, as they count it."""
    total = 0
    for m in cluster.running():
        total += sum(v for k, v in m.metrics().items() if k.startswith(RECEIVED))
    return total


def scenario(cluster, options):
    leader = cluster.leader()
    filled = fill(leader, options.keys)
    size = leader.status(10).dbSize
    print("%d keys, %.0f puts/s; the store says %d MiB, memory of the leader %d MiB" % (
        options.keys, filled["per_s"], size // MIB, leader.memory_kib() >> 10), flush=True)
    normal = puts_per_s(leader, options.keys)
    follower = cluster.followers()[0]
    follower.kill()
    fill(leader, options.writes)
    counted = snapshots(cluster)
    catch_up(cluster, "down for %d writes" % options.writes, follower.start, options.keys, normal)
    faults = []
    by_log = snapshots(cluster) == counted
    print("it caught up by %s" % ("the log" if by_log else "a snapshot"))
    if not by_log and cluster.kind == "confman":
        faults.append("the log no longer had the %d writes" % options.writes)
    follower.kill()
    two = puts_per_s(leader, options.keys)
    print("puts with 3 nodes %.0f/s, with one of them down %.0f/s" % (normal, two), flush=True)
    cluster.remove_member(follower)
    follower.remove_folder()
    fresh = catch_up(cluster, "new with an empty disk", lambda: cluster.join_member(4),
                     options.keys, normal)
    fresh.wait_ready()
    cluster.settle(CATCH_UP_SECONDS)
    fresh.kill()
    fresh.start()
    fresh.wait_ready()
    cluster.settle(CATCH_UP_SECONDS)
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1000000)
    parser.add_argument("--writes", type=int, default=200000)
    parser.add_argument("--target", default=target())
    options = parser.parse_args()
    with Cluster(3, options.target, args=ARGS[options.target]) as cluster:
        try:
            faults = scenario(cluster, options)
        except AssertionError as e:
            faults = [str(e)]
        good = show("catchup", cluster, faults)
    os._exit(0 if good else 1)


if __name__ == "__main__":
    main()
