"""In and out: etcd's snapshot of us, and a Debian etcd restored from it."""
import base64
import json
import os
import random
import shutil
import subprocess
import tempfile
import unittest

import grpc

from node import Node, confman_bin, main, target, wait_until


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
    return "\n%s\n\n\n" % "\n".join(lines)


def fill(endpoint, seed, compact):
    """Puts, deletions, transactions, leases; a compaction in between. The lease of a key."""
    random_ = random.Random(seed)
    lease = ctl(endpoint, "lease", "grant", "5000").split()[1]
    ctl(endpoint, "lease", "grant", "700")
    for i in range(12):
        ctl(endpoint, "txn", stdin=words(random_, random_.randrange(1, 12)))
        if i == 7 and compact:
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
        """All that is kept, by its hash; and every key at some of the revisions."""
        said = hash_kv(one.endpoint)
        self.assertEqual(said, hash_kv(other.endpoint))
        for revision in range(max(said[2], 1), said[1] + 1, 5):
            self.assertEqual(everything(one.endpoint, revision),
                             everything(other.endpoint, revision))

    def test_snapshot_restored_by_etcd(self):
        node = self.node().start()
        lease = fill(node.endpoint, 3, True)
        file = self.path("snapshot")
        done = self.confman("snapshot", "save", file, "--etcd", "--endpoint", node.endpoint)
        self.assertEqual(done.returncode, 0, done.stderr)
        ctl(node.endpoint, "snapshot", "save", self.path("same"))
        with open(file, "rb") as one, open(self.path("same"), "rb") as other:
            self.assertTrue(one.read() == other.read())
        said = json.loads(ctl(node.endpoint, "snapshot", "status", file, "-w", "json"))
        self.assertEqual(said["revision"], hash_kv(node.endpoint)[1])
        other = self.restored(file)
        self.same(node, other)
        said = ctl(other.endpoint, "lease", "timetolive", lease, "--keys")
        self.assertRegex(said, r"TTL\(5000s\).*attached keys\(\[leased\]\)")
        self.assertRegex(ctl(other.endpoint, "lease", "list"), "found 2 leases")

    def test_snapshot_of_nothing(self):
        """A store in which nothing has been written is a database too."""
        node = self.node().start()
        file = self.path("snapshot")
        ctl(node.endpoint, "snapshot", "save", file)
        self.assertEqual(hash_kv(self.restored(file).endpoint)[1], 1)

    def test_snapshots_at_once(self):
        """Two; the next is refused until one is taken or given up. Who does not read holds nobody
        up, and hears the whole later."""
        node = self.node().start()
        for i in range(12):
            ctl(node.endpoint, "put", "big-%d" % i, stdin="v" * 1000000)
        with grpc.insecure_channel(node.endpoint) as channel:
            ask = channel.unary_stream("/etcdserverpb.Maintenance/Snapshot",
                                       request_serializer=bytes, response_deserializer=bytes)
            waiting = [ask(b""), ask(b"")]
            for stream in waiting:
                self.assertGreater(len(next(stream)), 4096)
            with self.assertRaises(grpc.RpcError) as refused:
                next(ask(b""))
            self.assertEqual(refused.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            ctl(node.endpoint, "put", "meanwhile", "x")
            waiting[0].cancel()
            size = sum(len(message) for message in waiting[1])
            self.assertGreater(size, 12 * 1000000)
            wait_until(lambda: self.saved(node), 10, "there is room again")

    def saved(self, node):
        return etcdctl(node.endpoint, "snapshot", "save", self.path("again")).returncode == 0

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

    # ---- in ----

    def confman(self, *args):
        return subprocess.run([confman_bin(), *args], text=True, capture_output=True, timeout=60)

    def imported(self, etcd, *words):
        """A node that has taken over what etcd has; what was said about it."""
        node = self.node()
        done = self.confman("import", "etcd", *words, "--data-dir", node.data)
        self.assertEqual(done.returncode, 0, done.stderr)
        if not etcd.alive():
            etcd.start()
        node.start()
        said = hash_kv(etcd.endpoint)
        self.assertEqual(hash_kv(node.endpoint), said)
        self.assertIn("HashKV     %d" % said[0], done.stdout)
        return node, done.stdout

    def test_import(self):
        """From a live etcd, from its snapshot, from the directory that it leaves when it stops."""
        etcd = self.node(kind="etcd").start()
        lease = fill(etcd.endpoint, 11, True)
        node, said = self.imported(etcd, "--from-endpoint", etcd.endpoint)
        self.assertIn("the same as the source's", said)
        self.same(etcd, node)
        said = ctl(node.endpoint, "lease", "timetolive", lease, "--keys")
        self.assertRegex(said, r"TTL\(5000s\).*attached keys\(\[leased\]\)")
        ctl(node.endpoint, "lease", "revoke", lease)
        self.assertEqual(ctl(node.endpoint, "get", "leased"), "")
        self.assertEqual(node.stop(), 0)
        node.start()    # from a checkpoint of its own
        self.assertEqual(hash_kv(node.endpoint)[1], hash_kv(etcd.endpoint)[1] + 1)

        file = self.path("snapshot")
        ctl(etcd.endpoint, "snapshot", "save", file)
        self.imported(etcd, "--from-snapshot", file)

        words = ("import", "etcd", "--from-data-dir", etcd.data, "--data-dir", self.path("no"))
        done = self.confman(*words)
        self.assertEqual(done.returncode, 1)
        self.assertIn("stop that etcd first", done.stderr)
        ctl(etcd.endpoint, "put", "last", "of all")
        etcd.stop()
        self.imported(etcd, "--from-data-dir", etcd.data)

    def test_import_of_a_killed_etcd(self):
        """What its log has and its database has not would be lost: refused."""
        etcd = self.node(kind="etcd").start()
        words = ("import", "etcd", "--from-data-dir", etcd.data, "--data-dir", self.path("no"))
        for _ in range(20):     # etcd writes out every 100 ms
            ctl(etcd.endpoint, "put", "last", "word")
            etcd.kill()
            done = self.confman(*words)
            if done.returncode:
                break
            shutil.rmtree(self.path("no"))
            etcd.start()
        self.assertIn("its log has changes", done.stderr)
        self.assertFalse(os.path.exists(self.path("no")))
        etcd.start()

    def test_import_users(self):
        etcd = self.node(kind="etcd").start()
        for words in (("user", "add", "root:secret"), ("user", "add", "anna:apple"),
                      ("role", "add", "reader"),
                      ("role", "grant-permission", "reader", "read", "a", "b"),
                      ("user", "grant-role", "anna", "reader"),
                      ("user", "grant-role", "root", "root"),
                      ("put", "a", "1"), ("put", "z", "2")):
            ctl(etcd.endpoint, *words)
        node = self.node()
        file = self.path("snapshot")
        ctl(etcd.endpoint, "snapshot", "save", file)
        done = self.confman("import", "etcd", "--from-snapshot", file, "--data-dir", node.data)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, "auth +disabled")
        node.start()
        self.assertEqual(ctl(node.endpoint, "user", "list"), "anna\nroot\n")
        file = self.path("back")
        ctl(node.endpoint, "snapshot", "save", file)
        back = self.restored(file)
        ctl(back.endpoint, "auth", "enable")
        self.check_users(back)

    def test_import_while_users_log_in(self):
        """That they have to is taken over too: nobody gets in without."""
        etcd = self.node(kind="etcd").start()
        for words in (("user", "add", "root:secret"), ("user", "grant-role", "root", "root"),
                      ("auth", "enable")):
            ctl(etcd.endpoint, *words)
        node = self.node()
        file = self.path("snapshot")
        ctl(etcd.endpoint, "--user", "root:secret", "snapshot", "save", file)
        done = self.confman("import", "etcd", "--from-snapshot", file, "--data-dir", node.data)
        self.assertRegex(done.stdout, "auth +enabled")
        node.start()
        done = etcdctl(node.endpoint, "snapshot", "save", self.path("no"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("user name is empty", done.stderr)
        self.assertEqual(ctl(node.endpoint, "--user", "root:secret", "user", "list"), "root\n")
        done = etcdctl(node.endpoint, "--user", "root:guess", "user", "list")
        self.assertIn("invalid user ID or password", done.stderr)

    def check_users(self, node):
        self.assertEqual(ctl(node.endpoint, "--user", "anna:apple", "get", "a"), "a\n1\n")
        for words in (("--user", "anna:apple", "get", "z"), ("--user", "anna:pear", "get", "a"),
                      ("get", "a")):
            self.assertNotEqual(etcdctl(node.endpoint, *words).returncode, 0)
        said = ctl(node.endpoint, "--user", "root:secret", "role", "get", "reader")
        self.assertIn("[a, b)", said)

    def test_import_refused(self):
        """Nothing is made of what is no database; and what is there stays."""
        file = self.path("file")
        with open(file, "wb") as f:
            f.write(b"no database" * 1000)
        there = self.path("there")
        os.mkdir(there)
        open(os.path.join(there, "x"), "w", encoding="ascii").close()
        for words, status, why in (
                (("--from-snapshot", file, "--data-dir", self.path("no")), 1, "is no database"),
                (("--from-snapshot", file, "--data-dir", there), 1, "is not empty"),
                (("--from-snapshot", self.path("none"), "--data-dir", self.path("no")), 1,
                 "No such file"),
                (("--from-data-dir", there, "--data-dir", self.path("no")), 1, "No such file"),
                (("--data-dir", self.path("no")), 2, "usage"),
                (("--from-snapshot", file, "--from-data-dir", there), 2, "usage"),
                (("--from-endpoint", "127.0.0.1:1", "--data-dir", self.path("no")), 3,
                 "cannot connect")):
            done = self.confman("import", "etcd", *words)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(why, done.stderr)
        self.assertEqual(sorted(os.listdir(self.folder)), ["file", "there"])

    # ---- following ----

    def mirror(self, source, target, *words):
        return self.confman("mirror", source.endpoint, "--endpoint", target.endpoint, *words)

    def values(self, node, prefix=""):
        said = json.loads(ctl(node.endpoint, "get", prefix, "--prefix", "-w", "json"))
        return {kv["key"]: kv.get("value") for kv in said.get("kvs", [])
                if kv["key"] != base64.b64encode(b"confman/mirror").decode()}

    def caught_up(self, source, target, *words):
        done = self.mirror(source, target, "--until-caught-up", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("every key is the same", done.stdout)
        return done.stdout

    def test_mirror(self):
        etcd, node = self.node(kind="etcd").start(), self.node().start()
        fill(etcd.endpoint, 17, True)
        self.caught_up(etcd, node)
        self.assertEqual(self.values(node), self.values(etcd))

        process = subprocess.Popen([confman_bin(), "mirror", etcd.endpoint, "--endpoint",
                                    node.endpoint], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertIn("following", process.stdout.readline())
        ctl(etcd.endpoint, "txn", stdin="\nput three-a 1\nput three-b 2\ndel leased\n\n\n")
        wait_until(lambda: ctl(node.endpoint, "get", "three-b"), 10, "the change is mirrored")
        said = json.loads(ctl(node.endpoint, "get", "three", "--prefix", "-w", "json"))["kvs"]
        said += json.loads(ctl(node.endpoint, "get", "confman/mirror", "-w", "json"))["kvs"]
        self.assertEqual(len({kv["mod_revision"] for kv in said}), 1)   # one transaction
        self.assertEqual(ctl(node.endpoint, "get", "leased"), "")
        process.kill()

        ctl(etcd.endpoint, "del", "three-a")
        for i in range(5):
            ctl(etcd.endpoint, "put", "later-%d" % i, "x" * 30000)
        self.assertNotIn("anew", self.caught_up(etcd, node))    # from its mark on
        self.assertEqual(self.values(node), self.values(etcd))

        ctl(etcd.endpoint, "del", "later", "--prefix")
        ctl(etcd.endpoint, "compact", str(hash_kv(etcd.endpoint)[1]))
        self.assertIn("anew", self.caught_up(etcd, node))   # etcd tells no deletion from there on
        self.assertEqual(self.values(node), self.values(etcd))

    def test_mirror_of_a_prefix(self):
        one, other = self.node().start(), self.node().start()
        many = ["put a/%03d %d" % (i, i) for i in range(450)]    # more than a page
        for i in range(0, 450, 100):
            ctl(one.endpoint, "txn", stdin="\n%s\n\n\n" % "\n".join(many[i:i + 100]))
        ctl(one.endpoint, "put", "b", "not this one")
        ctl(other.endpoint, "put", "x/010", "older")
        ctl(other.endpoint, "put", "x/zzz", "gone")
        ctl(other.endpoint, "put", "y", "stays")
        words = ("--source-prefix", "a/", "--target-prefix", "x/")
        done = self.mirror(one, other, *words)
        self.assertEqual(done.returncode, 1)
        self.assertIn("the target has 2 keys there", done.stderr)
        self.caught_up(one, other, *words, "--overwrite")
        want = {base64.b64encode(b"x/%03d" % i).decode(): base64.b64encode(b"%d" % i).decode()
                for i in range(450)}
        self.assertEqual(self.values(other, "x/"), want)
        self.assertEqual(ctl(other.endpoint, "get", "y"), "y\nstays\n")
        ctl(one.endpoint, "del", "a/", "--prefix")  # one revision, more than a transaction takes
        self.caught_up(one, other, *words)
        self.assertEqual(self.values(other, "x/"), {})
        done = self.mirror(other, other, *words)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another source", done.stderr)
        done = self.mirror(one, one, "--mark", "m")
        self.assertIn("are the same keys", done.stderr)


if __name__ == "__main__":
    main()
