"""The page's files as a browser gets them: the page itself is driven by tests/web."""
import gzip
import http.client
import os
import unittest

from node import ROOT, ServerTest, confman_only, main

WEB = os.path.join(ROOT, "web")


@confman_only
class Files(ServerTest):
    def ask(self, path, method="GET", **headers):
        c = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=10)
        try:
            c.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = c.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            c.close()

    def test_every_file_plain_and_compressed(self):
        for name in os.listdir(WEB):
            with open(os.path.join(WEB, name), "rb") as f:
                want = f.read()
            status, headers, body = self.ask("/ui/" + name)
            self.assertEqual((status, body), (200, want))
            self.assertNotIn("content-encoding", headers)
            status, headers, body = self.ask("/ui/" + name, accept_encoding="br, gzip")
            self.assertEqual((status, gzip.decompress(body)), (200, want))
            self.assertEqual(headers["content-encoding"], "gzip")
            self.assertEqual(headers["vary"], "accept-encoding")
            again = self.ask("/ui/" + name, if_none_match=headers["etag"])
            self.assertEqual((again[0], again[2]), (304, b""))
            self.assertEqual(again[1]["etag"], headers["etag"])

    def test_the_index(self):
        status, headers, body = self.ask("/ui/")
        self.assertEqual((status, body), (200, self.ask("/ui/index.html")[2]))
        self.assertEqual(headers["content-type"], "text/html; charset=utf-8")
        self.assertEqual(headers["x-content-type-options"], "nosniff")
        policy = headers["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertIn("script-src 'self';", policy)
        self.assertNotIn("unsafe", policy)
        status, headers, _ = self.ask("/ui")
        self.assertEqual((status, headers["location"]), (308, "/ui/"))

    def test_nothing_else(self):
        for path in ("/ui/../Makefile", "/ui/%2e%2e/Makefile", "/ui/none", "/ui//main.js", "/uix"):
            self.assertEqual(self.ask(path)[0], 404, path)
        status, headers, _ = self.ask("/ui/", "POST")
        self.assertEqual((status, headers["allow"]), (405, "GET, HEAD"))
        status, headers, body = self.ask("/ui/", "HEAD")
        self.assertEqual((status, body), (200, b""))
        self.assertEqual(int(headers["content-length"]), len(self.ask("/ui/")[2]))

    def test_it_asks_nobody_else(self):
        for name in os.listdir(WEB):
            with open(os.path.join(WEB, name), encoding="utf-8") as f:
                text = f.read().replace("http://www.w3.org/2000/svg", "")
            for mark in ("http://", "https://", "innerHTML", "eval("):
                self.assertNotIn(mark, text, name)


if __name__ == "__main__":
    main()
