"""One permission for all members: auth.py [--target etcd].

Users log in at one member and ask at others. What is granted or taken at one member holds for the
very next request at any other: for writes, and for reads that are not serializable. A watch ends
on the member that it is open at. A member that comes back from its disk asks who it is before it
answers.
"""
import argparse
import os
import queue
import random

import grpc

from cluster import Cluster, target
from etcd_api import pb
from node import wait_until

from auth_test import DENIED, NOBODY, OK, Caller, Users, outcome, proof

ROUNDS = 12
SECONDS = 10


def put(caller, token):
    return asked(caller, "/etcdserverpb.KV/Put", pb.PutRequest(key=b"m/a", value=b"1"), token)


def get(caller, token, serializable=False):
    return asked(caller, "/etcdserverpb.KV/Range",
                 pb.RangeRequest(key=b"m/a", serializable=serializable), token)


def asked(caller, path, request, token):
    got = "old"
    while got == "old":     # a member that had not heard of the newest change: clients ask again
        try:
            caller.call(path)(request.SerializeToString(), timeout=SECONDS, metadata=proof(token))
            return OK
        except grpc.RpcError as e:
            got = outcome(e) if e.code() != grpc.StatusCode.UNAVAILABLE else "unavailable"
    return got


def watch(caller, token):
    """A watch of m/, created."""
    asks = queue.SimpleQueue()
    asks.put(pb.WatchRequest(create_request=pb.WatchCreateRequest(
        key=b"m/", range_end=b"m0")).SerializeToString())
    answers = caller.call("/etcdserverpb.Watch/Watch", "both")(
        iter(asks.get, None), timeout=60, metadata=proof(token))
    assert pb.WatchResponse.FromString(next(answers)).created
    return asks, answers


def faults_of(cluster):
    leader = cluster.leader()
    members = sorted(cluster.members.values(), key=lambda m: m is leader)   # the leader is last
    callers = [Caller(m.endpoint) for m in members]
    users = Users(members[0].endpoint)
    token, faults = users.tokens["right"], []

    def expect(what, got, want):
        if got != want:
            faults.append("%s: %s, not %s" % (what, got, want))

    for i, caller in enumerate(callers):
        expect("a token of another member, at %d" % i, put(caller, token), OK)
        expect("nobody, at %d" % i, put(caller, None), NOBODY)
    streams = [watch(caller, token) for caller in callers] if target() != "etcd" else []
    with users.taken("right"):
        for i, (asks, answers) in enumerate(streams):
            told = (pb.WatchResponse.FromString(a) for a in answers)
            reason = next((t.cancel_reason for t in told if t.canceled), "")
            expect("the end of the watch at %d" % i, "permission denied" in reason, True)
            asks.put(None)
            answers.cancel()
    chance = random.Random(1)
    for _ in range(ROUNDS):
        users.caller = chance.choice(callers)
        one = chance.choice(callers)
        with users.taken("right"):
            expect("a put after the role was taken", put(one, token), DENIED)
            expect("a get after the role was taken", get(one, token), DENIED)
        expect("a put after the role was given", put(one, token), OK)
        expect("a get after the role was given", get(one, token), OK)
    member = members[0]
    member.kill()
    member.start()
    answers = []

    def again():
        one = Caller(member.endpoint)   # an old channel waits long before it calls again
        answers.append(get(one, None, serializable=True))
        one.channel.close()
        return answers[-1] == NOBODY

    wait_until(again, 30, "the member answers again")
    expect("what it said to nobody until then",
           sorted(set(answers) - {NOBODY, "unavailable"}), [])
    for caller in callers:
        caller.channel.close()
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target")
    options = parser.parse_args()
    if options.target:
        os.environ["CONFMAN_TARGET"] = options.target
    with Cluster(3, args=("--bcrypt-cost", "4")) as cluster:
        faults = faults_of(cluster)
    for fault in faults:
        print("%s: %s" % (target(), fault))
    print("%d passed, %d failed" % (not faults, bool(faults)))
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
