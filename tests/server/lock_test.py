"""Lock and Election: by the server, beside the same recipes of clients (etcdctl lock and elect)."""
import base64
import json
import os
import queue
import subprocess
import threading

import grpc

from etcd_api import Api, pb, prefix_end
from node import Node, ServerTest, confman_only, main, wait_until
from web import curl

SECONDS = 20


class Locks(ServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.api = Api(cls.node.endpoint)

    @classmethod
    def tearDownClass(cls):
        cls.api.close()
        super().tearDownClass()

    def lease(self, ttl=600):
        return self.api.LeaseGrant(pb.LeaseGrantRequest(TTL=ttl), timeout=SECONDS).ID

    def keys(self, name):
        found = self.api.Range(pb.RangeRequest(key=name + b"/", range_end=prefix_end(name + b"/"),
                                               sort_target=2), timeout=SECONDS)
        return [kv.key for kv in found.kvs]

    def begin(self, method, request):
        """A call that waits, once its key is there."""
        before = len(self.keys(request.name))
        call = getattr(self.api, method).future(request, timeout=60)
        wait_until(lambda: call.done() or len(self.keys(request.name)) == before + 1, SECONDS,
                   "it stands in the line")
        return call

    def refused(self, call, request):
        try:
            call(request, timeout=SECONDS)
            return None
        except grpc.RpcError as e:
            return e.code().name, e.details()


class LockTest(Locks):
    def test_one_after_the_other(self):
        name = self.name("lock").encode()
        leases = [self.lease() for _ in range(4)]
        calls = [self.begin("Lock", pb.LockRequest(name=name, lease=lease)) for lease in leases]
        for i, lease in enumerate(leases):
            answer = calls[i].result(SECONDS)
            self.assertEqual(answer.key, name + b"/%x" % lease)
            self.assertFalse(any(c.done() for c in calls[i + 1:]))
            self.assertEqual(self.keys(name)[0], answer.key)
            unlocked = self.api.Unlock(pb.UnlockRequest(key=answer.key), timeout=SECONDS)
            self.assertGreater(unlocked.header.revision, answer.header.revision)
        self.assertEqual(self.keys(name), [])

    def test_again_with_the_same_lease(self):
        name, lease = self.name("lock").encode(), self.lease()
        first = self.api.Lock(pb.LockRequest(name=name, lease=lease), timeout=SECONDS)
        again = self.api.Lock(pb.LockRequest(name=name, lease=lease), timeout=SECONDS)
        self.assertEqual(first.key, again.key)

    def test_without_a_lease_it_has_60_seconds(self):
        name = self.name("lock").encode()
        answer = self.api.Lock(pb.LockRequest(name=name), timeout=SECONDS)
        kv = self.api.Range(pb.RangeRequest(key=answer.key), timeout=SECONDS).kvs[0]
        self.assertEqual(answer.key, name + b"/%x" % kv.lease)
        left = self.api.LeaseTimeToLive(pb.LeaseTimeToLiveRequest(ID=kv.lease), timeout=SECONDS)
        self.assertEqual(left.grantedTTL, 60)

    def test_refusals(self):
        """By their texts: etcd gives them all the code UNKNOWN."""
        self.assertEqual(self.refused(self.api.Lock, pb.LockRequest(name=b"x", lease=12345))[1],
                         "etcdserver: requested lease not found")
        self.assertEqual(self.refused(self.api.Unlock, pb.UnlockRequest())[1],
                         "etcdserver: key is not provided")

    def test_who_goes_away_leaves_no_key(self):
        name = self.name("lock").encode()
        holder = self.api.Lock(pb.LockRequest(name=name, lease=self.lease()), timeout=SECONDS)
        gone = self.begin("Lock", pb.LockRequest(name=name, lease=self.lease()))
        with self.assertRaises(grpc.RpcError) as e:     # its time is up
            self.api.Lock(pb.LockRequest(name=name, lease=self.lease()), timeout=0.5)
        self.assertEqual(e.exception.code().name, "DEADLINE_EXCEEDED")
        last = self.begin("Lock", pb.LockRequest(name=name, lease=self.lease()))
        gone.cancel()
        wait_until(lambda: len(self.keys(name)) == 2, SECONDS, "both keys are gone")
        self.api.Unlock(pb.UnlockRequest(key=holder.key), timeout=SECONDS)
        self.assertEqual(self.keys(name), [last.result(SECONDS).key])

    def test_lease_of_the_holder_ends(self):
        name, lease = self.name("lock").encode(), self.lease()
        self.api.Lock(pb.LockRequest(name=name, lease=lease), timeout=SECONDS)
        waits = self.begin("Lock", pb.LockRequest(name=name, lease=self.lease()))
        self.api.LeaseRevoke(pb.LeaseRevokeRequest(ID=lease), timeout=SECONDS)
        waits.result(SECONDS)

    @confman_only
    def test_lease_of_who_waits_ends(self):
        """etcd notices only when it would have been its turn."""
        name, lease = self.name("lock").encode(), self.lease()
        self.api.Lock(pb.LockRequest(name=name, lease=self.lease()), timeout=SECONDS)
        waits = self.begin("Lock", pb.LockRequest(name=name, lease=lease))
        self.api.LeaseRevoke(pb.LeaseRevokeRequest(ID=lease), timeout=SECONDS)
        with self.assertRaises(grpc.RpcError) as e:
            waits.result(SECONDS)
        self.assertEqual((e.exception.code().name, e.exception.details()),
                         ("UNKNOWN", "mutex: session is expired"))

    def test_beside_etcdctl(self):
        name = self.name("lock")
        env = dict(os.environ, ETCDCTL_API="3")
        holder = subprocess.Popen(["etcdctl", "--endpoints", self.node.endpoint, "lock", name],
                                  env=env, stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.stdout.close)
        self.assertIn(name, holder.stdout.readline())
        waits = self.begin("Lock", pb.LockRequest(name=name.encode(), lease=self.lease()))
        self.assertFalse(waits.done())
        holder.terminate()
        key = waits.result(SECONDS).key
        holder.wait(SECONDS)
        other = subprocess.Popen(["etcdctl", "--endpoints", self.node.endpoint, "lock", name,
                                  "echo", "mine"], env=env, stdout=subprocess.PIPE, text=True)
        self.addCleanup(other.stdout.close)
        wait_until(lambda: len(self.keys(name.encode())) == 2, SECONDS, "etcdctl waits")
        self.api.Unlock(pb.UnlockRequest(key=key), timeout=SECONDS)
        self.assertEqual(other.stdout.read(), "mine\n")
        self.assertEqual(other.wait(SECONDS), 0)

    @confman_only
    def test_over_http_as_json(self):
        name = base64.b64encode(self.name("lock").encode()).decode()
        body = json.dumps({"name": name, "lease": str(self.lease())}).encode()
        answer = curl(self.node.url + "/v3/lock/lock", "-X", "POST", body=body)
        self.assertEqual(answer.status, 200)
        key = json.dumps({"key": answer.json["key"]}).encode()
        self.assertEqual(curl(self.node.url + "/v3/lock/unlock", "-X", "POST", body=key).status,
                         200)


class ElectionTest(Locks):
    def campaign(self, name, value, lease=None):
        return self.begin("Campaign", pb.CampaignRequest(name=name, value=value,
                                                         lease=lease or self.lease()))

    def test_campaign_proclaim_resign(self):
        name = self.name("e").encode()
        self.assertEqual(self.refused(self.api.Leader, pb.LeaderRequest(name=name)),
                         ("UNKNOWN", "election: no leader"))
        first = self.campaign(name, b"one").result(SECONDS).leader
        self.assertEqual((first.name, first.key), (name, name + b"/%x" % first.lease))
        second = self.campaign(name, b"two")
        leader = self.api.Leader(pb.LeaderRequest(name=name), timeout=SECONDS)
        self.assertEqual((leader.kv.value, leader.kv.create_revision), (b"one", first.rev))
        self.api.Proclaim(pb.ProclaimRequest(leader=first, value=b"uno"), timeout=SECONDS)
        leader = self.api.Leader(pb.LeaderRequest(name=name), timeout=SECONDS)
        self.assertEqual(leader.kv.value, b"uno")
        self.assertFalse(second.done())
        self.api.Resign(pb.ResignRequest(leader=first), timeout=SECONDS)
        second = second.result(SECONDS).leader
        leader = self.api.Leader(pb.LeaderRequest(name=name), timeout=SECONDS)
        self.assertEqual((leader.kv.value, leader.kv.key), (b"two", second.key))
        self.assertEqual(self.refused(self.api.Proclaim, pb.ProclaimRequest(
            leader=first, value=b"still me")), ("UNKNOWN", "election: not leader"))
        self.api.Resign(pb.ResignRequest(leader=first), timeout=SECONDS)    # harmless
        self.assertEqual(len(self.keys(name)), 1)

    def test_campaign_again_tells_the_new_value(self):
        name, lease = self.name("e").encode(), self.lease()
        first = self.campaign(name, b"one", lease).result(SECONDS).leader
        again = self.api.Campaign(pb.CampaignRequest(name=name, value=b"two", lease=lease),
                                  timeout=SECONDS).leader
        self.assertEqual((again.key, again.rev), (first.key, first.rev))
        self.assertEqual(self.api.Leader(pb.LeaderRequest(name=name)).kv.value, b"two")

    def test_nobody_is_named(self):
        text = ("UNKNOWN", '"leader" field must be provided')
        self.assertEqual(self.refused(self.api.Proclaim, pb.ProclaimRequest(value=b"v")), text)
        self.assertEqual(self.refused(self.api.Resign, pb.ResignRequest()), text)

    def test_observe(self):
        name = self.name("e").encode()
        seen = queue.Queue()
        stream = self.api.Observe(pb.LeaderRequest(name=name), timeout=60)

        def follow():
            try:
                for answer in stream:
                    seen.put(answer.kv.value)
            except grpc.RpcError:
                pass
        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        first = self.campaign(name, b"one").result(SECONDS).leader
        self.assertEqual(seen.get(timeout=SECONDS), b"one")
        second = self.campaign(name, b"two")
        for i in range(3):
            self.api.Proclaim(pb.ProclaimRequest(leader=first, value=b"%d" % i), timeout=SECONDS)
            self.assertEqual(seen.get(timeout=SECONDS), b"%d" % i)
        self.api.Resign(pb.ResignRequest(leader=first), timeout=SECONDS)
        self.assertEqual(seen.get(timeout=SECONDS), b"two")
        self.api.LeaseRevoke(pb.LeaseRevokeRequest(ID=second.result(SECONDS).leader.lease),
                             timeout=SECONDS)
        self.campaign(name, b"three").result(SECONDS)
        self.assertEqual(seen.get(timeout=SECONDS), b"three")
        stream.cancel()
        thread.join(SECONDS)

    def test_beside_etcdctl(self):
        name = self.name("e")
        env = dict(os.environ, ETCDCTL_API="3")
        leader = subprocess.Popen(["etcdctl", "--endpoints", self.node.endpoint, "elect", name,
                                   "ctl"], env=env, stdout=subprocess.PIPE, text=True)
        self.addCleanup(leader.stdout.close)
        self.assertIn(name, leader.stdout.readline())
        self.assertEqual(self.api.Leader(pb.LeaderRequest(name=name.encode())).kv.value, b"ctl")
        mine = self.campaign(name.encode(), b"mine")
        leader.terminate()
        mine.result(SECONDS)
        leader.wait(SECONDS)


@confman_only
class BoundTest(Locks):
    args = ("--lock-waiters-max", "3")

    def test_only_so_many_wait(self):
        name = self.name("lock").encode()
        held = self.api.Lock(pb.LockRequest(name=name, lease=self.lease()), timeout=SECONDS)
        waiting = [self.begin("Lock", pb.LockRequest(name=name, lease=self.lease()))
                   for _ in range(3)]
        self.assertEqual(self.refused(self.api.Lock, pb.LockRequest(name=name)),
                         ("RESOURCE_EXHAUSTED", "etcdserver: too many requests"))
        metrics = curl(self.node.url + "/metrics").body.decode()
        self.assertIn("\nconfman_lock_waiters 3\n", metrics)
        self.assertIn("\nconfman_locks_refused_total 1\n", metrics)
        waiting[0].cancel()
        wait_until(lambda: len(self.keys(name)) == 3, SECONDS, "there is a place again")
        self.api.Unlock(pb.UnlockRequest(key=held.key), timeout=SECONDS)
        waiting[1].result(SECONDS)

    def test_a_stop_ends_who_waits(self):
        node = Node()
        node.__enter__()
        api = Api(node.endpoint)
        api.Lock(pb.LockRequest(name=b"l"), timeout=SECONDS)
        call = api.Lock.future(pb.LockRequest(name=b"l"), timeout=60)
        stream = api.Observe(pb.LeaderRequest(name=b"e"), timeout=60)
        wait_until(lambda: b"\nconfman_lock_waiters 2\n" in curl(node.url + "/metrics").body,
                   SECONDS, "both wait")
        self.assertEqual(node.stop(), 0)
        with self.assertRaises(grpc.RpcError) as e:
            call.result(SECONDS)
        self.assertEqual(e.exception.details(), "etcdserver: server stopped")
        with self.assertRaises(grpc.RpcError):
            next(stream)
        api.close()
        node.close()


if __name__ == "__main__":
    main()
