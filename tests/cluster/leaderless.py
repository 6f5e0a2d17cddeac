"""What a node without a leader says: leaderless.py [--target etcd].

Two of three members are killed. The third still serves what needs no leader, and tells those who
asked to be told ("hasleader") that there is none: calls at once, open watches after a while.
"""
import argparse
import os
import queue
import time

import grpc

from cluster import Cluster, target
from etcd_api import pb
from node import wait_until

TOLD = ("UNAVAILABLE", "etcdserver: no leader")
HAS_LEADER = (("hasleader", "true"),)
WATCH_SECONDS = 20


def refused(call):
    """(code, text), or None."""
    try:
        call()
        return None
    except grpc.RpcError as e:
        return e.code().name, e.details()


def watch(api, metadata):
    """A stream with one watcher, created."""
    asks = queue.SimpleQueue()
    asks.put(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"k")))
    stream = api.Watch(iter(asks.get, None), metadata=metadata)
    assert next(stream).created
    return asks, stream


def ending(stream):
    return refused(lambda: next(stream))


def faults_of(left, others):
    api = left.api()
    api.Put(pb.PutRequest(key=b"k", value=b"v"), timeout=5)
    wait_until(lambda: api.Range(pb.RangeRequest(key=b"k", serializable=True)).count, 5, "applied")
    _, told = watch(api, HAS_LEADER)
    asks, untold = watch(api, ())
    for m in others:
        m.kill()
    wait_until(lambda: left.status().leader == 0, 10, "it knows no leader")
    faults = []
    get = pb.RangeRequest(key=b"k", serializable=True)
    if api.Range(get, timeout=5).count != 1:
        faults.append("a serializable read does not find what was written")
    put = pb.PutRequest(key=b"k", value=b"w")
    answer = refused(lambda: api.Put(put, timeout=5, metadata=HAS_LEADER))
    if answer != TOLD:
        faults.append("a put that needs a leader: %s" % (answer,))
    began = time.monotonic()
    answer = ending(told)
    if answer != TOLD:
        faults.append("a watch that needs a leader: %s" % (answer,))
    if time.monotonic() - began > WATCH_SECONDS:
        faults.append("a watch that needs a leader was told late")
    for m in others:
        m.start()
    wait_until(lambda: refused(lambda: api.Put(put, timeout=2)) is None, 30, "writes again")
    if not next(untold).events:
        faults.append("a watch that needs no leader did not go on")
    asks.put(None)
    api.close()
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target")
    options = parser.parse_args()
    if options.target:
        os.environ["CONFMAN_TARGET"] = options.target
    with Cluster(3) as cluster:
        cluster.leader()
        left, *others = cluster.members.values()
        faults = faults_of(left, others)
    for fault in faults:
        print("%s: %s" % (target(), fault))
    print("%d passed, %d failed" % (not faults, bool(faults)))
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
