"""A member whose state is not the others' tells so by itself: corrupt.py.

Two of the members take turns in locks, each at another node; then the state of one is changed in
its newest checkpoint, checksums and all, while it is down. Once it is back, the digest that the
leader tells differs from its own: the CORRUPT alarm is raised in its name, and all refuse to go on
until it has been replaced and the alarm is disarmed.
"""
import argparse
import glob
import os
import struct

import grpc

from cluster import Cluster, target
from etcd_api import pb
from node import wait_until
from witness import show

HEAD = 44               # of a checkpoint's file; then pieces of 16 bytes and what they say
DIGEST_AT = 1 + 4 + 8 + 8   # in the machine's first piece: kind, format, index, term
SECONDS = 20

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for b in data:
        crc = TABLE[(crc ^ b) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def forge(path):
    """Another digest in a checkpoint that is sound otherwise (docs/formats/disk.md)."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    at, inner = HEAD, 0
    while data[at:at + 4] == b"CNFP":
        size, = struct.unpack_from("<I", data, at + 8)
        piece = at + 16
        if data[piece] == 1:                                    # HEAD
            data[piece + DIGEST_AT] ^= 1
        if data[piece] == 4:                                    # END: its last four bytes
            struct.pack_into("<I", data, piece + size - 4, inner)
        inner = crc32c(data[piece:piece + size], inner)
        struct.pack_into("<I", data, at + 4, crc32c(data[at + 8:piece + size]))
        at = piece + size
    with open(path, "wb") as f:
        f.write(data)


def put(m, key):
    """None, or how it is refused."""
    api = m.api()
    try:
        api.Put(pb.PutRequest(key=key, value=b"v"), timeout=5)
        return None
    except grpc.RpcError as e:
        return e.details()
    finally:
        api.close()


def alarms(m):
    api = m.api()
    try:
        answer = api.Alarm(pb.AlarmRequest(), timeout=5)
        return [(a.memberID, a.alarm) for a in answer.alarms]
    except grpc.RpcError:
        return []
    finally:
        api.close()


def locks(cluster):
    """Whoever asks any member has to wait for who asked another one."""
    apis = [m.api() for m in cluster.running()]
    held = apis[0].Lock(pb.LockRequest(name=b"l"), timeout=SECONDS)
    waiting = [a.Lock.future(pb.LockRequest(name=b"l"), timeout=60) for a in apis]
    line = pb.RangeRequest(key=b"l/", range_end=b"l0", count_only=True)
    wait_until(lambda: apis[0].Range(line).count == 1 + len(waiting), SECONDS, "all wait")
    faults = []
    for _ in range(len(waiting) + 1):
        if held.key != apis[1].Range(pb.RangeRequest(key=b"l/", range_end=b"l0", sort_target=2,
                                                     sort_order=1)).kvs[0].key:
            faults.append("who holds the lock is not the oldest")
        apis[1].Unlock(pb.UnlockRequest(key=held.key), timeout=SECONDS)
        if waiting:
            wait_until(lambda: any(w.done() for w in waiting), SECONDS, "the next has it")
            done = [w for w in waiting if w.done()]
            faults += ["two hold the lock"] * (len(done) > 1)
            waiting = [w for w in waiting if w not in done]
            held = done[0].result()
    for api in apis:
        api.close()
    return faults


def scenario(cluster):
    faults = locks(cluster)
    forged, other = cluster.followers()
    for i in range(100):
        put(other, b"k%d" % i)
    cluster.settle()
    forged.stop()
    forge(max(glob.glob(forged.data + "/checkpoint-*")))
    forged.start()
    wait_until(lambda: alarms(other), SECONDS, "the alarm is raised")
    if alarms(other) != [(forged.id, pb.CORRUPT)]:
        faults.append("the alarms are %s" % alarms(other))
    for m in cluster.running():
        if put(m, b"k") != "etcdserver: corrupt cluster":
            faults.append("member %d says %s" % (m.number, put(m, b"k")))
    forged.kill()
    cluster.remove_member(forged)
    api = other.api()
    api.Alarm(pb.AlarmRequest(action=2, memberID=forged.id, alarm=pb.CORRUPT), timeout=SECONDS)
    api.close()
    fresh = cluster.join_member(4)
    fresh.wait_ready()
    fresh.id = fresh.status().header.member_id
    cluster.settle()
    if put(fresh, b"k") is not None:
        faults.append("after it was replaced: %s" % put(fresh, b"k"))
    forged.remove_folder()
    if any(alarms(m) for m in cluster.running()):
        faults.append("an alarm is left")
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", default=target())
    options = parser.parse_args()
    with Cluster(3, options.target) as cluster:
        good = show("corrupt", cluster, scenario(cluster))
    os._exit(0 if good else 1)


if __name__ == "__main__":
    main()
