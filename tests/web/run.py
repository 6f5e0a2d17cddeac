"""The page at /ui/ in a real browser: installs playwright-core and axe-core by their lock file when
that is new, and runs page_test.js against nodes of its own: one of them with an issuer of logins,
one that is shown in pictures.

    run.py [--pictures FOLDER] [test...]
"""
import hashlib
import os
import subprocess
import sys
from contextlib import closing

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "server"))
from issuer import Issuer  # noqa: E402
from node import Node  # noqa: E402
from oidc_test import start as oidc_node  # noqa: E402

MARK = os.path.join(HERE, "node_modules", ".installed")
TEST_SECONDS = 900


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
        sys.exit("npm could not install what the page is tested with:\n" +
                 done.stdout + done.stderr)
    with open(MARK, "w", encoding="ascii") as f:
        f.write(want)


def audited():
    node = Node()
    node.args += ["--audit-log", os.path.join(node.folder, "audit")]
    return node


def main():
    arguments = sys.argv[1:]
    environment = dict(os.environ)
    if arguments[:1] == ["--pictures"]:
        environment["PICTURES"] = os.path.abspath(arguments[1])
        arguments = arguments[2:]
    install()
    issuer = Issuer()
    issuer.claims = {"sub": "ann", "groups": ["g-dev"]}
    with audited() as node, closing(oidc_node(issuer)) as other, audited() as shop:
        environment.update(PAGE=node.url, PAGE_OIDC=other.url, PAGE_SHOP=shop.url)
        done = subprocess.run(["node", "page_test.js"] + arguments, cwd=HERE, env=environment,
                              timeout=TEST_SECONDS)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
