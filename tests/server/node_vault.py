"""npm's node-vault, by the lock file in node_vault/, against the door for Vault's clients;
`make conformance` calls it."""
import os
import subprocess
import sys

from npm_test import install
from vault_test import vault_node

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "node_vault")
SECONDS = 60


def main():
    install(FOLDER, "node-vault")
    with vault_node(seal=False, kind="confman") as node:
        done = subprocess.run(["node", "client_test.js"], cwd=FOLDER, timeout=SECONDS,
                              env=dict(os.environ, VAULT=node.vault), check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
