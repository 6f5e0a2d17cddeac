"""The REST door's configs, by curl over HTTP/1.1 and over HTTP/2."""
import json
import os
import subprocess
import unittest
import urllib.parse

from node import ServerTest, confman_bin, main, target
from web import curl

TIME = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"


@unittest.skipIf(target() != "confman", "a door that only confman has")
class Rest(ServerTest):
    flags = ("--http1.1",)

    def call(self, method, path, *args, body=None):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None and not any("Content-Type" in a for a in args):
            args += ("-H", "Content-Type: application/json")
        return curl(self.node.url + path, *self.flags, "-X", method, *args, body=body)

    def config(self, rest="k"):
        return "/v1/config/" + self.name(rest)

    def put(self, rest, value, *args, **more):
        answer = self.call("PUT", self.config(rest), *args, body=dict(more, value=value))
        self.assertIn(answer.status, (200, 201), answer)
        return answer

    def problem(self, answer, status, code=None):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(answer.headers["content-type"], "application/problem+json")
        told = answer.json
        self.assertEqual(told["status"], status)
        for field in ("type", "title", "code"):
            self.assertTrue(told[field], told)
        self.assertIn("detail", told)
        if code:
            self.assertEqual(told["code"], code)
        return told

    def etcdctl(self, *args):
        return subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, *args], check=True,
                              env=dict(os.environ, ETCDCTL_API="3"), capture_output=True,
                              text=True, timeout=20).stdout


class RestTest(Rest):
    def test_put_get(self):
        first = self.put("k", {"limit": [1, None]})
        self.assertEqual(first.headers["content-type"], "application/json")
        item = first.json
        self.assertEqual(sorted(item), ["environment", "key", "revision", "type", "updated_at",
                                        "updated_by", "value", "version"])
        self.assertEqual((item["key"], item["value"], item["type"], item["version"]),
                         (self.name("k"), {"limit": [1, None]}, "json", 1))
        self.assertRegex(item["updated_at"], TIME)
        self.assertIsInstance(item["updated_by"], str)
        self.assertEqual(first.headers["etag"], '"1"')
        got = self.call("GET", self.config())
        self.assertEqual((got.status, got.json, got.headers["etag"]), (200, item, '"1"'))
        second = self.put("k", 2)
        self.assertEqual((second.json["version"], second.headers["etag"]), (2, '"2"'))
        self.assertGreater(second.json["revision"], item["revision"])

    def test_types(self):
        for value, kind in (("text", "string"), ("", "string"),
                            ("\u00e4\u2028\U0001f600\0", "string"),
                            (5, "number"), (-0.5, "number"), (9007199254740993, "number"),
                            (True, "boolean"), (False, "boolean"), ({}, "json"), ([1], "json")):
            self.put("k", value)
            item = self.call("GET", self.config()).json
            self.assertEqual((item["value"], item["type"]), (value, kind))
            self.assertIs(type(item["value"]), type(value))
        self.assertEqual(self.put("k", 5, type="json").json["type"], "json")
        self.assertEqual(self.call("GET", self.config()).json["value"], 5)
        for value, kind in (("5", "number"), (5, "string"), (1, "boolean"), ("x", "nonsense"),
                            ("x", 7)):
            self.problem(self.call("PUT", self.config(), body=dict(value=value, type=kind)), 400)
        self.assertEqual(self.call("GET", self.config()).json["value"], 5)

    def test_keys(self):
        for key in ("a/b/c", "with space", "per%cent", "\u00fc/\u20ac", "a+b", "semi;colon?x=1#y"):
            path = self.config(urllib.parse.quote(key))
            answer = self.call("PUT", path, body=dict(value=key))
            self.assertEqual(answer.json["key"], self.name(key))
            self.assertEqual(self.call("GET", path).json["value"], key)
        for bad in ("/v1/config/%zz", "/v1/config/a%2", "/v1/config/" + "k" * 5000):
            self.problem(self.call("GET", bad), 400)

    def test_absent(self):
        self.problem(self.call("GET", self.config("none")), 404, "config_not_found")
        self.problem(self.call("DELETE", self.config("none")), 404, "config_not_found")

    def test_delete(self):
        self.put("k", 1)
        before = self.put("k", 2).json["revision"]
        gone = self.call("DELETE", self.config())
        self.assertEqual((gone.status, gone.json),
                         (200, dict(key=self.name("k"), revision=before + 1, deleted=True)))
        self.assertEqual(self.call("GET", self.config()).status, 404)
        self.assertEqual(self.put("k", 3).json["version"], 1)

    def test_if_match(self):
        self.put("k", 1)

        def match(version):
            return "-H", 'If-Match: "%d"' % version
        self.assertEqual(self.put("k", 2, *match(1)).json["version"], 2)
        for method, body in (("PUT", dict(value=3)), ("DELETE", None)):
            stale = self.call(method, self.config(), *match(1), body=body)
            told = self.problem(stale, 412, "precondition")
            self.assertEqual(stale.headers.get("etag", '"%s"' % told.get("version")), '"2"')
        self.assertEqual(self.call("GET", self.config()).json["value"], 2)
        self.assertEqual(self.call("DELETE", self.config(), *match(2)).status, 200)
        self.problem(self.call("PUT", self.config(), *match(2), body=dict(value=4)), 412)
        self.problem(self.call("PUT", self.config(), "-H", "If-Match: nonsense",
                               body=dict(value=4)), 400)

    def test_create_only(self):
        only = ("-H", "If-None-Match: *")
        self.put("k", 1, *only)
        self.problem(self.call("PUT", self.config(), *only, body=dict(value=2)), 412)
        self.assertEqual(self.call("GET", self.config()).json["value"], 1)

    def test_past(self):
        old = self.put("k", "old").json
        self.put("k", "new")
        past = self.call("GET", self.config() + "?revision=%d" % old["revision"])
        self.assertEqual(past.json, old)
        self.problem(self.call("GET", self.config() + "?revision=999999999"), 400,
                     "revision_future")
        for bad in ("x", "-1", "1.5", "99999999999999999999"):
            self.problem(self.call("GET", self.config() + "?revision=" + bad), 400)
        linear = self.call("GET", self.config() + "?consistency=linearizable")
        self.assertEqual(linear.json["value"], "new")
        self.problem(self.call("GET", self.config() + "?consistency=wishful"), 400)

    def test_list(self):
        names = ["%02d" % i for i in range(25)]
        for n in names:
            self.put(n, int(n))
        prefix = "/v1/config?prefix=" + self.name()
        whole = self.call("GET", prefix).json
        self.assertEqual([i["key"] for i in whole["items"]], [self.name(n) for n in names])
        self.assertNotIn("next_page_token", whole)
        self.assertEqual(whole["items"][3], self.call("GET", self.config("03")).json)
        keys, token, pages = [], "", 0
        while token is not None:
            page = self.call("GET", "%s&limit=10%s" % (
                prefix, token and "&page_token=" + urllib.parse.quote(token))).json
            keys += [i["key"] for i in page["items"]]
            token, pages = page.get("next_page_token"), pages + 1
            self.assertGreaterEqual(page["revision"], whole["revision"])
        self.assertEqual((pages, keys), (3, [self.name(n) for n in names]))
        exact = self.call("GET", prefix + "&limit=25").json
        self.assertNotIn("next_page_token", exact)
        self.assertEqual(self.call("GET", prefix + "none").json["items"], [])
        for bad in ("&limit=x", "&limit=-1", "&page_token=@@@"):
            self.problem(self.call("GET", prefix + bad), 400)

    def test_bodies(self):
        path = self.config()
        for body in (b"", b"{", b"[]", b"5", b'{"valu":1}', b'{"value":1} x', b'{"value":1,}',
                     b'{"value":"\xff"}', b'{"value":' + b"[" * 100000):
            self.problem(self.call("PUT", path, body=body), 400)
        self.problem(self.call("PUT", path, "-H", "Content-Type: text/plain", body=b'{"value":1}'),
                     415, "media_type")
        self.problem(self.call("PUT", path, body=dict(value="x" * 3_000_000)), 413)
        self.assertEqual(self.call("GET", path).status, 404)
        self.put("k", "x" * 1_000_000)
        self.assertEqual(len(self.call("GET", path).json["value"]), 1_000_000)

    def test_routes(self):
        self.problem(self.call("GET", "/v1/nothing"), 404)
        wrong = self.call("PATCH", self.config())
        self.problem(wrong, 405, "method_not_allowed")
        self.assertIn("GET", wrong.headers["allow"])
        self.put("k", 1)
        head = curl(self.node.url + self.config(), *self.flags, "-I")
        self.assertEqual((head.status, head.headers["etag"]), (200, '"1"'))

    def test_environments(self):
        base, prod = "base-" + self._testMethodName, "prod-" + self._testMethodName
        at = "?environment=" + prod
        self.assertEqual(self.call("PUT", "/v1/environments/" + prod,
                                   body=dict(parent=base)).status, 200)
        self.call("PUT", self.config() + "?environment=" + base, body=dict(value="low"))
        got = self.call("GET", self.config() + at)
        self.assertEqual((got.json["value"], got.json["environment"], got.json["from"]),
                         ("low", prod, base))
        linear = self.call("GET", self.config() + at + "&consistency=linearizable")
        self.assertEqual(linear.json, got.json)
        self.problem(self.call("GET", self.config() + at + "&own=true"), 404, "config_not_found")
        self.call("PUT", self.config("own") + at, body=dict(value=1))
        listed = self.call("GET", "/v1/config?prefix=%s&environment=%s" % (self.name(), prod)).json
        self.assertEqual([(i["key"], i.get("from")) for i in listed["items"]],
                         [(self.name("k"), base), (self.name("own"), None)])
        names = {i["name"]: i["parent"] for i in self.call("GET", "/v1/environments").json["items"]}
        self.assertEqual((names[prod], names[base]), (base, None))
        self.problem(self.call("PUT", "/v1/environments/" + base, body=dict(parent=prod)), 409,
                     "cycle")
        self.problem(self.call("GET", self.config() + "?environment=" + "e" * 51), 400)
        self.etcdctl("put", "confman/config/%s/%s" % (base, self.name("k")), "by etcd")
        self.assertEqual(self.call("GET", self.config() + at).json["value"], "by etcd")

    def test_history_and_cli(self):
        env = dict(os.environ, CONFMAN_ENDPOINT=self.node.endpoint)

        def cli(*args, code=0):
            done = subprocess.run([confman_bin(), "config", *args], env=env, check=False,
                                  capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, code, done)
            return done.stdout
        key, at = self.name("k v"), ("--environment", self._testMethodName)
        cli("set", key, "one", *at)
        cli("set", key, '{"a":[1,0.5]}', "--type", "json", *at)
        self.assertEqual(cli("get", key, *at), '{"a":[1,0.5]}\n')
        self.assertEqual(cli("list", self.name(), *at), key + '\t{"a":[1,0.5]}\n')
        cli("delete", key, *at)
        cli("get", key, *at, code=1)
        cli("set", key, "{", "--type", "json", *at, code=2)
        lines = [line.split("\t")[3] for line in cli("history", key, *at).splitlines()]
        self.assertEqual(lines, ["(deleted)", '{"a":[1,0.5]}', "one"])
        told = self.call("GET", "/v1/history/%s?environment=%s" % (
            urllib.parse.quote(key), self._testMethodName)).json["items"]
        self.assertEqual([i.get("version") for i in told], [None, 2, 1])
        past = cli("get", key, "--revision", str(told[2]["revision"]), *at)
        self.assertEqual(past, "one\n")

    def test_same_store_as_etcd(self):
        item = self.put("k", "text").json
        stored = "confman/config/default/" + self.name("k")
        self.assertEqual(self.etcdctl("get", "--print-value-only", stored), "text\n")
        got = json.loads(self.etcdctl("get", stored, "-w", "json"))["kvs"][0]
        self.assertEqual((got["mod_revision"], got["version"]), (item["revision"], 1))
        self.etcdctl("put", stored, "by etcd")
        item = self.call("GET", self.config()).json
        self.assertEqual((item["value"], item["type"], item["version"]), ("by etcd", "string", 2))


class RestHttp2Test(RestTest):
    flags = ("--http2-prior-knowledge",)


class CompactedTest(Rest):
    def test_compacted(self):
        first = self.put("k", 1).json["revision"]
        last = self.put("k", 2).json["revision"]
        self.etcdctl("compaction", str(last))
        self.problem(self.call("GET", self.config() + "?revision=%d" % first), 410, "compacted")
        self.assertEqual(self.call("GET", self.config() + "?revision=%d" % last).json["value"], 2)


if __name__ == "__main__":
    main()
