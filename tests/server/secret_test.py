"""Secrets: put, read, versions, who may; and that no clear text is anywhere on the disk."""
import json
import os
import subprocess
import unittest
import urllib.parse

from node import Node, confman_bin, main, target
from web import curl

JSON = ("-H", "content-type: application/json")


def make_key(folder, name="seal.key"):
    path = os.path.join(folder, name)
    with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
        f.write(os.urandom(32))
    return path


def sealed_node(**more):
    node = Node(**more)
    node.key_file = make_key(node.folder)
    node.args += ["--seal-key-file", node.key_file]
    return node


@unittest.skipIf(target() != "confman", "etcd has no secrets")
class SecretTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = sealed_node()
        cls.audit = os.path.join(cls.node.folder, "audit")
        cls.node.args += ["--audit-log", cls.audit]
        cls.node.start()

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def ask(self, method, path, body=None, status=200, node=None):
        a = curl((node or self.node).url + "/v1/" + path, *JSON, "-X", method,
                 body=None if body is None else json.dumps(body).encode())
        self.assertEqual(a.status, status, a)
        return a.json

    def put(self, path, status=200, **data):
        return self.ask("PUT", "secrets/" + path, {"data": data}, status)

    def cli(self, *args, code=0, stdin=None):
        done = subprocess.run([confman_bin(), *args, "--endpoint", self.node.endpoint], text=True,
                              input=stdin, capture_output=True, timeout=30)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_versions(self):
        self.assertEqual(self.put("v/a", user="ann", n=1)["version"], 1)
        self.assertEqual(self.put("v/a", user="bob")["version"], 2)
        self.assertEqual(self.ask("GET", "secrets/v/a")["data"], {"user": "bob"})
        one = self.ask("GET", "secrets/v/a?version=1")
        self.assertEqual((one["data"], one["version"]), ({"user": "ann", "n": 1}, 1))
        self.ask("GET", "secrets/v/a?version=3", status=404)
        self.ask("GET", "secrets/v/none", status=404)
        known = self.ask("GET", "secrets/v/a?metadata=true")
        self.assertEqual([v["version"] for v in known["versions"]], [1, 2])
        self.assertNotIn("data", json.dumps(known))

    def test_check_and_set(self):
        self.ask("PUT", "secrets/cas?version=1", {"data": {}}, 412)
        self.ask("PUT", "secrets/cas?version=0", {"data": {"a": 1}})
        self.ask("PUT", "secrets/cas?version=0", {"data": {"a": 2}}, 412)
        self.ask("PUT", "secrets/cas?version=1", {"data": {"a": 2}})
        self.ask("POST", "secrets/cas?action=configure", {"check_required": True})
        self.put("cas", status=412, a=3)
        self.assertEqual(self.ask("GET", "secrets/cas")["data"], {"a": 2})

    def test_delete_undelete_destroy_remove(self):
        self.put("d", a=1)
        self.ask("DELETE", "secrets/d")
        self.ask("GET", "secrets/d", status=404)
        self.ask("POST", "secrets/d?action=undelete&versions=1", {})
        self.ask("GET", "secrets/d")
        self.ask("POST", "secrets/d?action=destroy&versions=1", {})
        self.ask("POST", "secrets/d?action=undelete&versions=1", {})
        self.ask("GET", "secrets/d", status=404)
        self.ask("DELETE", "secrets/d?all=true")
        self.ask("GET", "secrets/d?metadata=true", status=404)

    def test_quota_of_versions(self):
        self.put("q", a=0)
        self.ask("POST", "secrets/q?action=configure", {"max_versions": 2})
        for i in range(4):
            self.put("q", a=i)
        known = self.ask("GET", "secrets/q?metadata=true")
        self.assertEqual([v["version"] for v in known["versions"]], [4, 5])

    def test_refused(self):
        self.put("r", status=413, a="x" * 70000)
        self.ask("PUT", "secrets/r", {"data": 5}, 400)
        self.ask("PUT", "secrets/r", {}, 400)
        for path in ("secrets/", "secrets/a//b", "secrets/%00", "secrets/r?namespace=a/b",
                     "secrets/r?versions=x", "secrets/r?what=1", "secrets/%zz"):
            self.ask("GET", path, status=400)
        self.ask("POST", "secrets/r?action=nothing", {}, 400)

    def test_list_and_namespaces(self):
        self.put("l/a", a=1)
        self.put("l/b/c", a=1)
        self.put("l/b/d", a=1)
        self.ask("PUT", "secrets/l/z?namespace=other", {"data": {}})
        self.assertEqual(self.ask("GET", "secrets?prefix=l")["names"], ["a", "b/"])
        self.assertEqual(self.ask("GET", "secrets?namespace=other")["names"], ["l/"])

    def test_patch_and_configure(self):
        self.put("pc", a=1, b={"c": 2, "d": 3})
        self.assertEqual(self.ask("POST", "secrets/pc?action=patch&version=1",
                                  {"data": {"b": {"c": None}, "e": "f"}})["version"], 2)
        self.assertEqual(self.ask("GET", "secrets/pc")["data"], {"a": 1, "b": {"d": 3}, "e": "f"})
        self.ask("POST", "secrets/pc?action=patch&version=1", {"data": {"x": 1}}, 412)
        self.ask("POST", "secrets/pc-none?action=patch", {"data": {"x": 1}}, 404)
        self.ask("POST", "secrets/pc?action=configure",
                 {"custom": {"owner": "red"}, "delete_after_s": 3600})
        known = self.ask("GET", "secrets/pc?metadata=true")
        self.assertEqual((known["custom"], known["delete_after_s"]), ({"owner": "red"}, 3600))
        self.put("pc", a=2)
        self.assertIn("deletes_at_ms", self.ask("GET", "secrets/pc"))
        for wrong in ({"custom": {"a": 1}}, {"delete_after_s": -1}, {"max_versions": 101},
                      {"check_required": 1}, {"custom": {"a": "x" * 20000}}):
            self.ask("POST", "secrets/pc?action=configure", wrong, 400)
        self.cli("secret", "configure", "max_versions=2", "reason_required=true", "--namespace",
                 "strict")
        self.assertTrue(self.ask("GET", "secrets?metadata=true&namespace=strict")
                        ["reason_required"])
        self.cli("secret", "put", "x", "a=1", "--namespace", "strict")
        self.assertIn("reason", self.cli("secret", "get", "x", "--namespace", "strict", code=1))
        self.cli("secret", "get", "x", "--namespace", "strict", "--reason", "test")
        self.cli("secret", "configure", "x", "max_versions=two", code=2)

    def test_approles(self):
        self.cli("approle", "put", "billing", "--ttl", "600")
        self.assertEqual(self.cli("approle", "list"), "billing\n")
        self.assertRegex(self.cli("approle", "role-id", "billing"), r"role_id  \S+\.billing\n")
        self.assertIn("secret_id", self.cli("approle", "secret-id", "billing"))
        self.assertIn("token_ttl  600", self.cli("approle", "get", "billing"))
        self.cli("approle", "delete", "billing")
        self.cli("approle", "get", "billing", code=1)
        self.cli("approle", "put", "a/b", code=1)
        self.cli("approle", "put", code=2)

    def test_rotate(self):
        self.ask("PUT", "secrets/k?namespace=rot", {"data": {"a": 1}})
        self.assertEqual(self.ask("POST", "secrets?action=rotate&namespace=rot", {})["key_version"],
                         2)
        self.assertEqual(self.ask("PUT", "secrets/k?namespace=rot", {"data": {"a": 2}})
                         ["key_version"], 2)
        for version in (1, 2):
            self.assertEqual(self.ask("GET", "secrets/k?namespace=rot&version=%d" % version)
                             ["data"], {"a": version})

    def test_many_writers(self):
        self.put("many", a=0)
        writers = [subprocess.Popen([confman_bin(), "secret", "put", "many", "a=%d" % i,
                                     "--endpoint", self.node.endpoint],
                                    stdout=subprocess.DEVNULL) for i in range(6)]
        self.assertEqual([w.wait(30) for w in writers], [0] * 6)
        self.assertEqual(self.ask("GET", "secrets/many")["version"], 7)

    def test_cli(self):
        self.assertEqual(self.cli("secret", "put", "cli/x", "user=ann", "pw=-", stdin="a=b\n"),
                         "version 1\n")
        self.assertEqual(self.cli("secret", "get", "cli/x"), "user=ann\npw=a=b\n\n")
        self.cli("secret", "put", "cli/x", "-", "--version", "1", stdin='{"deep": {"a": 1}}')
        self.assertEqual(self.cli("secret", "get", "cli/x"), 'deep={"a":1}\n')
        self.assertIn("not the one", self.cli("secret", "put", "cli/x", "a=1", "--version", "1",
                                              code=1))
        self.assertEqual(self.cli("secret", "list", "cli"), "x\n")
        self.cli("secret", "destroy", "cli/x", "--versions", "1")
        self.assertIn("destroyed", self.cli("secret", "versions", "cli/x"))
        self.cli("secret", "delete", "cli/x")
        self.cli("secret", "get", "cli/x", code=1)
        self.cli("secret", "remove", "cli/x")
        self.assertIn("sealed       no", self.cli("seal", "status"))
        self.cli("secret", "destroy", "cli/x", code=2)
        self.cli("secret", "burn", "x", code=2)

    def test_reads_are_audited(self):
        self.put("audited", a=1)
        self.ask("GET", "secrets/audited?reason=" + urllib.parse.quote("pager, 3 am"))
        self.put("audited", a=2)
        self.cli("put", "flush", "1")
        with open(self.audit, encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
        reads = [x for x in lines if x.get("path") == "audited"]
        self.assertEqual([(x["request"], x["reason"], x["version"]) for x in reads],
                         [("secret_read", "pager, 3 am", 1)])


@unittest.skipIf(target() != "confman", "etcd has no secrets")
class SealTest(unittest.TestCase):
    def ask(self, node, method, path, data=None):
        return curl(node.url + "/v1/" + path, *JSON, "-X", method,
                    body=json.dumps({"data": data}).encode() if data is not None else None)

    def test_sealed_without_the_key(self):
        with Node() as node:
            self.assertEqual(self.ask(node, "PUT", "secrets/a", {"a": 1}).status, 503)
            self.assertTrue(self.ask(node, "GET", "seal").json["sealed"])

    def test_shares(self):
        """A seal in shares, by the command line; then others in their place."""
        node = Node()
        self.addCleanup(node.close)
        node.start()

        def cli(*args, code=0, stdin=None):
            done = subprocess.run([confman_bin(), *args, "--endpoint", node.endpoint], text=True,
                                  input=stdin, capture_output=True, timeout=30)
            self.assertEqual(done.returncode, code, done.stdout + done.stderr)
            return done.stdout + done.stderr

        def shares_of(told):
            return [line.split()[-1] for line in told.splitlines() if line.startswith("share ")]

        def unseal(shares):
            for share in shares:
                told = cli("seal", "unseal", "--share-file", "-", stdin=share + "\n")
            return told

        cli("seal", "unseal", "--share-file", "-", stdin="00\n", code=1)
        cli("seal", "init", "--shares", "3", "--threshold", "5", code=1)
        old = shares_of(cli("seal", "init", "--shares", "4", "--threshold", "2"))
        self.assertEqual(len(old), 4)
        cli("seal", "init", code=1)
        self.assertEqual(self.ask(node, "PUT", "secrets/a", {"a": "one"}).status, 200)
        self.assertIn("sealed       yes", cli("seal", "seal"))
        self.assertEqual(self.ask(node, "GET", "secrets/a").status, 503)
        self.assertIn("2 of 4 open it, 1 have come", unseal(old[2:3]))
        self.assertIn("sealed       no", unseal(old[:1]))
        new = shares_of(cli("seal", "init", "--renew", "--shares", "3", "--threshold", "3"))
        self.assertEqual(self.ask(node, "GET", "secrets/a").json["data"], {"a": "one"})
        node.stop()
        node.start()
        cli("seal", "unseal", "--share-file", "-", stdin=old[0] + "\n")
        unseal(new[1:2])
        cli("seal", "unseal", "--share-file", "-", stdin=new[2] + "\n", code=1)  # one was of before
        self.assertIn("sealed       no", unseal(new))
        self.assertEqual(self.ask(node, "GET", "secrets/a").json["data"], {"a": "one"})
        self.assertIn("sealed       no", cli("seal", "rotate"))

    def test_another_key_is_sealed_and_the_previous_one_opens(self):
        node = sealed_node()
        self.addCleanup(node.close)
        node.start()
        self.assertEqual(self.ask(node, "PUT", "secrets/a", {"a": "old"}).status, 200)
        node.stop()
        first, second = node.key_file, make_key(node.folder, "second.key")
        node.args = ["--seal-key-file", second]
        node.start()
        self.assertEqual(self.ask(node, "GET", "secrets/a").status, 503)
        self.assertTrue(self.ask(node, "GET", "seal").json["sealed"])
        self.assertEqual(self.ask(node, "PUT", "secrets/a", {"a": "x"}).status, 503)
        node.stop()
        node.args += ["--seal-key-file-previous", first]
        node.start()
        self.assertEqual(self.ask(node, "GET", "secrets/a").json["data"], {"a": "old"})
        self.assertEqual(self.ask(node, "PUT", "secrets/b", {"a": "new"}).status, 200)
        node.stop()
        node.args = ["--seal-key-file", second]
        node.start()
        self.assertEqual(self.ask(node, "GET", "secrets/a").json["data"], {"a": "old"})

    def test_key_that_others_may_read_is_refused(self):
        node = sealed_node()
        self.addCleanup(node.close)
        os.chmod(node.key_file, 0o644)
        with self.assertRaises(AssertionError):
            node.start()
        with open(node.log_path, encoding="utf-8") as f:
            self.assertIn("chmod 600", f.read())
        node.process = None                          # it ended, as it should

    def test_no_clear_text_anywhere(self):
        """Markers in every field, and the key itself, searched for in every byte that is left."""
        node = sealed_node()
        self.addCleanup(node.close)
        audit = os.path.join(node.folder, "audit")
        node.args += ["--audit-log", audit, "--log-level", "debug"]
        node.start()
        markers = [b"MARKER-%d-%s" % (i, os.urandom(8).hex().encode()) for i in range(6)]
        for i, m in enumerate(markers):
            self.assertEqual(self.ask(node, "PUT", "secrets/m/%d" % (i % 2),
                                      {"name-" + m.decode(): m.decode()}).status, 200)
        self.assertIn(markers[5], self.ask(node, "GET", "secrets/m/1?reason=test").body)
        curl(node.url + "/v1/secrets/m/1", *JSON, "-X", "PUT",
             body=b'{"data": {"broken": "%s", }' % markers[0])
        seen = curl(node.url + "/metrics").body
        seen += curl(node.url + "/v1/snapshot").body
        seen += self.ask(node, "GET", "secrets/m/1?metadata=true").body
        with open("/proc/%d/limits" % node.process.pid, encoding="utf-8") as f:
            self.assertRegex(f.read(), r"Max core file size +0 +0 ")
        node.stop()                                  # writes a checkpoint
        with open(node.key_file, "rb") as f:
            needles = markers + [f.read()]
        files = 0
        for folder, _, names in os.walk(node.folder):
            for name in names:
                path = os.path.join(folder, name)
                if path == node.key_file:
                    continue
                files += 1
                with open(path, "rb") as f:
                    seen += f.read()
        self.assertGreater(files, 3)
        self.assertIn(b"confman/secret/secret/m/1", seen)  # it was looked for in the right place
        for needle in needles:
            for form in (needle, needle.hex().encode()):
                self.assertNotIn(form, seen)


if __name__ == "__main__":
    main()
