"""The HTTP side for people and monitors: health, metrics, unknown paths, both HTTP versions."""
import http.client
import json
import re
import socket
import subprocess
import unittest

from node import Node, ServerTest, confman_only, free_port, main, target
from web import curl

LABEL = r'[a-zA-Z0-9_]+="[^"]*"'
METRIC = re.compile(r'^[a-zA-Z_:][a-zA-Z0-9_:]*(\{' + LABEL + r'(,' + LABEL + r')*\})? '
                    r'(-?[0-9.]+(e[+-]?[0-9]+)?|\+Inf|-Inf|NaN)$')


class HttpTest(ServerTest):
    flags = ("--http1.1",)
    version = "1.1"

    def get(self, path, *args):
        answer = curl(self.node.url + path, *self.flags, *args)
        self.assertEqual(answer.version, self.version)
        return answer

    def test_metrics(self):
        answer = self.get("/metrics")
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.headers["content-type"].startswith("text/plain"))
        names, typed = set(), set()
        for line in answer.body.decode().splitlines():
            if line.startswith("# TYPE "):
                typed.add(line.split()[2])
            elif line and not line.startswith("#"):
                self.assertRegex(line, METRIC)
                names.add(re.split(r"[{ ]", line)[0])
        self.assertGreater(len(names), 10)
        for name in names:
            self.assertIn(re.sub("_(bucket|sum|count)$", "", name), typed | names)

    @confman_only
    def test_health(self):
        for path in ("/health/live", "/health/ready"):
            self.assertEqual(self.get(path).status, 200)

    def test_health_as_etcd_has_it(self):
        for query in ("", "?serializable=true", "?exclude=NOSPACE&exclude=CORRUPT"):
            answer = self.get("/health" + query)
            self.assertEqual((answer.status, answer.json["health"]), (200, "true"))

    @confman_only
    def test_checks(self):
        live, ready = {"serializable_read"}, {"data_corruption", "serializable_read",
                                              "linearizable_read", "non_learner"}
        for page, checks in (("/livez", live), ("/readyz", ready)):
            self.assertEqual((self.get(page).status, self.get(page).body), (200, b"ok\n"))
            lines = self.get(page + "?verbose").body.decode().splitlines()
            self.assertEqual(set(lines), {"[+]%s ok" % c for c in checks} | {"ok"})
            lines = self.get(page + "?verbose&exclude=serializable_read&exclude=x").body
            self.assertNotIn(b"serializable_read", lines)
            for check in checks:
                answer = self.get(page + "/" + check)
                self.assertEqual((answer.status, answer.body), (200, b"ok\n"))
        self.assertEqual(self.get("/readyz/nothing").status, 404)
        self.assertEqual(self.get("/livez/non_learner").status, 404)
        refused = self.get("/readyz", "-X", "POST")
        self.assertEqual((refused.status, refused.headers["allow"]), (405, "GET, HEAD"))

    @confman_only
    def test_unknown_path(self):
        answer = self.get("/nothing/here")
        self.assertEqual(answer.status, 404)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        self.assertEqual(answer.json["status"], 404)

    @confman_only
    def test_method_not_allowed(self):
        self.assertEqual(self.get("/metrics", "-X", "DELETE").status, 405)

    @confman_only
    def test_head(self):
        answer = self.get("/health/live", "-I")
        body = answer.body.split(b"\r\n\r\n", 1)[1] # curl puts the head there, too
        self.assertEqual((answer.status, body), (200, b""))


@confman_only
class Http2Test(HttpTest):
    flags = ("--http2-prior-knowledge",)
    version = "2"


@confman_only
class AloneTest(unittest.TestCase):
    """One of two members, the other never comes: nothing to read but what it has itself."""

    def test_without_a_leader(self):
        node = Node()
        names = "one=127.0.0.1:%d,two=127.0.0.1:%d" % (free_port(), free_port())
        node.args = ["--name", "one", "--initial-cluster", names]
        node.ready = lambda: self.status(node, "/livez") == (200, b"ok\n")
        with node:
            status, body = self.status(node, "/readyz?verbose")
            self.assertEqual(status, 503)
            self.assertIn(b"[-]linearizable_read failed: etcdserver: no leader\n", body)
            self.assertIn(b"[+]serializable_read ok\n", body)
            self.assertEqual(self.status(node, "/readyz?exclude=linearizable_read")[0], 200)
            self.assertEqual(self.status(node, "/health"),
                             (503, b'{"health":"false","reason":"RAFT NO LEADER"}'))
            self.assertEqual(self.status(node, "/health?serializable=true")[0], 200)

    def status(self, node, path):
        try:
            answer = curl(node.url + path)
            return answer.status, answer.body
        except subprocess.CalledProcessError:
            return None


@confman_only
class AlarmTest(ServerTest):
    def alarm(self, action, kind):
        answer = curl(self.node.url + "/v3/maintenance/alarm", body=json.dumps(
            {"action": action, "alarm": kind, "memberID": "5"}).encode())
        self.assertEqual(answer.status, 200)

    def test_alarms(self):
        for kind in ("NOSPACE", "CORRUPT"):
            self.alarm("ACTIVATE", kind)
            answer = curl(self.node.url + "/health")
            self.assertEqual((answer.status, answer.json["reason"]), (503, "ALARM " + kind))
            excluded = curl(self.node.url + "/health?serializable=true&exclude=" + kind)
            self.assertEqual(excluded.status, 200)
            self.assertEqual(curl(self.node.url + "/readyz").status,
                             503 if kind == "CORRUPT" else 200)
            self.alarm("DEACTIVATE", kind)
        self.assertEqual(curl(self.node.url + "/health").status, 200)


class ConnectionTest(ServerTest):
    def path(self):
        return "/health" if target() == "etcd" else "/health/live"

    def test_keep_alive(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=10)
        first = None
        for _ in range(20):
            connection.request("GET", self.path())
            answer = connection.getresponse()
            answer.read()
            self.assertEqual(answer.status, 200)
            first = first or connection.sock
            self.assertIs(connection.sock, first)
        connection.close()

    def test_pipeline(self):
        with socket.create_connection(("127.0.0.1", self.node.port), 10) as s:
            request = "GET %s HTTP/1.1\r\nHost: x\r\n" % self.path()
            s.sendall((request + "\r\n").encode() * 9 +
                      (request + "Connection: close\r\n\r\n").encode())
            answer = b"".join(iter(lambda: s.recv(65536), b""))
        self.assertEqual(answer.count(b"HTTP/1.1 200"), 10)


if __name__ == "__main__":
    main()
