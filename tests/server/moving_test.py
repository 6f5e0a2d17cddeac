"""In and out: etcd's snapshot of us, and a Debian etcd restored from it."""
import json
import os
import random
import shutil
import subprocess
import tempfile
import unittest

from node import Node, main, target, wait_until


def etcdctl(endpoint, *args, stdin=""):
    return subprocess.run(["etcdctl", "--endpoints", endpoint, *args], text=True, input=stdin,
                          capture_output=True, timeout=60, env=dict(os.environ, ETCDCTL_API="3"))


def ctl(endpoint, *args, stdin=""):
    done = etcdctl(endpoint, *args, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def hash_kv(endpoint, revision=0):
    """(hash, revision, compact revision)"""
    said = json.loads(ctl(endpoint, "endpoint", "hashkv", "--rev", str(revision), "-w", "json"))
    said = said[0]["HashKV"]
    return said["hash"], said["header"]["revision"], said.get("compact_revision", -1)


def everything(endpoint, revision):
    said = ctl(endpoint, "get", "", "--prefix", "--rev", str(revision), "-w", "json")
    return json.loads(said).get("kvs", [])


def words(random_, operations):
    """A random transaction for etcdctl: at most one operation a key."""
    lines = []
    for key in random_.sample(range(40), operations):
        if random_.random() < .3:
            lines.append("del key-%02d" % key)
        else:
            size = random_.choice((0, 1, 30, 30, 5000))
            lines.append("put key-%02d %s" % (key, '"%s"' % ("v" * size)))
    return "\n\n%s\n\n\n" % "\n".join(lines)


def fill(endpoint, seed, compact):
    """Puts, deletions, transactions, leases; a compaction in between. The lease of a key."""
    random_ = random.Random(seed)
    lease = ctl(endpoint, "lease", "grant", "5000").split()[1]
    ctl(endpoint, "lease", "grant", "700")
    for i in range(30):
        ctl(endpoint, "txn", stdin=words(random_, random_.randrange(1, 12)))
        if i == 20 and compact:
            revision = hash_kv(endpoint)[1]
            ctl(endpoint, "put", "gone-at-the-compaction", "x")
            ctl(endpoint, "del", "gone-at-the-compaction")
            ctl(endpoint, "compact", str(revision + 2), "--physical")
    ctl(endpoint, "put", "leased", "x", "--lease", lease)
    ctl(endpoint, "del", "key-07")
    return lease


@unittest.skipIf(target() != "confman", "what confman writes and takes over")
class MovingTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="confman-moving-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def node(self, *args, kind="confman"):
        node = Node(kind=kind, args=args)
        self.addCleanup(node.close)
        return node

    def path(self, name):
        return os.path.join(self.folder, name)

    def restored(self, file):
        """A Debian etcd that serves what the file has."""
        node = self.node(kind="etcd")
        peer = "http://127.0.0.1:%d" % node.peer_port
        done = subprocess.run(
            ["etcdctl", "snapshot", "restore", file, "--data-dir", node.data, "--name", "one",
             "--initial-cluster", "one=" + peer, "--initial-advertise-peer-urls", peer],
            text=True, capture_output=True, timeout=60, env=dict(os.environ, ETCDCTL_API="3"))
        self.assertEqual(done.returncode, 0, done.stderr)
        return node.start()

    def same(self, one, other):
        """Every key at every revision that is kept."""
        said = hash_kv(one.endpoint)
        self.assertEqual(said, hash_kv(other.endpoint))
        for revision in range(max(said[2], 1), said[1] + 1):
            self.assertEqual(everything(one.endpoint, revision),
                             everything(other.endpoint, revision))

    def check_snapshot(self, compact):
        node = self.node().start()
        lease = fill(node.endpoint, 3, compact)
        file = self.path("snapshot")
        ctl(node.endpoint, "snapshot", "save", file)
        said = json.loads(ctl(node.endpoint, "snapshot", "status", file, "-w", "json"))
        self.assertEqual(said["revision"], hash_kv(node.endpoint)[1])
        other = self.restored(file)
        self.same(node, other)
        said = ctl(other.endpoint, "lease", "timetolive", lease, "--keys")
        self.assertRegex(said, r"TTL\(5000s\).*attached keys\(\[leased\]\)")
        self.assertRegex(ctl(other.endpoint, "lease", "list"), "found 2 leases")

    def test_snapshot_restored_by_etcd(self):
        self.check_snapshot(compact=False)

    def test_snapshot_after_compaction_restored_by_etcd(self):
        self.check_snapshot(compact=True)

    def test_snapshot_of_nothing(self):
        """A store in which nothing has been written is a database too."""
        node = self.node().start()
        file = self.path("snapshot")
        ctl(node.endpoint, "snapshot", "save", file)
        self.assertEqual(hash_kv(self.restored(file).endpoint)[1], 1)

    def test_snapshot_damaged(self):
        """The checksum behind it covers every byte: etcdctl refuses what was changed."""
        node = self.node().start()
        ctl(node.endpoint, "put", "a", "b" * 70000)
        file = self.path("snapshot")
        ctl(node.endpoint, "snapshot", "save", file)
        with open(file, "r+b") as f:
            f.seek(40000)
            f.write(b"x")
        done = etcdctl(node.endpoint, "snapshot", "restore", file, "--data-dir", self.path("no"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("expected sha256", done.stderr)


if __name__ == "__main__":
    main()
