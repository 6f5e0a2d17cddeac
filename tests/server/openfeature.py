"""OpenFeature's own providers (npm, by the lock file in openfeature/) against one node and against
a three-node cluster; `make conformance` calls it."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "openfeature")
sys.path.insert(0, os.path.join(HERE, "..", "cluster"))

from node import Node
from npm_test import install
from cluster import Cluster

SECONDS = 120


def providers(what, endpoints):
    done = subprocess.run(["node", "providers_test.js"], cwd=FOLDER, timeout=SECONDS,
                          capture_output=True, text=True,
                          env=dict(os.environ, ENDPOINTS=",".join(endpoints)))
    lines = done.stdout.splitlines() or ["nothing was said: " + done.stderr]
    print("openfeature, %s: %s" % (what, lines[-1]), flush=True)
    if done.returncode:
        print(done.stdout + done.stderr)
    return done.returncode


def main():
    install(FOLDER, "OpenFeature's providers")
    with Node(kind="confman") as node:
        failed = providers("one node", [node.endpoint])
    with Cluster(3, kind="confman") as cluster:
        failed += providers("three nodes", [m.endpoint for m in cluster.members.values()])
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
