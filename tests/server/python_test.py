"""python3-etcd3, and bare gRPC where that client has no words for what is to be asked."""
import queue
import threading

import etcd3
import grpc

from node import ServerTest, confman_only, main, wait_until


class Python(ServerTest):
    """One client a class; it is not closed, for its watching thread does not survive that."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = etcd3.client(host="127.0.0.1", port=cls.node.port, timeout=10)
        cls.watchstub = etcd3.etcdrpc.WatchStub(cls.client.channel)

    def values(self, prefix):
        return [v for v, _ in self.client.get_prefix(prefix)]

    def refusal(self, method, request):
        """(code, text) of a call that must be refused; methods of python3-etcd3's own stubs."""
        with self.assertRaises(grpc.RpcError) as e:
            method(request, timeout=10)
        return e.exception.code().name, e.exception.details()


class PythonTest(Python):
    def test_put_get(self):
        k = self.name("k")
        self.assertEqual(self.client.get(k), (None, None))
        self.client.put(k, b"\x00\xff")
        value, meta = self.client.get(k)
        self.assertEqual((value, meta.key, meta.version), (b"\x00\xff", k.encode(), 1))
        self.assertEqual(meta.create_revision, meta.mod_revision)
        answer = self.client.put(k, "new", prev_kv=True)
        self.assertEqual(answer.prev_kv.value, b"\x00\xff")
        self.assertEqual(answer.header.revision, meta.mod_revision + 1)
        self.assertFalse(self.client.put_if_not_exists(k, "again"))
        self.assertTrue(self.client.replace(k, "new", "newer"))
        self.assertFalse(self.client.replace(k, "new", "newest"))

    def test_ranges(self):
        p = self.name()
        for k, v in (("a", "3"), ("b", "1"), ("c", "2")):
            self.client.put(p + k, v)
        self.assertEqual(self.values(p), [b"3", b"1", b"2"])
        self.assertEqual([v for v, _ in self.client.get_prefix(p, sort_order="descend")],
                         [b"2", b"1", b"3"])
        self.assertEqual([v for v, _ in self.client.get_prefix(
            p, sort_order="ascend", sort_target="value")], [b"1", b"2", b"3"])
        self.assertEqual([v for v, _ in self.client.get_range(p + "a", p + "c")], [b"3", b"1"])
        self.assertEqual([v for v, _ in self.client.get_prefix(p, keys_only=True)], [b""] * 3)
        self.assertGreaterEqual(len(list(self.client.get_all())), 3)
        self.assertTrue(self.client.delete(p + "a"))
        self.assertFalse(self.client.delete(p + "a"))
        self.assertEqual(self.client.delete_prefix(p).deleted, 2)

    def test_transaction(self):
        k, t = self.name("k"), self.client.transactions
        create = dict(compare=[t.version(k) == 0], success=[t.put(k, "1"), t.get(k)],
                      failure=[t.get(k), t.delete(k)])
        done, answers = self.client.transaction(**create)
        self.assertEqual((done, answers[1][0][0]), (True, b"1"))
        done, answers = self.client.transaction(**create)
        self.assertEqual((done, answers[0][0][0]), (False, b"1"))
        self.assertEqual(self.client.get(k)[0], None)
        nested = t.txn(compare=[t.version(k) == 0], success=[t.put(k, "in")], failure=[])
        self.assertTrue(self.client.transaction(compare=[], success=[nested], failure=[])[0])
        self.assertEqual(self.client.get(k)[0], b"in")
        done, _ = self.client.transaction(compare=[t.value(k) == "in", t.mod(k) > 1,
                                                   t.create(k) > 1], success=[], failure=[])
        self.assertTrue(done)

    def test_one_revision_for_a_transaction(self):
        p, t = self.name(), self.client.transactions
        self.client.transaction(compare=[], success=[t.put(p + c, c) for c in "abc"], failure=[])
        revisions = {meta.mod_revision for _, meta in self.client.get_prefix(p)}
        self.assertEqual(len(revisions), 1)

    def test_watch(self):
        k = self.name("k")
        events, cancel = self.client.watch_prefix(self.name())
        self.addCleanup(cancel)
        writer = threading.Thread(target=lambda: [self.client.put(k, "1"), self.client.put(k, "2"),
                                                  self.client.delete(k)])
        writer.start()
        kinds = [(type(e).__name__, e.value) for _, e in zip(range(3), events)]
        writer.join()
        self.assertEqual(kinds, [("PutEvent", b"1"), ("PutEvent", b"2"), ("DeleteEvent", b"")])

    def test_watch_callback(self):
        k, heard = self.name("k"), queue.Queue()
        start = self.client.put(k, "0").header.revision
        watch = self.client.add_watch_callback(k, heard.put, start_revision=start, prev_kv=True)
        self.client.put(k, "1")
        events = []
        while len(events) < 2:
            events += heard.get(timeout=10).events
        self.assertEqual([(e.value, e.prev_value) for e in events], [(b"0", b""), (b"1", b"0")])
        self.client.cancel_watch(watch)

    def test_watch_filters(self):
        k, rpc = self.name("k").encode(), etcd3.etcdrpc
        start = self.client.put(k, "0").header.revision
        self.client.delete(k)
        create = rpc.WatchCreateRequest(key=k, start_revision=start, filters=[0])
        requests = queue.SimpleQueue()
        requests.put(rpc.WatchRequest(create_request=create))
        call = self.watchstub.Watch(iter(requests.get, None), timeout=10)
        self.assertTrue(next(call).created)
        self.assertEqual([e.type for e in next(call).events], [1])
        call.cancel()
        requests.put(None)

    def test_many_watches_one_stream(self):
        p, heard = self.name(), queue.Queue()
        ids = [self.client.add_watch_callback("%s%03d" % (p, i), heard.put) for i in range(300)]
        self.assertEqual(len(set(ids)), 300)
        for i in range(300):
            self.client.put("%s%03d" % (p, i), str(i))
        keys = set()
        while len(keys) < 300:
            keys |= {e.key for e in heard.get(timeout=10).events}
        for i in ids:
            self.client.cancel_watch(i)

    def test_lease(self):
        k = self.name("k")
        lease = self.client.lease(60)
        self.client.put(k, "v", lease=lease)
        self.assertEqual((lease.granted_ttl, lease.keys), (60, [k.encode()]))
        self.assertIn(lease.remaining_ttl, (58, 59, 60))
        self.assertEqual(lease.refresh()[0].TTL, 60)
        lease.revoke()
        self.assertEqual(self.client.get(k)[0], None)
        self.assertEqual(self.client.get_lease_info(lease.id).TTL, -1)
        self.assertEqual(lease.refresh()[0].TTL, 0)
        chosen = self.client.lease(60, lease_id=4711)
        self.assertEqual(chosen.id, 4711)
        with self.assertRaises(etcd3.exceptions.PreconditionFailedError):
            self.client.lease(60, lease_id=4711)

    def test_lease_expires_in_one_revision(self):
        p = self.name()
        lease = self.client.lease(2)
        for c in "cab":
            self.client.put(p + c, c, lease=lease)
        start = self.client.get(p + "b")[1].mod_revision + 1
        heard = queue.Queue()
        self.client.add_watch_prefix_callback(p, heard.put, start_revision=start)
        events = heard.get(timeout=10).events
        self.assertEqual([e.key for e in events], [(p + c).encode() for c in "abc"])
        self.assertEqual(len({e.mod_revision for e in events}), 1)
        self.assertEqual(self.values(p), [])

    def test_lock(self):
        """Without a rival: waiting for one is broken in this client (see npm and etcdctl)."""
        for _ in range(2):
            lock = self.client.lock(self.name("lock"), ttl=10)
            self.assertTrue(lock.acquire(timeout=5))
            self.assertTrue(lock.is_acquired())
            self.assertEqual(lock.refresh()[0].TTL, 10)
            self.assertTrue(lock.release())
            self.assertFalse(lock.is_acquired())

    def test_status_members(self):
        status = self.client.status()
        self.assertRegex(status.version, r"^3\.\d+\.\d+$")
        self.assertGreater(status.raft_term, 0)
        members = list(self.client.members)
        self.assertEqual([m.id for m in members], [status.leader.id])

    def test_refusals(self):
        rpc = etcd3.etcdrpc
        kv, lease = self.client.kvstub, self.client.leasestub
        get = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))
        put = rpc.RequestOp(request_put=rpc.PutRequest(key=b"k"))
        for method, request, code, text in (
                (kv.Put, rpc.PutRequest(), "INVALID_ARGUMENT", "key is not provided"),
                (kv.Put, rpc.PutRequest(key=b"k", value=b"v", ignore_value=True),
                 "INVALID_ARGUMENT", "value is provided"),
                (kv.Put, rpc.PutRequest(key=b"k", lease=5, ignore_lease=True),
                 "INVALID_ARGUMENT", "lease is provided"),
                (kv.Put, rpc.PutRequest(key=b"none", ignore_value=True), "INVALID_ARGUMENT",
                 "key not found"),
                (kv.Put, rpc.PutRequest(key=b"k", value=bytes(1_600_000)), "INVALID_ARGUMENT",
                 "request is too large"),
                (kv.Txn, rpc.TxnRequest(success=[get] * 129), "INVALID_ARGUMENT",
                 "too many operations in txn request"),
                (kv.Txn, rpc.TxnRequest(success=[put, put]), "INVALID_ARGUMENT",
                 "duplicate key given in txn request"),
                (kv.Range, rpc.RangeRequest(key=b"k", revision=1 << 40), "OUT_OF_RANGE",
                 "mvcc: required revision is a future revision"),
                (kv.Compact, rpc.CompactionRequest(revision=1 << 40), "OUT_OF_RANGE",
                 "mvcc: required revision is a future revision"),
                (lease.LeaseGrant, rpc.LeaseGrantRequest(TTL=9_000_000_001), "OUT_OF_RANGE",
                 "too large lease TTL"),
                (lease.LeaseRevoke, rpc.LeaseRevokeRequest(ID=12345), "NOT_FOUND",
                 "requested lease not found")):
            self.assertEqual(self.refusal(method, request), (code, "etcdserver: " + text))

    @confman_only
    def test_later_refusals(self):
        """Where later etcds are stricter than Debian's 3.4."""
        rpc, kv = etcd3.etcdrpc, self.client.kvstub
        invalid = "INVALID_ARGUMENT", "etcdserver: invalid sort option"
        for field in ("sort_order", "sort_target"):
            request = rpc.RangeRequest(key=b"a", range_end=b"b")
            setattr(request, field, 9)
            self.assertEqual(self.refusal(kv.Range, request), invalid)

    def test_unknown_methods(self):
        for path in ("/etcdserverpb.KV/Nothing", "/no.Such/Service"):
            call = self.client.channel.unary_unary(path)
            with self.assertRaises(grpc.RpcError) as e:
                call(b"", timeout=10)
            self.assertEqual(e.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    @confman_only
    def test_malformed_messages(self):
        for message in (b"\xff", b"\x0a\x05ab", b"\x08", b"\xff" * 11):
            call = self.client.channel.unary_unary("/etcdserverpb.KV/Range")
            with self.assertRaises(grpc.RpcError) as e:
                call(message, timeout=10)
            self.assertEqual(e.exception.code(), grpc.StatusCode.INTERNAL)

    def test_deadline(self):
        """A call whose deadline has passed is ended, and the connection stays good."""
        never = self.watchstub.Watch(iter([]), timeout=0.3)
        with self.assertRaises(grpc.RpcError) as e:
            wait_until(lambda: list(never), 5, "the stream ends")
            raise e.exception
        self.client.put(self.name("k"), "v")

    def test_health(self):
        call = self.client.channel.unary_unary("/grpc.health.v1.Health/Check")
        self.assertEqual(call(b"", timeout=10), b"\x08\x01")      # status: SERVING

    def test_large_values(self):
        p = self.name()
        big = bytes(range(256)) * 4096
        for i in range(3):
            self.client.put(p + str(i), big)
        self.assertEqual(self.values(p), [big] * 3)


class CompactTest(Python):
    def test_compact(self):
        k = self.name("k")
        revisions = [self.client.put(k, str(i)).header.revision for i in range(5)]
        self.client.compact(revisions[3])
        rpc, kv = etcd3.etcdrpc, self.client.kvstub
        gone = "OUT_OF_RANGE", "etcdserver: mvcc: required revision has been compacted"
        old = rpc.RangeRequest(key=k.encode(), revision=revisions[2])
        self.assertEqual(self.refusal(kv.Range, old), gone)
        self.assertEqual(self.refusal(kv.Compact, rpc.CompactionRequest(revision=revisions[3])),
                         gone)
        old.revision = revisions[3]
        self.assertEqual(kv.Range(old).kvs[0].value, b"3")
        events, cancel = self.client.watch(k, start_revision=revisions[1])
        with self.assertRaises(etcd3.exceptions.RevisionCompactedError) as e:
            next(events)
        self.assertEqual(e.exception.compacted_revision, revisions[3])
        cancel()
        self.client.compact(revisions[4], physical=True)


class RestartTest(Python):
    def test_restart(self):
        """What was written is there after a clean stop, revisions, versions and leases included."""
        k = self.name("k")
        lease = self.client.lease(300)
        for i in range(3):
            self.client.put(k, str(i), lease=lease)
        before = self.client.get(k)[1]
        self.node.stop()
        self.node.start()
        value, after = wait_until(lambda: self.again(k), 20, "the client is connected again")
        self.assertEqual(value, b"2")
        for field in ("create_revision", "mod_revision", "version", "lease_id"):
            self.assertEqual(getattr(after, field), getattr(before, field))
        self.assertEqual(self.client.get_lease_info(lease.id).grantedTTL, 300)
        self.assertEqual(self.client.put(k, "3").header.revision, before.mod_revision + 1)

    def again(self, k):
        try:
            return self.client.get(k)
        except etcd3.exceptions.ConnectionFailedError:
            return None


if __name__ == "__main__":
    main()
