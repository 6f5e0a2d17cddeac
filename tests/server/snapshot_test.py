"""Backups: what a snapshot's file holds, and new clusters from it."""
import glob
import json
import os
import socket
import subprocess
import unittest

from node import Node, confman_bin, free_port, main, target, wait_until

KEYS = 40


def run(*args):
    return subprocess.run([confman_bin(), *args], text=True, capture_output=True, timeout=60)


@unittest.skipIf(target() != "confman", "confman's own snapshots")
class SnapshotTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A stop leaves a checkpoint of everything: that file is a snapshot."""
        cls.first = Node().start()
        for i in range(KEYS):
            cls.put(cls.first, "key-%d" % i, "value %d" % i)
        assert cls.first.stop() == 0
        cls.file = max(glob.glob(os.path.join(cls.first.data, "checkpoint-*")))

    @classmethod
    def tearDownClass(cls):
        cls.first.close()

    @staticmethod
    def put(node, key, value):
        done = run("put", key, value, "--endpoint", node.endpoint)
        assert done.returncode == 0, done.stderr

    def node(self, *args):
        node = Node(args=args)
        self.addCleanup(node.close)
        return node

    def get(self, node, key):
        done = run("get", key, "--print-value-only", "--endpoint", node.endpoint)
        return done.stdout.strip() if done.returncode == 0 else None

    def restore(self, directory, *args, file=None):
        return run("snapshot", "restore", file or self.file, "--data-dir", directory, *args)

    def status(self, file):
        done = run("snapshot", "status", file, "--output", "json")
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def test_status(self):
        said = self.status(self.file)
        self.assertEqual((said["keys"], said["revision"]), (KEYS, KEYS + 1))
        self.assertEqual(said["size_bytes"], os.path.getsize(self.file))
        self.assertEqual(len(said["digest"]), 8)
        table = run("snapshot", "status", self.file).stdout
        self.assertRegex(table, r"revision +%d\n" % (KEYS + 1))

    def test_save(self):
        """Everything that was answered before it was asked for is in the file, larger than what
        the server sends at once; over HTTP/1.1 and HTTP/2 it is the same."""
        node = self.node().start()
        for i in range(40):
            self.put(node, "big-%d" % i, "v" * 100000)
        file = os.path.join(node.folder, "saved")
        done = run("snapshot", "save", file, "--endpoint", node.endpoint)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        said = self.status(file)
        self.assertEqual((said["keys"], said["revision"]), (40, 41))
        for version in ("--http1.1", "--http2-prior-knowledge"):
            other = subprocess.run(["curl", "-s", version, node.url + "/v1/snapshot"],
                                   capture_output=True, check=True, timeout=60).stdout
            with open(file, "rb") as f:
                self.assertTrue(other == f.read())
        metrics = subprocess.run(["curl", "-s", node.url + "/metrics"], capture_output=True,
                                 check=True, timeout=60).stdout
        self.assertIn(b"\nconfman_snapshot_downloads_total 3\n", metrics)

    def test_save_stopped(self):
        """A client that does not read holds nobody up."""
        node = self.node().start()
        for i in range(80):
            self.put(node, "big-%d" % i, "v" * 100000)
        with socket.create_connection(("127.0.0.1", node.port)) as s:
            s.sendall(b"GET /v1/snapshot HTTP/1.1\r\nhost: x\r\n\r\n")
            self.assertIn(b"200 OK", s.recv(100))
            self.put(node, "after", "x")
            self.assertEqual(self.get(node, "after"), "x")
        self.put(node, "gone", "x")
        self.assertEqual(node.stop(), 0)

    def test_restore_alone(self):
        node = self.node("--name", "other")
        done = self.restore(node.data, "--name", "other")
        self.assertEqual(done.returncode, 0, done.stderr)
        again = self.restore(node.data)
        self.assertEqual(again.returncode, 1)
        self.assertIn("is not empty", again.stderr)
        node.start()
        self.assertEqual(self.get(node, "key-7"), "value 7")
        self.put(node, "key-7", "newer")
        self.assertEqual(node.stop(), 0)
        node.start()
        self.assertEqual(self.get(node, "key-7"), "newer")
        members = run("member", "list", "--endpoint", node.endpoint).stdout
        self.assertIn("other", members)

    def test_restore_three(self):
        peers = {"n%d" % i: "127.0.0.1:%d" % free_port() for i in range(3)}
        cluster = ",".join("%s=%s" % pair for pair in peers.items())
        nodes = [self.node("--name", name, "--initial-cluster", cluster) for name in peers]
        for name, node in zip(peers, nodes):
            done = self.restore(node.data, "--name", name, "--initial-cluster", cluster)
            self.assertEqual(done.returncode, 0, done.stderr)
        self.start_together(nodes)
        self.put(nodes[0], "after", "all of them")
        for node in nodes:
            self.assertEqual(self.get(node, "key-39"), "value 39")
            self.assertEqual(self.get(node, "after"), "all of them")

    def start_together(self, nodes):
        """None is ready before the others have come."""
        for node in nodes:
            with open(node.log_path, "ab") as log:
                node.process = subprocess.Popen(node.command(), stdout=log, stderr=log)
        for node in nodes:
            wait_until(node.ready, 30, "the restored cluster is ready")

    def test_damaged(self):
        with open(self.file, "rb") as f:
            good = f.read()
        folder = os.path.join(self.first.folder, "damaged")
        os.mkdir(folder)
        bad = os.path.join(folder, "snapshot")
        middle = len(good) // 2
        for data in (good[:-1], good[:middle], b"", good + b"x",
                     good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1:]):
            with open(bad, "wb") as f:
                f.write(data)
            for done in (run("snapshot", "status", bad),
                         self.restore(os.path.join(folder, "data"), file=bad)):
                self.assertEqual(done.returncode, 1)
                self.assertIn("damaged", done.stderr)
            self.assertEqual(os.listdir(folder), ["snapshot"])

    def test_wrong_usage(self):
        self.assertEqual(run("snapshot", "restore").returncode, 2)
        self.assertEqual(run("snapshot", "status").returncode, 2)
        self.assertEqual(run("snapshot", "keep", "file").returncode, 2)
        node = self.node()
        done = self.restore(node.data, "--initial-cluster", "a=127.0.0.1:1", "--name", "b")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no member with our name, b", done.stderr)
        self.assertFalse(os.path.exists(node.data))
        done = run("snapshot", "save", os.path.join(node.folder, "x"), "--endpoint", "127.0.0.1:1")
        self.assertEqual(done.returncode, 3)
        self.assertEqual(glob.glob(os.path.join(node.folder, "x*")), [])


if __name__ == "__main__":
    main()
