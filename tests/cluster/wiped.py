"""A node that lost its disk must not come back as who it was: wiped.py [--early] [--target
etcd].

It has promised things it no longer knows: with it, a majority could forget what was acknowledged.
So it is refused, does not vote and does not serve; removed and added anew it is welcome.
"""
import argparse
import os
import time

import clients
from cluster import Cluster, target
from etcd_api import pb
from history import ABSENT, Op
from node import wait_until
from witness import show

KEYS = 200
LOOK_SECONDS = 4        # two elections long


def put(m, key, seconds=2):
    """Whether it was acknowledged."""
    api = m.api()
    try:
        api.Put(pb.PutRequest(key=key, value=b"v"), timeout=seconds)
        return True
    except clients.grpc.RpcError:
        return False
    finally:
        api.close()


def reads(m, serializable):
    """Whether it answers a read at all."""
    api = m.api()
    try:
        clients.call(api, Op(0, "sget" if serializable else "get", "k0", ABSENT, 0))
        return True
    except clients.grpc.RpcError:
        return False
    finally:
        api.close()


def look(wiped, others):
    """What must not be, of the wiped one; what must be, of the others."""
    faults = []
    end = time.monotonic() + LOOK_SECONDS
    n = 0
    while time.monotonic() < end and not faults:
        if wiped.process.poll() is None:
            if put(wiped, b"wiped", 0.3):
                faults.append("the wiped node took a write")
            if reads(wiped, True):
                faults.append("the wiped node served a read")
        for m in others:
            n += 1
            if not put(m, b"still/%d" % n):
                faults.append("member %d does not take writes beside a wiped one" % m.number)
    return faults


def no_vote(wiped, stays, goes):
    """With one of two sound members gone there is no majority, whatever the wiped one says."""
    goes.kill()
    faults = []
    end = time.monotonic() + LOOK_SECONDS
    while time.monotonic() < end and not faults:
        if put(stays, b"minority", 0.5):
            faults.append("a write was acknowledged by member %d and the wiped %d" % (
                stays.number, wiped.number))
    goes.start()
    goes.wait_ready()
    return faults


def known(cluster):
    """Whether every member has told the cluster of itself."""
    api = cluster.leader().api()
    try:
        return all(m.clientURLs for m in api.MemberList(pb.MemberListRequest(), timeout=5).members)
    finally:
        api.close()


def scenario(cluster, early):
    leader = cluster.leader()
    if not early:
        wait_until(lambda: known(cluster), 10, "all have told of themselves")
    api = leader.api()
    for i in range(KEYS):
        api.Put(pb.PutRequest(key=b"k%d" % i, value=b"v"), timeout=5)
    api.close()
    wiped, other = cluster.followers()
    wiped.kill()
    wiped.wipe()
    wiped.start()
    faults = look(wiped, [leader, other])
    faults += no_vote(wiped, other, leader)
    faults += look(wiped, [leader, other])
    print("the wiped node %s" % ("waits" if wiped.alive() else "ended with %d" %
                                 wiped.process.returncode))
    if wiped.alive():
        wiped.kill()
    wiped.process = None
    cluster.remove_member(wiped)
    fresh = cluster.join_member(4)
    fresh.wait_ready()
    fresh.id = fresh.status().header.member_id
    cluster.settle()
    if not put(fresh, b"welcome"):
        faults.append("the node that took its place takes no writes")
    wiped.remove_folder()
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default=target())
    parser.add_argument("--early", action="store_true", help="as soon as the cluster serves")
    options = parser.parse_args()
    with Cluster(3, options.target) as cluster:
        good = show("wiped", cluster, scenario(cluster, options.early))
    os._exit(0 if good else 1)


if __name__ == "__main__":
    main()
