"""etcd's JSON door at a member that does not lead: json_door.py [--target etcd].

Writes, reads and keep-alives go through the leader; several requests come down one connection at
once; a watch hears of it. Then the others are killed: who asks for a leader is told that there is
none, and the pages about health say so.
"""
import argparse
import base64
import http.client
import json
import os
import socket
import subprocess
import time

from cluster import Cluster, target
from node import confman_bin, wait_until

SECONDS = 10


def b64(text):
    return base64.b64encode(text.encode()).decode()


def post(member, path, message, headers=()):
    """(status, JSON) over HTTP; message may be a text of several."""
    connection = http.client.HTTPConnection("127.0.0.1", member.port, timeout=SECONDS)
    body = message if isinstance(message, str) else json.dumps(message)
    connection.request("POST", path, body, dict(headers))
    answer = connection.getresponse()
    lines = [json.loads(line) for line in answer.read().splitlines()]
    connection.close()
    return answer.status, lines[0] if len(lines) == 1 else lines


def get(member, path):
    connection = http.client.HTTPConnection("127.0.0.1", member.port, timeout=SECONDS)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def pipelined(member, requests):
    """The answers to requests that were all sent before the first was answered."""
    with socket.create_connection(("127.0.0.1", member.port), SECONDS) as s:
        for i, (path, message) in enumerate(requests):
            body = json.dumps(message) if isinstance(message, dict) else message
            close = "Connection: close\r\n" if i == len(requests) - 1 else ""
            s.sendall(("POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s" %
                       (path, close, len(body), body)).encode())
        return b"".join(iter(lambda: s.recv(65536), b"")).decode()


def open_watch(member, key):
    connection = http.client.HTTPConnection("127.0.0.1", member.port, timeout=SECONDS)
    connection.request("POST", "/v3/watch", json.dumps({"create_request": {"key": b64(key)}}))
    answer = connection.getresponse()
    assert json.loads(answer.readline())["result"]["created"]
    return connection, answer


def expect(faults, what, got, wanted):
    if got != wanted:
        faults.append("%s: %s, not %s" % (what, got, wanted))


def through_the_leader(member, faults):
    connection, watch = open_watch(member, "k")
    expect(faults, "put", post(member, "/v3/kv/put", {"key": b64("k"), "value": b64("v")})[0], 200)
    found = post(member, "/v3/kv/range", {"key": b64("k")})[1]
    expect(faults, "range", found.get("kvs", [{}])[0].get("value"), b64("v"))
    events = json.loads(watch.readline())["result"]["events"]
    expect(faults, "event", events[0]["kv"]["value"], b64("v"))
    connection.close()
    lease = post(member, "/v3/lease/grant", {"TTL": 60})[1]["ID"]
    told = post(member, "/v3/lease/keepalive", '{"ID":"%s"}{"ID":"1"}{"ID":%s}' % (lease, lease))
    expect(faults, "keep-alive", [r["result"].get("TTL") for r in told[1]], ["60", None, "60"])
    answers = pipelined(member, [("/v3/lease/keepalive", '{"ID":"%s"}' % lease * 3),
                                 ("/v3/kv/range", {"key": b64("k")}),
                                 ("/v3/kv/lease/timetolive", {"ID": lease}),
                                 ("/v3/kv/put", {"key": b64("k2")}),
                                 ("/v3/lease/revoke", {"ID": lease}),
                                 ("/v3/lease/keepalive", '{"ID":"%s"}' % lease)])
    expect(faults, "pipelined", answers.count("HTTP/1.1 200"), 6)
    expect(faults, "pipelined keep-alives", answers.count('"result"'), 4)


def without_a_leader(member, faults):
    needs = (("Grpc-Metadata-hasleader", "true"),)
    status, told = post(member, "/v3/kv/range", {"key": b64("k"), "serializable": True}, needs)
    expect(faults, "range that needs a leader", (status, told.get("error")),
           (503, "etcdserver: no leader"))
    status, told = post(member, "/v3/kv/range", {"key": b64("k"), "serializable": True})
    expect(faults, "serializable range", (status, told.get("count")), (200, "1"))
    expect(faults, "/health", get(member, "/health")[0], 503)
    if target() != "etcd":      # 3.4 has no such pages
        expect(faults, "/readyz", get(member, "/readyz")[0], 503)
        expect(faults, "/livez", get(member, "/livez")[0], 200)
        expect(faults, "/health?serializable", get(member, "/health?serializable=true")[0], 200)


def leader_asked(cluster, faults):
    """A leader whose followers are gone does not know it yet: the pages ask, and do not guess."""
    leader = cluster.leader()
    for m in cluster.followers():
        m.kill()
    began = time.monotonic()
    expect(faults, "/readyz of a leader alone",
           get(leader, "/readyz/linearizable_read")[0], 503)
    if time.monotonic() - began > SECONDS:
        faults.append("/readyz took too long")


def office_handed_on(cluster, faults):
    """`confman member lead` asked of a member that does not lead: it goes to the one that does."""
    asked, to = cluster.followers()
    done = subprocess.run([confman_bin(), "member", "lead", "%x" % to.id, "--endpoint",
                           "127.0.0.1:%d" % asked.port], capture_output=True, text=True,
                          timeout=SECONDS)
    expect(faults, "member lead", (done.returncode, done.stderr), (0, ""))
    wait_until(lambda: asked.status().leader == to.id, SECONDS, "the other one leads")


def start_again(cluster):
    for m in cluster.members.values():
        if not m.alive():
            m.start()
    for m in cluster.members.values():
        m.wait_ready()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--target")
    options = parser.parse_args()
    if options.target:
        os.environ["CONFMAN_TARGET"] = options.target
    faults = []
    with Cluster(3) as cluster:
        cluster.leader()
        left, *others = cluster.followers()
        through_the_leader(left, faults)
        if target() != "etcd":
            office_handed_on(cluster, faults)
            left, *others = cluster.followers()
        for m in (*others, cluster.leader()):
            m.kill()
        wait_until(lambda: left.status().leader == 0, 10, "it knows no leader")
        without_a_leader(left, faults)
        start_again(cluster)
        if target() != "etcd":
            leader_asked(cluster, faults)
            start_again(cluster)
    for fault in faults:
        print("%s: %s" % (target(), fault))
    print("%d passed, %d failed" % (not faults, bool(faults)))
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
