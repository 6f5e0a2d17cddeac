"""The HTTP side for people and monitors: health, metrics, unknown paths, both HTTP versions."""
import http.client
import re
import socket

from node import ServerTest, confman_only, main, target
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
