"""Publishes at one of three nodes to WebSocket subscribers spread over all, and kills nodes (-9)
under them: every subscriber must hear every publication, once, wherever it goes on.

    push.py [--clients N] [--rate N] [--seconds S] [--kills K]
    push.py --storm         2,000 subscribers are cut off at once: they come back paced by the
                            server, those that do as they are told and those that do not
    push.py --measure       prints figures, for a quiet machine: see docs/performance.md

The subscribers are those of tests/push. Then who runs what is asked of every node, by curl.
"""
import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request

from cluster import ROOT, Cluster, wait_until
from web import curl

SUBSCRIBERS = os.path.join(ROOT, "build", "release", "subscribers")
ANSWER_SECONDS = 20
passed = failed = 0


def expect(what, good, told=""):
    global passed, failed
    passed, failed = passed + bool(good), failed + (not good)
    if not good:
        print("FAIL %s %s" % (what, told))


def deliveries(member, query="client=load&limit=1000"):
    return curl("%s/v1/deliveries?%s" % (member.url, query)).json


def start(cluster, options):
    ports = ",".join(str(m.port) for m in cluster.members.values())
    command = [SUBSCRIBERS, "--port", ports, "--clients", str(options.clients),
               "--rate", str(options.rate), "--seconds", str(options.seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    told = process.stdout.readline().split()
    expect("all subscribe", told[:2] == ["ready", "hearing=%d" % options.clients], told)
    return process


def publish(cluster, options):
    """Kills nodes in turn, but the one that the publisher talks to."""
    process = start(cluster, options)
    pause = options.seconds / (2 * options.kills + 1)
    for i in range(options.kills):
        victim = cluster.members[2 + i % 2]
        time.sleep(pause)
        victim.kill()
        time.sleep(pause / 2)
        victim.start()
        victim.wait_ready()
    told, _ = process.communicate(timeout=options.seconds + 120)
    figures = {k: float(v) for k, v in (w.split("=") for w in told.split())}
    print(told.strip())
    expect("the load ends well", process.returncode == 0, told)
    expect("nothing is missed", figures["missed"] == 0 and figures["behind"] == 0, told)
    expect("nothing is told twice", figures["repeated"] == 0, told)
    expect("something was published", figures["published"] > 0, told)
    if options.kills:
        expect("connections were broken", figures["broken"] > options.clients / 10, told)
    return figures


def told(stream, kind, wanted=lambda message: True):
    """The first event of that type that is wanted."""
    for line in stream:
        message = json.loads(line[6:]) if line.startswith(b"data: ") else {}
        if message.get("type") == kind and wanted(message):
            return message
    return {}


def subscribe(member, query):
    return urllib.request.urlopen("%s/v1/subscribe?%s" % (member.url, query),
                                  timeout=ANSWER_SECONDS)


def events(cluster):
    """A summary is of all members; who speaks on a stream elsewhere is told where it is."""
    first, second = cluster.members[1], cluster.members[2]
    with subscribe(first, "topic=deliveries&client=load") as stream:
        one = told(stream, "deliveries", lambda m: m["complete"])
        expect("a summary counts all", sum(one["counts"].values()) == 30, one)
        cluster.members[3].pause()
        two = told(stream, "deliveries", lambda m: not m["complete"])
        expect("who is silent is named", sum(two["counts"].values()) == 20, two)
        cluster.members[3].resume()
        expect("it is back", told(stream, "deliveries", lambda m: m["complete"]))
    with subscribe(first, "prefix=x/&client=e") as stream:
        path = "/v1/subscribe/" + told(stream, "welcome")["stream"]
        for member, status in ((first, 204), (second, 421)):
            answer = curl(member.url + path, "-H", "Content-Type: application/json",
                          body=b'{"type":"ack","revision":1}')
            expect("said to %d" % member.port, answer.status == status, answer)
        expect("it says where", str(first.port) in answer.json["detail"], answer.json)


def who_runs_what(cluster, options):
    """With subscribers that stay: every node tells of all of them; without one it is named."""
    ports = ",".join(str(m.port) for m in cluster.members.values())
    idle = subprocess.Popen([SUBSCRIBERS, "--port", ports, "--clients", "30", "--idle"],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    expect("those that stay subscribe", "hearing=30" in idle.stdout.readline())
    for m in cluster.members.values():
        told = deliveries(m)
        entries = [e for e in told["clients"] if e["connected"]]
        expect("all answer", told["complete"] and len(told["members"]) == 3, told["members"])
        expect("all are told", len(entries) == 30 and sum(told["counts"].values()) == 30,
               (len(entries), told["counts"]))
        expect("of three members", len({e["member"] for e in entries}) == 3)
        names = [e["instance"] for e in told["clients"]]
        expect("each once, in order", names == sorted(set(names)))
        pages, token = [], ""
        while True:
            page = deliveries(m, "client=load&limit=7" + token)
            pages += [e["instance"] for e in page["clients"]]
            if "next_page_token" not in page:
                break
            token = "&page_token=" + page["next_page_token"]
        expect("pages have them all", pages == names, (len(pages), len(names)))
    cluster.members[3].pause()
    told = deliveries(cluster.members[1])
    missing = [m["name"] for m in told["members"] if not m["answered"]]
    expect("who does not answer is named", missing == ["n3"] and not told["complete"], told)
    cluster.members[3].resume()
    wait_until(lambda: deliveries(cluster.members[1])["complete"], ANSWER_SECONDS, "it is back")
    events(cluster)
    idle.stdin.close()
    idle.wait()


def storm():
    """What a second takes is bounded by subscribe-rate, and nobody misses anything."""
    rate, clients = 200, 2000
    with Cluster(3, args=("--subscribe-rate", str(rate))) as cluster:
        for words in ((), ("--rude",)):
            told = load(cluster.members.values(), "--clients", clients, "--rate", 20, "--seconds",
                        10, "--cut", 1, *words)
            print(" ".join("%s=%s" % pair for pair in told.items()))
            for name in ("missed", "repeated", "behind", "failed"):
                expect("%s is none %s" % (name, words), told[name] == "0", told)
            expect("all were cut", int(told["broken"]) >= clients, told)
            # A second's worth at once, and one for the second itself.
            expect("they are paced", int(told["most_back_in_a_second"]) <= 3 * 2 * rate * 1.1, told)
            expect("they come back", int(told["all_back_ms"]) < 15000, told)
        expect("who comes too soon is refused", int(told["refused"]) > clients / 2, told)


def load(members, *words):
    command = [SUBSCRIBERS, "--port", ",".join(str(m.port) for m in members), *map(str, words)]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(w.split("=") for line in out.splitlines()[1:] for w in line.split())


def cpu_seconds(members):
    fields = []
    for m in members:
        with open("/proc/%d/stat" % m.process.pid, encoding="ascii") as f:
            fields += f.read().rsplit(")", 1)[1].split()[11:13]
    return sum(map(int, fields)) / os.sysconf("SC_CLK_TCK")


def measure():
    row = "| %-52s | %-22s | %9s |"
    print(row % ("what", "unit", "confman"))
    with Cluster(3, args=("--subscribe-rate", "1000000")) as cluster:
        members = list(cluster.members.values())
        for clients, rate in ((1000, 20), (1000, 100000), (3000, 10)):
            before = cpu_seconds(members)
            told = load(members, "--clients", clients, "--rate", rate, "--seconds", 5)
            each = (cpu_seconds(members) - before) / float(told["heard"]) * 1e6
            name = "publish to %d subscribers of 3 nodes, %s" % (
                clients, "%d a second" % rate if rate < 1000 else "closed loop")
            print(row % (name, "ms, p50", told["p50_ms"]))
            print(row % (name, "ms, p99", told["p99_ms"]))
            print(row % (name, "publications/s", told["per_s"]))
            print(row % (name, "us of servers' CPU each", "%.1f" % each))
    with Cluster(1, args=("--subscribe-rate", "1000000")) as cluster:
        before = cluster.members[1].memory_kib()
        idle = subprocess.Popen([SUBSCRIBERS, "--port", str(cluster.members[1].port), "--clients",
                                 "10000", "--idle"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        expect("10,000 subscribe", "hearing=10000" in idle.stdout.readline())
        each = (cluster.members[1].memory_kib() - before) * 1024 / 10000
        print(row % ("memory of an idle subscriber (10,000)", "bytes", "%.0f" % each))
        idle.stdin.close()
        idle.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--storm", action="store_true")
    options = parser.parse_args()
    if options.measure:
        measure()
        return
    if options.storm:
        storm()
    else:
        with Cluster(3, args=("--subscribe-rate", "1000")) as cluster:
            publish(cluster, options)
            who_runs_what(cluster, options)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
