"""The command line: the binary as a client of its own doors."""
import json
import os
import subprocess
import unittest

from node import ServerTest, confman_bin, main, target, wait_until

COMMANDS = ("put", "get", "del", "watch", "txn", "lease", "status", "compact")


@unittest.skipIf(target() != "confman", "confman's own command line")
class CliTest(ServerTest):
    def run_cli(self, *args, stdin="", endpoint=True):
        env = dict(os.environ, CONFMAN_ENDPOINT=self.node.endpoint if endpoint else "")
        return subprocess.run([confman_bin(), *args], env=env, input=stdin, text=True,
                              capture_output=True, timeout=20)

    def cli(self, *args, **more):
        done = self.run_cli(*args, **more)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def json(self, *args):
        return json.loads(self.cli(*args, "--output", "json"))

    def test_put_get_del(self):
        k = self.name("k")
        self.cli("put", k, "some value")
        self.assertIn("some value", self.cli("get", k))
        self.assertIn("some value", json.dumps(self.json("get", k)))
        self.cli("put", self.name("l"), "other")
        both = self.cli("get", self.name(), "--prefix")
        self.assertTrue("some value" in both and "other" in both, both)
        self.cli("del", k)
        self.assertNotIn("some value", self.run_cli("get", k).stdout)

    def test_endpoint_flag(self):
        k = self.name("k")
        done = self.run_cli("put", k, "v", "--endpoint", self.node.endpoint, endpoint=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("v", self.cli("get", k))
        nobody = self.run_cli("get", k, "--endpoint", "127.0.0.1:1")
        self.assertNotEqual(nobody.returncode, 0)
        self.assertIn("127.0.0.1:1", nobody.stderr)

    def test_watch(self):
        k = self.name("k")
        process = subprocess.Popen([confman_bin(), "watch", self.name(), "--prefix"], text=True,
                                   env=dict(os.environ, CONFMAN_ENDPOINT=self.node.endpoint),
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            os.set_blocking(process.stdout.fileno(), False)
            seen = []

            def heard():
                self.cli("put", k, "watched value")
                try:
                    seen.append(os.read(process.stdout.fileno(), 65536).decode())
                except BlockingIOError:
                    pass
                return "watched value" in "".join(seen)
            wait_until(heard, 10, "the watch tells of a put")
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def test_lease_status_compact(self):
        self.assertTrue(self.cli("lease", "grant", "60"))
        status = self.json("status")
        self.assertIn("revision", json.dumps(status))
        self.cli("put", self.name("k"), "1")
        self.cli("compact", "2")
        twice = self.run_cli("compact", "2")
        self.assertNotEqual(twice.returncode, 0)
        self.assertIn("compacted", twice.stderr)

    def test_help(self):
        whole = self.cli("--help")
        for command in COMMANDS:
            self.assertIn(command, whole)
            told = self.cli(command, "--help")
            self.assertIn("confman " + command, told)
        self.assertIn("--data-dir", self.cli("server", "--help"))

    def test_mistakes(self):
        for wrong, near in ((("gett", "k"), "get"), (("get", "k", "--outptu", "json"), "--output"),
                            (("server", "--data-dri", "x"), "--data-dir"),
                            (("get", "k", "--output", "jsn"), "json")):
            done = self.run_cli(*wrong)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(near, done.stderr)
        self.assertNotEqual(self.run_cli("put").returncode, 0)


if __name__ == "__main__":
    main()
