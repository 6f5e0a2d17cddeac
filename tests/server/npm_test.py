"""The npm client etcd3: installs it by its lock file when that is new, and runs client_test.js."""
import hashlib
import os
import subprocess
import sys

from node import Node

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "npm")
MARK = os.path.join(HERE, "node_modules", ".installed")


def install():
    with open(os.path.join(HERE, "package-lock.json"), "rb") as f:
        want = hashlib.sha256(f.read()).hexdigest()
    if os.path.exists(MARK):
        with open(MARK, encoding="ascii") as f:
            if f.read() == want:
                return
    done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE,
                          capture_output=True, text=True)
    if done.returncode:
        sys.exit("npm could not install the etcd3 client:\n" + done.stdout + done.stderr)
    with open(MARK, "w", encoding="ascii") as f:
        f.write(want)


def main():
    install()
    with Node() as node:
        done = subprocess.run(["node", "client_test.js"], cwd=HERE, timeout=300,
                              env=dict(os.environ, ENDPOINT=node.endpoint))
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
