"""A cluster under load is upgraded by contrib/rolling-upgrade: upgrade.py [--seed N].

Three builds of this tree: old speaks the version of the peer protocol before the newest, both that
and the newest, new the newest alone.
First old is to become new at once: the first member that has it is refused, the script stops, the
others go on. Then old becomes both, and both becomes new. What requests may meet: as in rolling.py.
The level stays where it was while one member is old, and rises with the last: then old is let in no
more.
"""
import argparse
import http.server
import json
import os
import random
import re
import subprocess
import threading
import time
import urllib.request

from cluster import Cluster
from node import ROOT, wait_until
from rolling import STILL_SECONDS, check_errors, longest_gap
from witness import Witness, show

CLIENTS = 6
PACE_SECONDS = 0.002
REFUSED_WAIT_SECONDS = 4    # that a member which cannot become ready is waited for
with open(os.path.join(ROOT, "src/link/peer/peer.h"), encoding="ascii") as f:
    NEWEST = int(re.search(r"define PEER_VERSION (\d+)", f.read()).group(1))
SPEAKS = {"old": (NEWEST - 1, NEWEST - 1), "both": (NEWEST - 1, NEWEST), "new": (NEWEST, NEWEST)}
SCRIPT = os.path.join(ROOT, "contrib", "rolling-upgrade")


def build(name):
    """The binary of one of the three."""
    folder = "build/peer-" + name
    defines = "-DPEER_VERSION_MIN=%d -DPEER_VERSION=%d -DMACHINE_LEVEL=%d" % (
        SPEAKS[name] + SPEAKS[name][1:])
    subprocess.run(["make", "-s", "-j2", "O=" + folder, "DEFINES=" + defines,
                    folder + "/confman"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return os.path.join(ROOT, folder, "confman")


class Keeper:
    """Stands for the machines: GET /NAME/ID/CLIENT restarts that member as the build of now."""

    def __init__(self, cluster, builds):
        self.cluster, self.builds = cluster, builds
        self.now = "old"
        self.runs = {m.number: "old" for m in cluster.members.values()}
        self.restarts = []      # (number, whether it led, build)
        self.faults = []
        keeper = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                try:
                    keeper.restart(*self.path.strip("/").split("/"))
                    self.send_response(200)
                except Exception as e:      # the script has to hear of it, whatever it was
                    keeper.faults.append("restart %s: %s" % (self.path, e))
                    self.send_response(500)
                self.end_headers()

            def log_message(self, *args):
                pass
        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def restart(self, name, ident, client):
        m = next(m for m in self.cluster.members.values() if m.name == name)
        if (m.id, m.endpoint) != (int(ident, 16), client):
            raise AssertionError("that is not %x at %s" % (m.id, m.endpoint))
        self.check_versions()
        if "old" in self.runs.values():
            expect(self, level_of(m) == NEWEST - 1, "the level rises while one member is old")
        self.restarts.append((m.number, self.cluster.find_leader() is m, self.now))
        self.start_as(m, self.now)

    def start_as(self, m, name):
        m.stop()
        os.environ["CONFMAN_BIN"] = self.builds[name]
        self.runs[m.number] = name
        m.start()

    def script(self, to, *options):
        """Upgrades all to a build; (exit status, what was printed)."""
        self.now = to
        url = "http://127.0.0.1:%d/{name}/{id}/{client}" % self.server.server_port
        done = subprocess.run([SCRIPT, "--endpoints", self.cluster.endpoints, "--restart",
                               "curl -sSf " + url, "--confman", self.builds["old"], *options],
                              capture_output=True, text=True, timeout=300, check=False)
        output = done.stdout + done.stderr
        print("".join("    %s\n" % line for line in output.splitlines()), end="")
        return done.returncode, output

    def check_versions(self):
        """Any two members speak the newest version that both do, once they are connected."""
        for m in self.cluster.members.values():
            told = wait_until(lambda m=m: versions_of(m), 10, "all have reached each other")
            for name, version in told.items():
                other = next(x for x in self.cluster.members.values() if x.name == name)
                want = min(SPEAKS[self.runs[x.number]][1] for x in (m, other))
                expect(self, version == want, "%s (%s) speaks version %d with %s (%s): %d" % (
                    m.name, self.runs[m.number], want, name, self.runs[other.number], version))


def versions_of(m):
    """What m speaks with each of the others, by name; None when it has not reached all."""
    with urllib.request.urlopen(m.url + "/v1/cluster", timeout=5) as answer:
        others = [o for o in json.load(answer)["members"] if not o["self"]]
    reached = all("version" in o for o in others)
    return {o["name"]: o["version"] for o in others} if reached else None


def level_of(m):
    with urllib.request.urlopen(m.url + "/v1/cluster", timeout=5) as answer:
        return json.load(answer)["level"]


def log_of(m):
    with open(m.log_path, encoding="utf-8", errors="replace") as f:
        return f.read()


def expect(keeper, condition, what):
    if not condition:
        keeper.faults.append("not so: " + what)


def too_far(keeper):
    """old to new at once: (when it began and ended, whose requests may have waited in vain)."""
    began = time.monotonic_ns() // 1000
    status, output = keeper.script("new", "--wait", str(REFUSED_WAIT_SECONDS))
    expect(keeper, status == 1 and "stopped: " in output and "Restarted until now: none" in output,
           "the script stops when the first is not ready again")
    expect(keeper, len(keeper.restarts) == 1 and not keeper.restarts[0][1],
           "it has restarted one follower: %s" % keeper.restarts)
    m = keeper.cluster.members[keeper.restarts[0][0]]
    others = [o for o in keeper.cluster.members.values() if o is not m]
    old, new = SPEAKS["old"][0], SPEAKS["new"][0]
    advice = "first run a release that speaks %d as well as %d on every member" % (old, new)
    refusal = "the caller speaks %d to %d, the called one %d to %d; " + advice
    expect(keeper, refusal % (old, old, new, new) in log_of(m) and
           all(refusal % (new, new, old, old) in log_of(o) for o in others),
           "all say why they refuse each other, and what to do")
    status, output = keeper.script("both", "--dry-run")
    expect(keeper, status == 1 and "not ready: no leader" in output and len(keeper.restarts) == 1,
           "the script does not begin when a member is not ready")
    before = others[0].revision()
    wait_until(lambda: others[0].revision() > before + 20, 10, "the others go on")
    keeper.start_as(m, "old")
    m.wait_ready()
    return began, time.monotonic_ns() // 1000, m.number


def upgrade(keeper, to):
    led = keeper.cluster.leader()
    before = len(keeper.restarts)
    status, _ = keeper.script(to)
    done = keeper.restarts[before:]
    expect(keeper, status == 0, "the script goes to its end")
    expect(keeper, sorted(n for n, _, _ in done) == sorted(keeper.cluster.members) and
           done[-1][0] == led.number and not any(leads for _, leads, _ in done),
           "each once, the leader last, after it led no more: %s" % done)
    keeper.check_versions()


def too_late(keeper):
    """All know the newest level, and one is old again: (when it began and ended, which)."""
    began = time.monotonic_ns() // 1000
    for m in keeper.cluster.members.values():
        wait_until(lambda m=m: level_of(m) == NEWEST, 10, "all know the newest level")
    led = keeper.cluster.leader()
    m = next(m for m in keeper.cluster.members.values() if m is not led)
    m.kill()    # no checkpoint of the newest format: its log is what it stops at
    keeper.start_as(m, "old")
    # It is refused by the others, or ends at the command that it does not know.
    told = ("called one %d to %d" % (NEWEST, NEWEST), "run a newer one", "run that one")
    wait_until(lambda: any(text in log_of(m) for text in told), 10, "it says why it cannot go on")
    keeper.start_as(m, "both")
    m.wait_ready()
    return began, time.monotonic_ns() // 1000, m.number


def run(keeper):
    cluster = keeper.cluster
    status, output = keeper.script("both", "--dry-run", "--skip", cluster.leader().name)
    expect(keeper, status == 0 and not keeper.restarts and output.count("curl") == 2 and
           "leadership" not in output, "a dry run without the leader names two")
    status, output = keeper.script("both", "--skip", "nobody")
    expect(keeper, status == 2 and not keeper.restarts, "one who is no member cannot be skipped")
    waits = too_far(keeper)
    upgrade(keeper, "both")
    late = too_late(keeper)
    upgrade(keeper, "new")
    return waits, late


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    options = parser.parse_args()
    builds = {name: build(name) for name in SPEAKS}
    os.environ["CONFMAN_BIN"] = builds["old"]
    with Cluster(3, "confman") as cluster:
        keeper = Keeper(cluster, builds)
        witness = Witness(cluster, options.seed, CLIENTS, 1, PACE_SECONDS).start()
        time.sleep(1)
        alone = run(keeper)
        time.sleep(0.5)
        witness.stop()
        ops = witness.ops()
        # Who is alone in its version has no leader, and its clients wait for one in vain.
        others = [op for op in ops if not any(op.node == node and began <= op.ended <= ended
                                              for began, ended, node in alone)]
        gap, _ = longest_gap(others)
        faults = witness.verify() + check_errors(others, cluster.kind) + keeper.faults
        print("%d restarts: no write for %.0f ms at most" % (len(keeper.restarts), gap / 1000))
        if gap > STILL_SECONDS * 1e6:
            faults.append("writes stood still for %.0f ms" % (gap / 1000))
        good = show("upgrade", cluster, faults, ", seed %d" % options.seed)
    os._exit(0 if good else 1)


if __name__ == "__main__":
    main()
