"""The npm client etcd3: installs it by its lock file when that is new, and runs client_test.js."""
import hashlib
import os
import subprocess
import sys

from node import Node

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "npm")


def install(folder, what):
    """By the folder's lock file, when that is new."""
    mark = os.path.join(folder, "node_modules", ".installed")
    with open(os.path.join(folder, "package-lock.json"), "rb") as f:
        want = hashlib.sha256(f.read()).hexdigest()
    if os.path.exists(mark):
        with open(mark, encoding="ascii") as f:
            if f.read() == want:
                return
    done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder,
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit("npm could not install %s:\n%s" % (what, done.stdout + done.stderr))
    with open(mark, "w", encoding="ascii") as f:
        f.write(want)


def main():
    install(HERE, "the etcd3 client")
    with Node() as node:
        done = subprocess.run(["node", "client_test.js"], cwd=HERE, timeout=300,
                              env=dict(os.environ, ENDPOINT=node.endpoint))
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
