"""Debian's etcdctl, a client that nobody here wrote, does what its manual says."""
import base64
import json
import os
import queue
import subprocess
import threading
import time

from node import ServerTest, main, wait_until


def text(encoded):
    return base64.b64decode(encoded or "").decode()


class Lines:
    """A running etcdctl whose lines of output can be waited for."""

    def __init__(self, command, env):
        self.process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                        text=True)
        self.queue = queue.Queue()
        self.thread = threading.Thread(target=self.pump, daemon=True)
        self.thread.start()

    def pump(self):
        for line in self.process.stdout:
            self.queue.put(line.rstrip("\n"))

    def next(self, seconds=10):
        return self.queue.get(timeout=seconds)

    def take(self, n):
        return [self.next() for _ in range(n)]

    def stop(self):
        self.process.terminate()
        self.process.wait(10)
        self.thread.join(10)
        self.process.stdout.close()


class Etcdctl(ServerTest):
    def setUp(self):
        self.env = dict(os.environ, ETCDCTL_API="3")

    def command(self, *args):
        return ["etcdctl", "--endpoints", self.node.endpoint, *args]

    def run_ctl(self, *args, stdin=""):
        return subprocess.run(self.command(*args), env=self.env, input=stdin, text=True,
                              capture_output=True, timeout=30)

    def ctl(self, *args, stdin=""):
        done = self.run_ctl(*args, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def refused(self, *args):
        done = self.run_ctl(*args)
        self.assertNotEqual(done.returncode, 0, done.stdout)
        return done.stderr

    def json(self, *args):
        return json.loads(self.ctl(*args, "-w", "json"))

    def follow(self, *args):
        lines = Lines(self.command(*args), self.env)
        self.addCleanup(lines.stop)
        return lines

    def put_all(self, pairs):
        for k, v in pairs:
            self.assertEqual(self.ctl("put", self.name(k), v), "OK\n")

    def values(self, *args):
        return self.ctl("get", "--print-value-only", *args).split()


class EtcdctlTest(Etcdctl):
    def test_put_get(self):
        key = self.name("k")
        self.assertEqual(self.ctl("put", key, "one"), "OK\n")
        self.assertEqual(self.ctl("get", key), key + "\none\n")
        first = self.json("get", key)
        self.ctl("put", key, "two")
        second = self.json("get", key)
        kv = second["kvs"][0]
        self.assertEqual(text(kv["value"]), "two")
        self.assertEqual(kv["version"], 2)
        self.assertEqual(kv["create_revision"], first["kvs"][0]["create_revision"])
        # What an earlier test left behind (a session's key) may go in between.
        self.assertGreater(kv["mod_revision"], first["kvs"][0]["mod_revision"])
        self.assertGreaterEqual(second["header"]["revision"], kv["mod_revision"])
        self.assertEqual(self.ctl("get", key + "none"), "")
        self.assertEqual(self.ctl("put", key, "--", "-dash"), "OK\n")

    def test_put_previous(self):
        key = self.name("k")
        self.assertEqual(self.ctl("put", "--prev-kv", key, "1"), "OK\n")
        self.assertEqual(self.ctl("put", "--prev-kv", key, "2"), "OK\n%s\n1\n" % key)
        self.assertIn("etcdserver: key not found",
                      self.refused("put", "--ignore-value", key + "none"))
        self.ctl("put", "--ignore-value", key)
        self.assertEqual(self.values(key), ["2"])

    def test_ranges(self):
        self.put_all([("a", "3"), ("b", "1"), ("c", "2"), ("d", "4")])
        p = self.name()
        self.assertEqual(self.values("--prefix", p), ["3", "1", "2", "4"])
        self.assertEqual(self.values(p + "b", p + "d"), ["1", "2"])
        self.assertEqual(self.values("--prefix", "--limit", "2", p), ["3", "1"])
        self.assertEqual(self.values("--prefix", "--order", "DESCEND", p), ["4", "2", "1", "3"])
        self.assertEqual(self.values("--prefix", "--sort-by", "VALUE", p), ["1", "2", "3", "4"])
        self.assertEqual(self.values("--prefix", "--sort-by", "MODIFY", "--order", "DESCEND",
                                     "--limit", "1", p), ["4"])
        got = self.json("get", "--prefix", "--limit", "3", p)
        self.assertTrue(got["more"])
        self.assertEqual((got["count"], len(got["kvs"])), (4, 3))
        self.assertIn(p + "d", self.ctl("get", "--from-key", "--keys-only", p + "c"))

    def test_keys_and_counts(self):
        self.put_all([("a", "1"), ("b", "2")])
        p = self.name()
        self.assertEqual(self.ctl("get", "--prefix", "--keys-only", p).split(), [p + "a", p + "b"])
        self.assertEqual(self.json("get", "--prefix", "--keys-only", p)["count"], 2)
        self.assertIn('"Count" : 2', self.ctl("get", "--prefix", p, "-w", "fields"))

    def test_past(self):
        key = self.name("k")
        self.ctl("put", key, "old")
        revision = self.json("get", key)["header"]["revision"]
        self.ctl("put", key, "new")
        self.assertEqual(self.values(key, "--rev", str(revision)), ["old"])
        self.assertEqual(self.values(key, "--consistency", "s"), ["new"])
        self.assertIn("required revision is a future revision",
                      self.refused("get", key, "--rev", str(revision + 1000)))

    def test_delete(self):
        self.put_all([("a", "1"), ("b", "2"), ("c", "3")])
        p = self.name()
        self.assertEqual(self.ctl("del", p + "a"), "1\n")
        self.assertEqual(self.ctl("del", p + "a"), "0\n")
        self.assertEqual(self.ctl("del", "--prev-kv", "--prefix", p),
                         "2\n%sb\n2\n%sc\n3\n" % (p, p))
        self.assertIn("key is not provided", self.refused("del", ""))

    def test_txn(self):
        key = self.name("k")
        self.ctl("put", key, "1")
        script = 'value("%s") = "1"\nversion("%s") > "0"\n\nput %s 2\nget %s\n\nput %s 9\n\n' % (
            (key,) * 5)
        self.assertEqual(self.ctl("txn", stdin=script), "SUCCESS\n\nOK\n\n%s\n2\n" % key)
        self.assertEqual(self.ctl("txn", stdin=script).split()[0], "FAILURE")
        self.assertEqual(self.values(key), ["9"])
        for compare, answer in (('create("%s") = "0"', "SUCCESS"), ('mod("%s") < "1"', "SUCCESS"),
                                ('value("%s") = ""', "FAILURE"),
                                ('version("%s") > "0"', "FAILURE")):
            script = (compare + "\n\nget %s\n\nget %s\n\n") % (key + "none", key, key)
            self.assertEqual(self.ctl("txn", stdin=script).split()[0], answer)
        self.ctl("txn", stdin="\ndel %s\n\n\n" % key)
        self.assertEqual(self.values(key), [])
        twice = self.run_ctl("txn", stdin="\nput %s 1\nput %s 2\n\n\n" % (key, key))
        self.assertIn("duplicate key given in txn request", twice.stderr)

    def test_watch(self):
        key = self.name("k")
        self.ctl("put", key, "0")
        revision = self.json("get", key)["kvs"][0]["mod_revision"]
        follow = self.follow("watch", "--prefix", self.name(), "--rev", str(revision), "--prev-kv")
        self.assertEqual(follow.take(3), ["PUT", key, "0"])
        self.ctl("put", key, "1")
        self.assertEqual(follow.take(5), ["PUT", key, "0", key, "1"])
        self.ctl("put", self.name()[:-1] + "beside", "x")
        self.ctl("del", key)
        self.assertEqual(follow.take(5), ["DELETE", key, "1", key, ""])

    def test_watch_json(self):
        key = self.name("k")
        follow = self.follow("watch", key, "-w", "json", "--rev", "1")
        self.ctl("put", key, "v")
        event = json.loads(follow.next())["Events"][0]
        self.assertEqual((text(event["kv"]["key"]), text(event["kv"]["value"])), (key, "v"))

    def test_lease(self):
        key = self.name("k")
        lease = self.ctl("lease", "grant", "300").split()[1]
        self.assertEqual(len(lease), 16)
        self.ctl("put", "--lease", lease, key, "v")
        told = self.ctl("lease", "timetolive", lease, "--keys")
        self.assertRegex(told, r"granted with TTL\(300s\), remaining\((300|299|298)s\)")
        self.assertIn("attached keys([%s])" % key, told)
        self.assertIn(lease, self.ctl("lease", "list"))
        self.assertIn("keepalived with TTL(300)", self.ctl("lease", "keep-alive", "--once", lease))
        self.ctl("put", "--ignore-lease", key, "w")
        self.assertEqual("%016x" % self.json("get", key)["kvs"][0]["lease"], lease)
        self.assertIn("revoked", self.ctl("lease", "revoke", lease))
        self.assertEqual(self.values(key), [])
        self.assertIn("already expired", self.ctl("lease", "timetolive", lease))
        self.assertIn("requested lease not found", self.refused("lease", "revoke", lease))
        self.assertIn("requested lease not found",
                      self.refused("put", "--lease", lease, key, "v"))

    def test_lease_expires(self):
        key = self.name("k")
        granted = time.monotonic()
        lease = self.ctl("lease", "grant", "2").split()[1]
        self.ctl("put", "--lease", lease, key, "v")
        wait_until(lambda: self.values(key) == [], 10, "the lease's key is deleted")
        self.assertGreater(time.monotonic() - granted, 2)

    def test_lease_kept_alive(self):
        key = self.name("k")
        lease = self.ctl("lease", "grant", "2").split()[1]
        self.ctl("put", "--lease", lease, key, "v")
        follow = self.follow("lease", "keep-alive", lease)
        for _ in range(5):
            self.assertIn("keepalived with TTL(2)", follow.next())
        self.assertEqual(self.values(key), ["v"])
        follow.stop()
        self.ctl("lease", "revoke", lease)

    def test_members(self):
        members = self.json("member", "list")["members"]
        self.assertEqual(len(members), 1)
        self.assertTrue(members[0]["name"])
        self.assertIn("started", self.ctl("member", "list"))
        status = self.json("endpoint", "status")[0]["Status"]
        self.assertEqual(status["leader"], status["header"]["member_id"])
        self.assertIn("Leadership", self.ctl("move-leader", "%x" % status["leader"]))
        self.assertEqual(self.json("member", "list")["members"], members)
        self.assertGreater(status["dbSize"], 0)
        self.assertGreaterEqual(status["raftIndex"], status["raftAppliedIndex"])
        self.assertRegex(status["version"], r"^3\.\d+\.\d+$")
        health = self.run_ctl("endpoint", "health")
        self.assertIn("is healthy", health.stdout + health.stderr)
        self.assertEqual(health.returncode, 0)

    def test_lock(self):
        name = self.name("lock")
        holder = self.follow("lock", name)
        self.assertTrue(holder.next().startswith(name + "/"))
        waiter = self.follow("lock", name, "echo", "mine now")
        time.sleep(0.3)
        self.assertTrue(waiter.queue.empty())
        holder.stop()
        self.assertEqual(waiter.next(), "mine now")

    def test_elect(self):
        name = self.name("election")
        leader = self.follow("elect", name, "first")
        self.assertEqual([leader.next().startswith(name), leader.next()], [True, "first"])
        listener = self.follow("elect", "-l", name)
        self.assertEqual([listener.next().startswith(name), listener.next()], [True, "first"])

    def test_mirror(self):
        self.put_all([("a", "1"), ("b", "2")])
        there = self.name("there/")
        self.follow("make-mirror", self.node.endpoint, "--prefix", self.name("a"),
                    "--dest-prefix", there, "--no-dest-prefix=false")
        wait_until(lambda: self.values("--prefix", there) == ["1"], 10, "the mirror has the key")
        self.ctl("put", self.name("a"), "3")
        wait_until(lambda: self.values("--prefix", there) == ["3"], 10, "the mirror follows")


class CompactionTest(Etcdctl):
    """Compaction is for the whole store, so these have a server of their own."""

    def test_compaction(self):
        key = self.name("k")
        for i in range(5):
            self.ctl("put", key, str(i))
        revision = self.json("get", key)["header"]["revision"]
        self.assertEqual(self.ctl("compaction", str(revision - 1)),
                         "compacted revision %d\n" % (revision - 1))
        self.assertEqual(self.values(key, "--rev", str(revision - 1)), ["3"])
        compacted = "mvcc: required revision has been compacted"
        self.assertIn(compacted, self.refused("get", key, "--rev", str(revision - 2)))
        self.assertIn(compacted, self.refused("compaction", str(revision - 1)))
        self.assertIn("mvcc: required revision is a future revision",
                      self.refused("compaction", str(revision + 1)))
        self.assertIn("compacted", self.ctl("compaction", "--physical", str(revision)))
        late = self.follow("watch", key, "--rev", "2")
        self.assertIn("required revision has been compacted", late.next())

if __name__ == "__main__":
    main()
