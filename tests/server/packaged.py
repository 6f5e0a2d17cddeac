"""Test suites that Debian's packages of etcd clients bring along, against Debian's etcd and against
confman in one run, side by side; `make conformance` calls it.

Each suite has a server of its own. What passes on etcd must pass on confman.
"""
import functools
import os
import subprocess
import sys
import unittest

from node import Node, free_port

SECONDS = 200
SUITES = (("python3-etcd3gw", "etcd3gw.tests.test_etcd3gw", "etcd3gw.tests.test_client"),
          ("python3-tooz", "tooz.tests.test_coordination",
           "tooz.tests.test_partitioner.TestPartitioner", "tooz.tests.drivers.test_etcd3gw"))
# Below which path. Debian's etcd has no /v3alpha, which is what these clients take by themselves.
RUNS = (("etcd", "v3"), ("confman", "v3"), ("confman", "v3alpha"))


class Outcomes(unittest.TestResult):
    """Each test's name with how it ended, one a line on standard output."""

    def tell(self, test, how):
        print("%s %s" % (how, test.id()), file=sys.__stdout__, flush=True)

    def addSuccess(self, test, *unused, **more):
        self.tell(test, "passed")

    def addError(self, test, err=None, **more):
        self.tell(test, "failed")
        print(self._exc_info_to_string(err, test) if err else more, file=sys.__stderr__)

    addFailure = addError

    def addSkip(self, test, reason=None, **more):
        self.tell(test, "skipped")


def run_here(port, path, modules):
    """In a process of its own: the suites find the server where they look for it."""
    import urllib3

    urllib3.PoolManager.request = lambda *unused, **more: None # "is it there?": it is
    import etcd3gw
    from etcd3gw.client import Etcd3Client
    from etcd3gw.tests import test_etcd3gw

    test_etcd3gw.Etcd3Client = functools.partial(Etcd3Client, port=port, api_path="/%s/" % path)
    etcd3gw.client = Etcd3Client    # the function there does not take the path that tooz gives
    os.environ["TOOZ_TEST_URL"] = "etcd3+http://localhost:%d?api_version=%s" % (port, path)
    unittest.defaultTestLoader.loadTestsFromNames(modules).run(Outcomes())


def run(kind, path, modules):
    """{test: how it ended}, and what was said about failures."""
    peers = ["--listen-peers", "127.0.0.1:%d" % free_port()]    # etcd has one, and a test looks
    with Node(kind=kind, args=peers if kind == "confman" else ()) as node:
        done = subprocess.run(
            [sys.executable, __file__, "--here", str(node.port), path, *modules],
            capture_output=True, timeout=SECONDS, check=False)
    lines = [line.split(" ", 1) for line in done.stdout.decode().splitlines()]
    return {test: how for how, test in lines}, done.stderr.decode("utf-8", "replace")


def main():
    if sys.argv[1:2] == ["--here"]:
        run_here(int(sys.argv[2]), sys.argv[3], sys.argv[4:])
        return
    worse = []
    columns = ["%s /%s" % r for r in RUNS]
    print("%-18s" % "passed of run" + "".join("%20s" % c for c in columns))
    for name, *modules in SUITES:
        results = [run(kind, path, modules) for kind, path in RUNS]
        counts = ["%d of %d" % (sum(h == "passed" for h in r.values()),
                                sum(h != "skipped" for h in r.values())) for r, _ in results]
        print("%-18s" % name + "".join("%20s" % c for c in counts), flush=True)
        for test, how in results[0][0].items():
            for column, (ours, said) in zip(columns[1:], results[1:]):
                if how == "passed" and ours.get(test) != "passed":
                    worse.append(test)
                    print("%s on %s: %s\n%s" % (test, column, ours.get(test), said[-3000:]))
        if "passed" not in results[0][0].values():
            worse.append(name)
            print("%s on etcd: nothing passed\n%s" % (name, results[0][1][-3000:]))
        both = [t for t, how in results[0][0].items() if how == "failed"]
        print("    etcd fails: %s" % (", ".join(t.rsplit(".", 1)[1] for t in both) or "none"))
    print("%d passed, %d failed" % (not worse, len(worse)))
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
