"""Alarms, quota, Defragment, Hash, Downgrade, ranges in pieces: with grpc and Debian's etcdctl."""
import os
import subprocess
import unittest

import grpc

from etcd_api import Api, pb, prefix_end
from node import Node, ServerTest, confman_only, free_port, main, target, wait_until
from web import curl

FULL = ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")
CORRUPT = ("DATA_LOSS", "etcdserver: corrupt cluster")
GET, ACTIVATE, DEACTIVATE = range(3)
VALUE = b"v" * 1000


def lives(node):
    try:
        return curl(node.url + "/health/live").status == 200
    except subprocess.CalledProcessError:
        return False


class Maintenance(ServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.api = Api(cls.node.endpoint)

    @classmethod
    def tearDownClass(cls):
        cls.api.close()
        super().tearDownClass()

    def refused(self, call, request):
        """None, or (code, text) of the refusal."""
        try:
            call(request, timeout=20)
            return None
        except grpc.RpcError as e:
            return e.code().name, e.details()

    def put(self, key, value=b"v"):
        return self.refused(self.api.Put, pb.PutRequest(key=key, value=value))

    def alarm(self, action, kind, member=0):
        answer = self.api.Alarm(pb.AlarmRequest(action=action, alarm=kind, memberID=member),
                                timeout=20)
        if target() == "confman":       # etcd 3.4 leaves it empty
            self.assertNotEqual(answer.header.cluster_id, 0)
        return [(a.memberID, a.alarm) for a in answer.alarms]

    def ctl(self, *args, code=0):
        done = subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, *args], text=True,
                              env=dict(os.environ, ETCDCTL_API="3"), capture_output=True,
                              timeout=30)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stdout


class AlarmTest(Maintenance):
    def tearDown(self):
        for member, kind in self.alarm(GET, pb.NONE):
            self.alarm(DEACTIVATE, kind, member)

    def test_nospace(self):
        self.assertIsNone(self.put(b"k"))
        self.assertEqual(self.alarm(ACTIVATE, pb.NOSPACE, 7), [(7, pb.NOSPACE)])
        self.assertEqual(self.alarm(ACTIVATE, pb.NOSPACE, 7), [(7, pb.NOSPACE)])
        self.assertEqual(self.alarm(GET, pb.NONE), [(7, pb.NOSPACE)])
        self.assertEqual(self.alarm(GET, pb.CORRUPT), [])
        self.assertEqual(self.put(b"k"), FULL)
        self.assertEqual(self.refused(self.api.LeaseGrant, pb.LeaseGrantRequest(TTL=60)), FULL)
        put = pb.RequestOp(request_put=pb.PutRequest(key=b"k"))
        self.assertEqual(self.refused(self.api.Txn, pb.TxnRequest(failure=[put])), FULL)
        self.assertEqual(self.api.Range(pb.RangeRequest(key=b"k")).count, 1)
        self.assertEqual(self.api.DeleteRange(pb.DeleteRangeRequest(key=b"k")).deleted, 1)
        errors = self.api.Status(pb.StatusRequest()).errors
        self.assertEqual([" ".join(e.split()) for e in errors], ["memberID:7 alarm:NOSPACE"])
        health = curl(self.node.url + "/health")
        self.assertEqual(health.status, 503)
        self.assertEqual(self.alarm(DEACTIVATE, pb.NOSPACE, 8), [])
        self.assertEqual(self.alarm(DEACTIVATE, pb.NOSPACE, 7), [(7, pb.NOSPACE)])
        self.assertIsNone(self.put(b"k"))
        self.assertEqual(curl(self.node.url + "/health").status, 200)

    def test_corrupt(self):
        self.assertIsNone(self.put(b"k"))
        lease = self.api.LeaseGrant(pb.LeaseGrantRequest(TTL=600)).ID
        self.alarm(ACTIVATE, pb.CORRUPT, 7)
        for call, request in ((self.api.Put, pb.PutRequest(key=b"k")),
                              (self.api.DeleteRange, pb.DeleteRangeRequest(key=b"k")),
                              (self.api.Txn, pb.TxnRequest(success=[
                                  pb.RequestOp(request_put=pb.PutRequest(key=b"k"))])),
                              (self.api.Compact, pb.CompactionRequest(revision=2)),
                              (self.api.LeaseGrant, pb.LeaseGrantRequest(TTL=60)),
                              (self.api.LeaseRevoke, pb.LeaseRevokeRequest(ID=lease))):
            self.assertEqual(self.refused(call, request), CORRUPT, request)
        if target() == "confman":       # etcd still reads
            self.assertEqual(self.refused(self.api.Range, pb.RangeRequest(key=b"k")), CORRUPT)
        self.alarm(DEACTIVATE, pb.CORRUPT, 7)
        self.assertIsNone(self.put(b"k"))

    @confman_only
    def test_none(self):
        self.assertEqual(self.alarm(ACTIVATE, pb.NONE, 7), [])
        self.assertEqual(self.alarm(DEACTIVATE, pb.NONE, 7), [])
        self.assertEqual(self.alarm(GET, pb.NONE), [])

    @confman_only
    def test_bound(self):
        calls = [self.api.Alarm.future(pb.AlarmRequest(action=ACTIVATE, alarm=pb.NOSPACE,
                                                       memberID=i)) for i in range(256)]
        self.assertEqual(sum(len(c.result(20).alarms) for c in calls), 256)
        self.assertEqual(self.refused(self.api.Alarm, pb.AlarmRequest(
            action=ACTIVATE, alarm=pb.CORRUPT))[0], "RESOURCE_EXHAUSTED")
        self.assertEqual(len(self.alarm(GET, pb.NONE)), 256)

    @confman_only
    def test_survives_a_restart(self):
        self.alarm(ACTIVATE, pb.NOSPACE, 7)
        self.node.stop()
        self.node.start()
        wait_until(lambda: self.refused(self.api.Range, pb.RangeRequest(key=b"k")) is None, 10,
                   "it is there again")
        self.assertEqual(self.alarm(GET, pb.NONE), [(7, pb.NOSPACE)])

    def test_etcdctl(self):
        self.alarm(ACTIVATE, pb.NOSPACE, 7)
        self.assertEqual(self.ctl("alarm", "list").split(), ["memberID:7", "alarm:NOSPACE"])
        self.ctl("put", "k", "v", code=1)
        self.assertIn("alarm:NOSPACE", self.ctl("alarm", "disarm"))
        self.assertEqual(self.ctl("alarm", "list"), "")
        self.ctl("put", "k", "v")


@confman_only
class QuotaTest(Maintenance):
    args = ("--quota-backend-bytes", str(1 << 20))

    def test_quota(self):
        status = self.api.Status(pb.StatusRequest())
        self.assertEqual(status.dbSizeQuota, 1 << 20)
        self.assertEqual(list(status.errors), [])
        for i in range(2000):
            refused = self.put(b"k%d" % i, VALUE)
            if refused:
                break
        self.assertEqual(refused, FULL)
        self.assertGreater(i, 100)
        # The alarm was raised before that was answered, in this member's name.
        self.assertEqual(self.alarm(GET, pb.NONE), [(status.header.member_id, pb.NOSPACE)])
        self.assertEqual(self.put(b"small"), FULL)
        deleted = self.api.DeleteRange(pb.DeleteRangeRequest(key=b"k", range_end=b"l"))
        self.assertEqual(deleted.deleted, i)
        self.api.Compact(pb.CompactionRequest(revision=deleted.header.revision, physical=True))
        # As in etcd it stays until somebody disarms it.
        self.assertEqual(self.put(b"small"), FULL)
        self.assertIn("alarm:NOSPACE", self.ctl("alarm", "disarm"))
        wait_until(lambda: self.put(b"small") is None, 10, "there is room")
        metric = curl(self.node.url + "/metrics").body.decode()
        self.assertNotIn("\nconfman_quota_refused_total 0\n", metric)


class OtherTest(Maintenance):
    def test_defragment(self):
        self.api.Defragment(pb.DefragmentRequest(), timeout=20)
        self.assertIn("Finished defragmenting", self.ctl("defrag"))

    def test_hash(self):
        before = self.api.Hash(pb.HashRequest())
        self.assertEqual(self.api.Hash(pb.HashRequest()).hash, before.hash)
        self.put(b"k")
        after = self.api.Hash(pb.HashRequest())
        self.assertNotEqual(after.hash, before.hash)
        self.assertEqual(after.header.revision, before.header.revision + 1)

    @confman_only
    def test_many_hashes(self):
        """Of more than one step's keys: each is made, one more than may wait is refused."""
        for i in range(0, 30000, 100):
            self.api.Txn(pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(
                key=b"hash/%d" % (i + j), value=b"v")) for j in range(100)]))
        revision = self.api.Put(pb.PutRequest(key=b"hash/last", value=b"v")).header.revision
        calls = [self.api.HashKV.future(pb.HashKVRequest(revision=revision), timeout=60)
                 for _ in range(200)]
        self.put(b"hash/while")
        codes = [call.code() for call in calls]
        self.assertEqual(set(codes), {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED})
        made = {call.result().hash for call, code in zip(calls, codes)
                if code == grpc.StatusCode.OK}
        self.assertEqual(len(made), 1)
        self.api.Compact(pb.CompactionRequest(revision=revision, physical=True), timeout=20)
        metrics = curl(self.node.url + "/metrics").body.decode()
        self.assertIn("\nconfman_hashes_refused_total %d\n"
                      % codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED), metrics)

    @confman_only
    def test_downgrade(self):
        for version, code, text in (
                ("", "INVALID_ARGUMENT", "etcdserver: wrong downgrade target version format"),
                ("x", "INVALID_ARGUMENT", "etcdserver: wrong downgrade target version format"),
                ("3.5", "INVALID_ARGUMENT", "etcdserver: invalid downgrade target version")):
            for action in (0, 1):
                self.assertEqual(self.refused(self.api.Downgrade, pb.DowngradeRequest(
                    action=action, version=version)), (code, text))
        cancel = self.api.Downgrade(pb.DowngradeRequest(action=2))
        self.assertEqual(cancel.version, "3.6")

    @confman_only
    def test_status(self):
        status = self.api.Status(pb.StatusRequest())
        self.assertEqual(status.storageVersion, "3.6.0")
        self.assertTrue(status.HasField("downgradeInfo"))
        self.assertFalse(status.downgradeInfo.enabled)
        self.assertGreater(status.dbSizeQuota, status.dbSize)
        self.assertIn("3.6", self.ctl("endpoint", "status"))

    def test_move_leader_needs_another_member(self):
        done = subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, "move-leader", "1"],
                              env=dict(os.environ, ETCDCTL_API="3"), capture_output=True,
                              text=True, timeout=30)
        self.assertNotEqual(done.returncode, 0)


@confman_only
class LevelTest(Maintenance):
    """The level is held, and rises when it is not; a checkpoint keeps it."""
    args = ("--hold-level", "3")

    def level(self):
        return curl(self.node.url + "/v1/cluster").json["level"]

    def restart(self, *args):
        self.node.stop()
        self.node.args = list(args)
        self.node.start()

    def test_level(self):
        self.assertIsNone(self.put(b"k"))       # it leads, and has done so for a turn
        self.restart("--hold-level", "3")
        self.assertEqual(self.level(), 3)
        self.restart()
        wait_until(lambda: self.level() > 3, 10, "the level rises")
        newest = self.level()
        self.restart("--hold-level", "3")
        self.assertEqual(self.level(), newest)  # never down
        self.assertIn(b"confman_level %d\n" % newest, curl(self.node.url + "/metrics").body)


@confman_only
class FirstOfThreeTest(unittest.TestCase):
    """One of several that has heard of no leader yet does not say that there is nothing."""

    def test_nothing_is_known(self):
        ports = [free_port() for _ in range(3)]
        node = Node(args=("--name", "a", "--listen-peers", "127.0.0.1:%d" % ports[0],
                          "--initial-cluster", ",".join("%s=127.0.0.1:%d" % pair
                                                        for pair in zip("abc", ports))))
        self.addCleanup(node.close)
        node.ready = lambda: lives(node)
        node.start()
        api = Api(node.endpoint)
        self.addCleanup(api.close)
        with self.assertRaises(grpc.RpcError) as refused:
            api.Range(pb.RangeRequest(key=b"k", serializable=True), timeout=10)
        self.assertEqual(refused.exception.details(), "etcdserver: unhealthy cluster")
        for path in ("/v1/config/k", "/v1/config", "/v1/flags", "/v1/watch?prefix=k"):
            self.assertEqual(curl(node.url + path).status, 503, path)


@confman_only
class RangeStreamTest(Maintenance):
    args = ("--range-streams-max", "3")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        calls = [cls.api.Put.future(pb.PutRequest(key=b"p/%05d" % i, value=VALUE))
                 for i in range(3000)]
        cls.revision = max(c.result(30).header.revision for c in calls)
        for c in [cls.api.Put.future(pb.PutRequest(key=b"p/%05d" % i, value=b"new"))
                  for i in range(0, 3000, 2)]:
            c.result(30)

    def stream(self, request):
        """All pieces; header, more and count are the last one's alone."""
        pieces = [p.range_response for p in self.api.RangeStream(request, timeout=30)]
        for p in pieces[:-1]:
            self.assertFalse(p.HasField("header") or p.more or p.count)
        return pieces

    def test_merged_it_is_the_range(self):
        end = prefix_end(b"p/")
        for fields in (dict(), dict(limit=10), dict(limit=1500), dict(limit=3000),
                       dict(revision=self.revision), dict(revision=self.revision, limit=7),
                       dict(revision=1000), dict(keys_only=True), dict(count_only=True),
                       dict(count_only=True, revision=1000), dict(serializable=True),
                       dict(sort_order=1), dict(key=b"p/00001", range_end=b""),
                       dict(key=b"none", range_end=b""), dict(range_end=b"\0"),
                       dict(key=b"x", range_end=b"y"), dict(limit=5000)):
            request = pb.RangeRequest(**dict(dict(key=b"p/", range_end=end), **fields))
            merged = pb.RangeResponse()
            pieces = self.stream(request)
            for p in pieces:
                merged.MergeFrom(p)
            whole = self.api.Range(request)
            self.assertEqual(merged.header.revision,
                             fields.get("revision", whole.header.revision), fields)
            for m in (merged, whole):
                m.header.revision = 0
            self.assertEqual(merged, whole, fields)
            if not fields:
                self.assertGreater(len(pieces), 3)

    def test_refusals(self):
        stream = lambda r: list(self.api.RangeStream(r, timeout=30))
        for fields, code, text in (
                (dict(key=b""), "INVALID_ARGUMENT", "etcdserver: key is not provided"),
                (dict(sort_order=2), "UNIMPLEMENTED",
                 "RangeStream does not support custom sort orders"),
                (dict(sort_order=1, sort_target=1), "UNIMPLEMENTED",
                 "RangeStream does not support custom sort orders"),
                (dict(min_mod_revision=1), "UNIMPLEMENTED",
                 "RangeStream does not support revision filters"),
                (dict(revision=1 << 40), "OUT_OF_RANGE",
                 "etcdserver: mvcc: required revision is a future revision")):
            request = pb.RangeRequest(**dict(dict(key=b"p/", range_end=b"q"), **fields))
            try:
                stream(request)
                self.fail("taken: %s" % request)
            except grpc.RpcError as e:
                self.assertEqual((e.code().name, e.details()), (code, text))

    def test_one_revision_a_bound_and_compaction(self):
        """Streams whose reader waits: they hold their revision, not the history; only so many."""
        big = [self.api.Put.future(pb.PutRequest(key=b"s/%05d" % i, value=b"v" * 100000))
               for i in range(200)]
        for b in big:
            b.result(30)
        # A window of 64 KiB: no more than that goes out until somebody reads.
        options = [("grpc.http2.lookahead_bytes", 65536), ("grpc.http2.bdp_probe", 0)]
        slow = Api(self.node.endpoint, options)
        self.addCleanup(slow.close)
        request = pb.RangeRequest(key=b"s/", range_end=b"t")
        streams = [slow.RangeStream(request, timeout=60) for _ in range(3)]
        firsts = [next(s).range_response for s in streams]
        self.assertTrue(all(len(f.kvs) < 10 for f in firsts))
        with self.assertRaises(grpc.RpcError) as e:
            list(self.api.RangeStream(request, timeout=30))
        self.assertEqual(e.exception.details(), "etcdserver: too many requests")
        deleted = self.api.DeleteRange(pb.DeleteRangeRequest(key=b"s/", range_end=b"t"))
        rest = [kv for p in streams[0] for kv in p.range_response.kvs]
        self.assertEqual(len(firsts[0].kvs) + len(rest), 200)
        self.api.Compact(pb.CompactionRequest(revision=deleted.header.revision, physical=True))
        with self.assertRaises(grpc.RpcError) as e:
            list(streams[1])
        self.assertEqual((e.exception.code().name, e.exception.details()),
                         ("OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"))
        streams[2].cancel()
        wait_until(lambda: self.refused(lambda r, timeout: list(self.api.RangeStream(r)), request)
                   is None, 10, "there is a place again")


if __name__ == "__main__":
    main()
