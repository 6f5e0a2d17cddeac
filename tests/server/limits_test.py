"""What prefixes and users may use, what is refused under load, who changed what, and the metrics
under etcd's names."""
import collections
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import unittest
import urllib.parse

import grpc

from node import ROOT, Node, ServerTest, confman_bin, main, target, wait_until
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
JSON = ("-H", "content-type: application/json")
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
        answer = curl(path, "-X", "PUT", *JSON, body=b'{"max_keys": 7}')
        self.assertEqual((answer.status, answer.json["max_keys"]), (200, 7), answer.body)
        self.assertEqual(self.listed(self.name("\u00fc %"))["max_keys"], 7)
        for body in (b"{}", b"7", b'{"max_keys": -1}', b'{"max_keys": 1.5}', b'{"keys": 1}', b"x",
                     b'{"max_keys": 1, "burst": 3}', b'{"max_keys": 99999999999999999}'):
            self.assertEqual(curl(path, "-X", "PUT", *JSON, body=body).status, 400, body)
        user = curl(url + "/user/x", "-X", "PUT", *JSON, body=b'{"max_keys": 1}')
        self.assertEqual(user.status, 400)
        self.assertEqual(curl(url + "/prefix/" + "x" * 1025, "-X", "DELETE").status, 400)
        self.assertEqual(curl(path, "-X", "DELETE").status, 200)
        self.assertEqual(curl(path, "-X", "DELETE").json["code"], "limit_not_found")
        self.assertEqual(curl(path).status, 405)
        self.assertEqual(curl(path, "-X", "PUT", "-H", "content-type: text/plain",
                              body=b'{"max_keys": 7}').status, 415)

    def test_words(self):
        for words in (("set",), ("set", "prefix"), ("set", "thing", "x"), ("drop", "prefix", "x"),
                      ("list", "prefix")):
            self.cli("quota", *words, code=2)
        said = self.cli("quota", "set", "prefix", "x", code=1)
        self.assertIn("a quota bounds something", said)


@unittest.skipIf(target() != "confman", "etcd has no such limits")
class RateTest(ServerTest):
    def set(self, *words):
        done = cli(self.node, "quota", "set", *words)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.addCleanup(cli, self.node, "quota", "delete", *words[:2])

    def test_prefix(self):
        self.set("prefix", self.name(), "--rate", "1", "--burst", "2")
        codes = [etcdctl(self.node, "put", self.name("k"), "v") for _ in range(3)]
        self.assertEqual([c.returncode != 0 for c in codes], [False, False, True])
        self.assertIn("ResourceExhausted desc = etcdserver: too many requests", codes[2].stderr)
        self.assertEqual(etcdctl(self.node, "put", "beside/" + self.name(), "v").returncode, 0)
        wait_until(lambda: etcdctl(self.node, "get", self.name("k")).returncode == 0, 5, "a token")
        self.assertGreater(samples(self.node.url)["confman_requests_limited_total", ""], 0)

    def test_retry_after(self):
        self.set("prefix", "confman/config/default/" + self.name(), "--rate", "1")
        url = self.node.url + "/v1/config/" + self.name("k")
        curl(url)
        answer = curl(url)
        self.assertEqual((answer.status, answer.json["code"]), (429, "rate_limited"))
        self.assertEqual(answer.headers["retry-after"], "1")

    def test_pushback(self):
        self.set("prefix", self.name(), "--rate", "1")
        with grpc.insecure_channel(self.node.endpoint) as channel:
            put = channel.unary_unary("/etcdserverpb.KV/Put")
            key = self.name("k").encode()
            message = b"\x0a" + bytes([len(key)]) + key
            put(message)
            with self.assertRaises(grpc.RpcError) as refused:
                put(message)
        self.assertEqual(refused.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        later = dict(refused.exception.trailing_metadata())["grpc-retry-pushback-ms"]
        self.assertTrue(0 < int(later) <= 1000, later)

    def test_user(self):
        self.set("user", "", "--rate", "1")     # who is not known
        answers = [etcdctl(self.node, "get", "k").returncode for _ in range(3)]
        self.assertIn(1, answers)
        done = cli(self.node, "lease", "grant", "60")   # it may have to wait for a token
        self.assertEqual(etcdctl(self.node, "endpoint", "status").returncode, 0, done)


@unittest.skipIf(target() != "confman", "etcd has no such limits")
class LoadTest(unittest.TestCase):
    """Beyond a bound requests are refused; leases and health live on."""

    def test_pending(self):
        with Node(args=("--pending-max", "4")) as node, \
                grpc.insecure_channel(node.endpoint) as channel:
            lease = cli(node, "lease", "grant", "60").stdout.split()[1]
            put = channel.unary_unary("/etcdserverpb.KV/Put")
            codes = collections.Counter()
            for _ in range(20):
                calls = [put.future(b"\x0a\x01k") for _ in range(200)]
                for call in calls:
                    codes[call.code()] += 1
                self.assertEqual(cli(node, "lease", "keep-alive", lease, "--once").returncode, 0)
                self.assertEqual(curl(node.url + "/health").json["health"], "true")
                if len(codes) > 1:
                    break
            self.assertGreater(codes[grpc.StatusCode.OK], 0)
            self.assertGreater(codes[grpc.StatusCode.RESOURCE_EXHAUSTED], 0)
            self.assertEqual(len(codes), 2, codes)
            self.assertGreater(samples(node.url)["confman_requests_overloaded_total", ""], 0)
            self.assertEqual(cli(node, "lease", "revoke", lease).returncode, 0)

    def test_answers(self):
        with Node(args=("--answer-bytes-max", "20000000")) as node, \
                grpc.insecure_channel(node.endpoint, options=[
                    ("grpc.max_receive_message_length", -1)]) as channel:
            value = "x" * 1000000    # the system itself keeps some MB of what is sent
            for i in range(21):
                done = subprocess.run([confman_bin(), "put", "k%02d" % i, "--endpoint",
                                       node.endpoint], input=value, text=True, timeout=30,
                                      capture_output=True)
                self.assertEqual(done.returncode, 0, done.stderr)
            ask = channel.unary_unary("/etcdserverpb.KV/Range")
            some, all_ = b"\x0a\x02k0\x12\x02k1", b"\x0a\x02k0\x12\x02k9"
            self.assertGreater(len(ask(some)), 9500000)
            with self.assertRaises(grpc.RpcError) as refused:
                ask(all_)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn("in pages", refused.exception.details())
            # A caller that does not read holds its bytes until it goes.
            url = urllib.parse.urlsplit(node.url)
            lazy = socket.socket()
            self.addCleanup(lazy.close)
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            lazy.connect((url.hostname, url.port))
            body = json.dumps({"key": "azA=", "range_end": "azE="})
            lazy.sendall(("POST /v3/kv/range HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s"
                          % (url.netloc, len(body), body)).encode())
            held = lambda: samples(node.url)["confman_answer_bytes", ""]
            wait_until(lambda: held() > 9500000, 10, "an answer on its way")
            with self.assertRaises(grpc.RpcError) as refused:
                ask(some)
            self.assertIn("on their way", refused.exception.details())
            self.assertEqual(len(ask(b"\x0a\x01x")) > 0, True)     # small ones pass
            lazy.close()
            wait_until(lambda: held() == 0, 10, "its bytes are free")
            self.assertGreater(len(ask(some)), 9500000)
            self.assertEqual(samples(node.url)["confman_answers_refused_total", ""], 2)

    def test_many_who_do_not_read(self):
        """Each stream may hold watch-queue-bytes, all together queue-bytes-max and a message each;
        and whoever reads on misses nothing."""
        streams, value, puts = 30, "x" * 60000, 120   # the system itself keeps some MB of each
        with Node(args=("--queue-bytes-max", "4000000")) as node:
            url = urllib.parse.urlsplit(node.url)
            lazy = []
            for _ in range(streams):
                s = socket.socket()
                self.addCleanup(s.close)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                s.connect((url.hostname, url.port))
                s.sendall(("GET /v1/watch?environment=e&prefix=k HTTP/1.1\r\nHost: %s\r\n\r\n"
                           % url.netloc).encode())
                lazy.append(s)
            count = lambda: samples(node.url)["etcd_debugging_mvcc_watcher_total", ""]
            wait_until(lambda: count() == streams, 10, "all watch")
            client = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
            self.addCleanup(client.close)
            for i in range(puts):
                client.request("PUT", "/v1/config/k%03d?environment=e" % i,
                               json.dumps({"value": value}))
                answer = client.getresponse()
                self.assertIn(answer.status, (200, 201), answer.read())
                answer.read()
            held = samples(node.url)["confman_memory_bytes", ""]
            self.assertGreater(held, 4000000)
            self.assertLess(held, 4000000 + streams * 3 * len(value))
            lazy[0].settimeout(20)
            seen, names = b"", [b'"key":"k%03d"' % i for i in range(puts)]
            while names[-1] not in seen:
                seen += lazy[0].recv(1 << 20)
            self.assertEqual([seen.count(name) for name in names], [1] * puts)


@unittest.skipIf(target() != "confman", "etcd has no audit log")
class AuditTest(unittest.TestCase):
    SECRET = "a-value-that-nobody-may-see"

    def lines(self, path):
        with open(path, encoding="utf-8") as f:
            return [json.loads(line) for line in f]

    def node(self, *args):
        folder = tempfile.mkdtemp(prefix="confman-audit-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "audit.log")
        return path, Node(args=("--audit-log", path) + args)

    def test_lines(self):
        path, server = self.node()
        with server as node:
            etcdctl(node, "put", "a", self.SECRET)
            curl(node.url + "/v1/config/c", "-X", "PUT", *JSON,
                 body=b'{"value": "%s"}' % self.SECRET.encode())
            curl(node.url + "/v3/kv/put", body=b'{"key": "/w==", "value": "eA=="}')
            subprocess.run([confman_bin(), "txn", "--endpoint", node.endpoint], text=True,
                           input='mod("a") > "0"\n\nput b %s\ndel a\n\nput c x\n' % self.SECRET,
                           capture_output=True, timeout=30)
            cli(node, "quota", "set", "prefix", "b", "--max-keys", "1")
            cli(node, "put", "b2", "x")
            etcdctl(node, "put", "b", "--lease", "77", "x")
            etcdctl(node, "get", "b")
            node.stop()
            lines = self.lines(path)
            node.start()    # goes on in the same file
            cli(node, "del", "--prefix", "")
            node.stop()
            more = self.lines(path)[len(lines):]
            node.start()
        self.assertEqual([(a["door"], a["request"], a["result"]) for a in lines], [
            ("etcd", "put", "ok"), ("rest", "txn", "ok"), ("gateway", "put", "ok"),
            ("etcd", "txn", "ok"), ("rest", "limit_set", "ok"),
            ("etcd", "put", "quota_exceeded"), ("etcd", "put", "lease_not_found")])
        self.assertEqual((lines[0]["key"], lines[0]["put"], lines[0]["revision"]), ("a", ["a"], 2))
        self.assertEqual(lines[1]["put"], ["confman/config/default/c"])
        self.assertEqual(lines[2]["key"], {"base64": "/w=="})
        self.assertEqual((lines[3]["put"], lines[3]["deleted"]), (["b"], ["a"]))
        self.assertTrue(all(a["from"].startswith("127.0.0.1:") for a in lines))
        self.assertTrue(all(a["user"] == "" and a["time"].endswith("Z") for a in lines))
        self.assertEqual(len(more[0]["deleted"]), 3)
        with open(path, encoding="utf-8") as f:
            self.assertNotIn(self.SECRET, f.read())

    def test_rotation(self):
        path, server = self.node("--audit-log-bytes", "4096", "--audit-log-files", "2")
        with server as node, grpc.insecure_channel(node.endpoint) as channel:
            put = channel.unary_unary("/etcdserverpb.KV/Put")
            written = 0
            while not os.path.exists(path + ".2") or written < 200:
                put(b"\x0a\x01k")
                written += 1
                self.assertLess(written, 2000)
            self.assertFalse(os.path.exists(path + ".3"))
            self.assertEqual(samples(node.url)["confman_audit_dropped_total", ""], 0)
            node.stop()
            kept = [a["revision"] for p in (path + ".2", path + ".1", path)
                    for a in self.lines(p)]
            self.assertEqual(kept, list(range(written + 2 - len(kept), written + 2)))
            node.start()

    def test_cannot_be_opened(self):
        server = Node(args=("--audit-log", "/proc/nothing"))
        with self.assertRaisesRegex(AssertionError, "the audit log cannot be opened"):
            server.start()
        server.process = None
        shutil.rmtree(server.folder)


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

    @unittest.skipIf(target() != "confman", "the dashboard is ours")
    def test_dashboard_and_alerts(self):
        """Every metric that they name is served, and every panel asks something."""
        with open(os.path.join(ROOT, "contrib/prometheus/alerts.yml"), encoding="ascii") as f:
            asked = f.read()
        with open(os.path.join(ROOT, "contrib/grafana/confman.json"), encoding="ascii") as f:
            panels = json.load(f)["panels"]
        for panel in panels:
            exprs = [q["expr"] for q in panel.get("targets", ())]
            self.assertTrue(exprs or panel["type"] == "row", panel["title"])
            asked += "\n".join(exprs)
        named = set(re.findall(r"\b((?:confman|etcd|grpc|process|os)_\w+)\{", asked))
        self.assertGreater(len(named), 40)
        text = curl(self.node.url + "/metrics").body.decode()
        served = set(re.findall(r"^# TYPE (\w+) ", text, re.M))
        self.assertEqual({name for name in named
                          if re.sub("_(bucket|sum|count)$", "", name) not in served}, set())

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
