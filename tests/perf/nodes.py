"""Clusters of confman beside clusters of etcd on one machine: what `tests/perf/run --nodes N` does.

Every server, and the load generator, share the processors. Connections go round all nodes, or, for
puts, all to the leader as well. What goes over the wire between members is counted by a proxy
that their connections go through, for that row alone.
"""
import os
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "cluster"))

import failover
from cluster import Cluster

LOAD = os.environ.get("LOAD_BIN", os.path.join(ROOT, "build", "release", "perf"))
KEYS = 10000
WIRE_PUTS = 20000
FIELDS = (("per_s", "requests/s", True), ("p50_us", "us, p50", False),
          ("p99_us", "us, p99", False), ("server_cpu_us", "us of all servers' CPU each", False))


def load(members, everyone, *args):
    """The load generator on these members; CPU of everyone."""
    command = [LOAD, *map(str, args), "--port", ",".join(str(m.port) for m in members),
               "--server-pid", ",".join(str(m.process.pid) for m in everyone)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit("%s: load %s: %s%s" % (members[0].kind, args, done.stdout, done.stderr))
    return {k: v for k, v in (w.split("=") for w in done.stdout.split())}


def measure(table, clusters, name, runs, before, *args, at_leader=False):
    got = {c.kind: [] for c in clusters}
    for _ in range(runs):
        for c in clusters:
            before(c)
            members = [c.leader()] if at_leader else c.running()
            got[c.kind].append(load(members, c.running(), *args))
    for field, unit, more in FIELDS:
        table.add(name, unit, *([float(r[field]) for r in got[k]] for k in ("confman", "etcd")),
                  more)


def as_it_is(cluster):
    return cluster


def restart(cluster):
    for m in cluster.members.values():
        m.stop()
    cluster.start()


def restart_etcd(cluster):
    """3.4 reads slowly after it has written."""
    if cluster.kind == "etcd":
        restart(cluster)


def calls(table, clusters, options):
    def row(what, c, s, before, *args, at_leader=False):
        name = "%d nodes: %s, %d x %d" % (options.nodes, what, c, s)
        measure(table, clusters, name, options.runs, before, *args, "-c", c, "-s", s, "-d",
                options.seconds, at_leader=at_leader)

    for c, s in [(8, 32)] if options.quick else [(1, 1), (8, 32)]:
        row("put at the leader", c, s, as_it_is, "put", at_leader=True)
    shapes = [(8, 32)] if options.quick else [(options.nodes, 1), (8, 32)]
    for c, s in shapes:
        row("put at all", c, s, as_it_is, "put")
    for cluster in clusters:
        for m in cluster.members.values():
            m.stop()
            m.wipe()
        cluster.start()
        load(cluster.running(), cluster.running(), "fill", "--fill", KEYS)
    for c, s in shapes:
        row("range, serializable", c, s, restart_etcd, "range")
        row("range, linearizable", c, s, restart_etcd, "range", "--linearizable")


def elections(table, clusters, options):
    """Leader killed, nothing else going on."""
    took = {c.kind: [] for c in clusters}
    for _ in range(5 if options.quick else 20):
        for c in clusters:
            seconds = failover.one_round(c)
            if seconds is None:
                sys.exit("%s: no write within %d s" % (c.kind, failover.GIVE_UP_SECONDS))
            took[c.kind].append(seconds * 1000)
    name = "%d nodes: kill -9 of the leader until a write goes on" % options.nodes
    for unit, figure in (("ms, p50", statistics.median), ("ms, max", max)):
        table.add(name, unit, *([figure(took[k])] for k in ("confman", "etcd")), False)


def wire_bytes(table, options):
    """Bytes between members for each put, counted by the proxy; a put carries 290 bytes of
    message, of which every follower has to get the key and the value."""
    each = {}
    for c, s in [(1, 1), (8, 32)]:
        for kind in ("confman", "etcd"):
            with Cluster(options.nodes, kind, proxied=True) as cluster:
                cluster.leader()
                load([cluster.leader()], cluster.running(), "fill", "--fill", 100)
                before = sum(cluster.proxy.bytes().values())
                n = WIRE_PUTS // (10 if c == 1 else 1)
                load([cluster.leader()], cluster.running(), "fill", "--fill", n, "-c", c, "-s", s)
                each[kind] = (sum(cluster.proxy.bytes().values()) - before) / n
        table.add("%d nodes: between members for a put, %d x %d" % (options.nodes, c, s), "bytes",
                  [each["confman"]], [each["etcd"]], False)


def compare(table, options):
    clusters = [Cluster(options.nodes, kind) for kind in ("confman", "etcd")]
    try:
        for c in clusters:
            c.start()
        calls(table, clusters, options)
        elections(table, clusters, options)
    finally:
        for c in clusters:
            c.abandon()
    wire_bytes(table, options)
