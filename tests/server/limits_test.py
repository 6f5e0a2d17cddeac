"""What prefixes and users may use, and the metrics under etcd's names."""
import json
import os
import re
import subprocess
import unittest
import urllib.parse

from node import Node, ServerTest, confman_bin, main, target
from web import curl

# What etcd's own dashboards and alert rules read (its contrib/mixin), and what else is widely read.
ETCD_METRICS = """
etcd_server_has_leader etcd_server_leader_changes_seen_total etcd_server_proposals_committed_total
etcd_server_proposals_applied_total etcd_server_proposals_pending etcd_server_proposals_failed_total
etcd_server_quota_backend_bytes etcd_mvcc_db_total_size_in_bytes
etcd_mvcc_db_total_size_in_use_in_bytes etcd_disk_wal_fsync_duration_seconds
etcd_disk_backend_commit_duration_seconds etcd_network_client_grpc_sent_bytes_total
etcd_network_client_grpc_received_bytes_total etcd_network_peer_sent_bytes_total
etcd_network_peer_received_bytes_total etcd_network_peer_sent_failures_total
etcd_network_peer_round_trip_time_seconds grpc_server_started_total grpc_server_handled_total
grpc_server_msg_sent_total grpc_server_msg_received_total process_resident_memory_bytes
process_cpu_seconds_total process_open_fds process_max_fds process_start_time_seconds
etcd_mvcc_put_total etcd_mvcc_delete_total etcd_mvcc_range_total etcd_mvcc_txn_total
etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_watcher_total
etcd_debugging_mvcc_watch_stream_total etcd_debugging_mvcc_slow_watcher_total
etcd_debugging_mvcc_events_total etcd_debugging_mvcc_pending_events_total
etcd_debugging_mvcc_current_revision etcd_debugging_mvcc_compact_revision
etcd_debugging_lease_granted_total etcd_debugging_lease_revoked_total
etcd_debugging_lease_renewed_total etcd_server_is_leader etcd_server_is_learner etcd_server_id
etcd_server_version etcd_server_client_requests_total etcd_server_slow_apply_total
etcd_server_slow_read_indexes_total etcd_server_read_indexes_failed_total
etcd_server_heartbeat_send_failures_total etcd_server_health_success etcd_server_health_failures
etcd_server_request_duration_seconds etcd_cluster_version os_fd_used os_fd_limit
grpc_server_handling_seconds
""".split()
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")


def samples(url):
    """{(name, labels): value}"""
    text = curl(url + "/metrics").body.decode()
    lines = (SAMPLE.match(line) for line in text.splitlines() if line and line[0] != "#")
    return {(m[1], m[2] or ""): float(m[3]) for m in lines}


def etcdctl(node, *args):
    return subprocess.run(["etcdctl", "--endpoints", node.endpoint, *args], text=True, timeout=30,
                          env=dict(os.environ, ETCDCTL_API="3"), capture_output=True)


def cli(node, *args):
    return subprocess.run([confman_bin(), *args, "--endpoint", node.endpoint], text=True,
                          capture_output=True, timeout=30)


@unittest.skipIf(target() != "confman", "etcd has no quotas of prefixes")
class QuotaTest(ServerTest):
    def cli(self, *args, code=0):
        done = cli(self.node, *args)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def quota(self, *args):
        self.cli("quota", "set", "prefix", self.name(), *args)
        self.addCleanup(self.cli, "quota", "delete", "prefix", self.name())

    def listed(self, name):
        quotas = json.loads(self.cli("quota", "list", "--output", "json"))["quotas"]
        return next((q for q in quotas if name in (q.get("prefix"), q.get("user"))), None)

    def put(self, rest, value="v"):
        return etcdctl(self.node, "put", self.name(rest), value)

    def test_keys(self):
        self.assertEqual(self.put("before").returncode, 0)
        self.quota("--max-keys", "2")
        self.assertEqual(self.put("a").returncode, 0)
        refused = self.put("b")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("code = ResourceExhausted desc = the quota of a prefix", refused.stderr)
        self.assertEqual(self.put("a", "again").returncode, 0)
        self.assertEqual(etcdctl(self.node, "put", "beside", "v").returncode, 0)
        self.assertEqual(etcdctl(self.node, "del", self.name("a")).stdout, "1\n")
        self.assertEqual(self.put("b").returncode, 0)
        self.assertEqual(self.listed(self.name())["keys"], 2)

    def test_bytes(self):
        size = len(self.name("a"))
        self.quota("--max-bytes", str(size + 10))
        self.assertEqual(self.put("a", "0123456789").returncode, 0)
        self.assertNotEqual(self.put("a", "0123456789x").returncode, 0)
        self.assertEqual(self.put("a", "short").returncode, 0)
        self.assertEqual(self.listed(self.name())["bytes"], size + 5)

    def test_transaction(self):
        self.quota("--max-keys", "1")
        self.assertEqual(self.put("a").returncode, 0)
        swap = 'version("%s") > "0"\n\ndel %s\nput %s v\n\n\n' % (
            self.name("a"), self.name("a"), self.name("b"))
        done = subprocess.run([confman_bin(), "txn", "--endpoint", self.node.endpoint], text=True,
                              input=swap, capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.listed(self.name())["keys"], 1)

    def test_kept_over_a_restart(self):
        with Node() as node:
            node.stop()
            node.start()
            done = cli(node, "quota", "set", "prefix", "k", "--max-keys", "1")
            self.assertEqual(done.returncode, 0)
            self.assertEqual(cli(node, "put", "k1", "v").returncode, 0)
            node.kill()
            node.start()    # from the log
            self.assertEqual(cli(node, "put", "k2", "v").returncode, 1)
            node.stop()
            node.start()    # from a checkpoint
            self.assertEqual(cli(node, "put", "k2", "v").returncode, 1)
            self.assertEqual(cli(node, "quota", "delete", "prefix", "k").returncode, 0)
            self.assertEqual(cli(node, "put", "k2", "v").returncode, 0)

    def test_rest(self):
        url = self.node.url + "/v1/quotas"
        path = url + "/prefix/" + urllib.parse.quote(self.name("\u00fc %"), safe="")
        answer = curl(path, "-X", "PUT", body=b'{"max_keys": 7}')
        self.assertEqual((answer.status, answer.json["max_keys"]), (200, 7), answer.body)
        self.assertEqual(self.listed(self.name("\u00fc %"))["max_keys"], 7)
        for body in (b"{}", b"7", b'{"max_keys": -1}', b'{"max_keys": 1.5}', b'{"keys": 1}', b"x",
                     b'{"max_keys": 1, "burst": 3}', b'{"max_keys": 99999999999999999}'):
            self.assertEqual(curl(path, "-X", "PUT", body=body).status, 400, body)
        self.assertEqual(curl(url + "/user/x", "-X", "PUT", body=b'{"max_keys": 1}').status, 400)
        self.assertEqual(curl(url + "/prefix/" + "x" * 1025, "-X", "DELETE").status, 400)
        self.assertEqual(curl(path, "-X", "DELETE").status, 200)
        self.assertEqual(curl(path, "-X", "DELETE").json["code"], "limit_not_found")
        self.assertEqual(curl(path).status, 405)

    def test_words(self):
        for words in (("set",), ("set", "prefix"), ("set", "thing", "x"), ("drop", "prefix", "x"),
                      ("list", "prefix")):
            self.cli("quota", *words, code=2)
        said = self.cli("quota", "set", "prefix", "x", code=1)
        self.assertIn("a quota bounds something", said)


class MetricsTest(ServerTest):
    args = ("--metrics", "extensive")

    def change(self, before, name, labels=""):
        return samples(self.node.url).get((name, labels), 0) - before.get((name, labels), 0)

    @unittest.skipIf(target() != "confman", "3.4 lacks some")
    def test_names(self):
        self.assertEqual(etcdctl(self.node, "put", self.name(), "v").returncode, 0)
        text = curl(self.node.url + "/metrics").body.decode()
        served = set(re.findall(r"^# TYPE (\w+) ", text, re.M))
        self.assertEqual([name for name in ETCD_METRICS if name not in served], [])

    def test_values(self):
        before = samples(self.node.url)
        etcdctl(self.node, "put", self.name("a"), "v")
        etcdctl(self.node, "get", self.name("a"))
        subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, "txn"], text=True,
                       input="\nput %s 1\nput %s 2\nget %s\n\n\n" % (
                           self.name("b"), self.name("c"), self.name("b")),
                       env=dict(os.environ, ETCDCTL_API="3"), capture_output=True, timeout=30)
        etcdctl(self.node, "del", self.name("a"))
        for name, n in (("put", 3), ("range", 2), ("delete", 1), ("txn", 1)):
            self.assertEqual(self.change(before, "etcd_mvcc_%s_total" % name), n, name)
        put = 'grpc_type="unary",grpc_service="etcdserverpb.KV",grpc_method="Put"'
        if target() == "confman":   # etcd sorts the labels by name
            self.assertEqual(self.change(before, "grpc_server_started_total", put), 1)
            self.assertEqual(self.change(before, "grpc_server_msg_received_total", put), 1)
            self.assertEqual(self.change(before, "grpc_server_msg_sent_total", put), 1)
            self.assertEqual(self.change(before, "grpc_server_handled_total",
                                         put + ',grpc_code="OK"'), 1)
            self.assertEqual(self.change(before, "grpc_server_handling_seconds_count", put), 1)

    @unittest.skipIf(target() != "confman", "the parameter is ours")
    def test_basic(self):
        with Node() as node:
            self.assertNotIn(b"grpc_server_handling_seconds", curl(node.url + "/metrics").body)


if __name__ == "__main__":
    main()
