"""The leader is killed again and again under load: failover.py [--rounds N] [--nodes N] [--target
etcd] [--seed N]. Prints how long it takes until a write goes on: from the kill to the first answer
to a put that was sent after it, to any survivor.
"""
import argparse
import os
import random
import statistics
import threading
import time

import grpc

from cluster import Cluster, target
from etcd_api import pb
from node import wait_until
from witness import Witness, show

CALM_SECONDS = (2.5, 3.5)   # between rounds: connections are old by then, as they mostly are
PROBE_SECONDS = 0.004       # between two puts that ask whether it goes on
GIVE_UP_SECONDS = 30
CALL_SECONDS = 5
CLIENTS = 4
PACE_SECONDS = 0.005        # some load, but the processors are not to be what is measured


class Probe:
    """Puts to the survivors, one after another without waiting, until one is answered well."""

    def __init__(self, survivors):
        self.apis = [m.api() for m in survivors]
        for api in self.apis:
            api.Put(pb.PutRequest(key=b"probe", value=b"warm"), timeout=10)
        self.answered = threading.Event()
        self.when = 0

    def take(self, future):
        if not future.cancelled() and future.exception() is None and not self.answered.is_set():
            self.when = time.monotonic()
            self.answered.set()

    def wait(self):
        end = time.monotonic() + GIVE_UP_SECONDS
        futures = []
        while not self.answered.is_set() and time.monotonic() < end:
            for api in self.apis:
                future = api.Put.future(pb.PutRequest(key=b"probe", value=b"x"),
                                        timeout=CALL_SECONDS)
                future.add_done_callback(self.take)
                futures.append(future)
            self.answered.wait(PROBE_SECONDS)
        for future in futures:
            try:
                future.result()     # none may be on its way when the next round begins
            except grpc.RpcError:
                pass
        for api in self.apis:
            api.close()
        return self.when


def one_round(cluster):
    """Seconds without writes."""
    leader = cluster.leader()
    probe = Probe([m for m in cluster.running() if m is not leader])
    began = time.monotonic()
    leader.kill()
    when = probe.wait()
    leader.start()
    leader.wait_ready()
    wait_until(lambda: leader.revision() + 50 > max(m.revision() for m in cluster.running()),
               30, "member %d has caught up" % leader.number)
    return when - began if when else None


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--target", default=target())
    options = parser.parse_args()
    with Cluster(options.nodes, options.target) as cluster:
        witness = Witness(cluster, options.seed, CLIENTS, 0, PACE_SECONDS).start()
        took, faults = [], []
        for number in range(options.rounds):
            time.sleep(random.Random(options.seed + number).uniform(*CALM_SECONDS))
            seconds = one_round(cluster)
            if seconds is None:
                faults.append("round %d: no write within %d s" % (number, GIVE_UP_SECONDS))
                break
            took.append(seconds * 1000)
        witness.stop()
        faults += witness.verify()
        if took:
            print("%s, %d nodes, leader killed %d times: writes go on after %.0f ms (median), "
                  "%.0f (p90), %.0f (max)" % (
                      cluster.kind, options.nodes, len(took), statistics.median(took),
                      percentile(took, 0.9), max(took)))
        good = show("failover", cluster, faults, ", seed %d" % options.seed)
    os._exit(0 if good else 1)


if __name__ == "__main__":
    main()
