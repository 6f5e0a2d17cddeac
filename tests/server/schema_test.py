"""Schemas of configs over REST: what is refused, with every place that is wrong; that a write is
judged by the schema that stands when it is applied; who may."""
import base64
import http.client
import json
import os
import subprocess
import threading
import unittest
import urllib.error
import urllib.request

from node import Node, confman_bin, main, target

ETCD = dict(os.environ, ETCDCTL_API="3")
PORT = {"type": "object", "required": ["host"], "additionalProperties": False,
        "properties": {"host": {"type": "string"},
                       "port": {"type": "integer", "minimum": 1, "maximum": 65535}}}


class Door(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node().start()

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def ask(self, method, path, body=None, status=200, user=None, **headers):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.node.url + "/v1/" + path, data, method=method,
                                         headers={"content-type": "application/json"})
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        if user:
            request.add_header("authorization", user)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                got, text = answer.status, answer.read()
                self.headers = answer.headers
        except urllib.error.HTTPError as e:
            got, text, self.headers = e.code, e.read(), e.headers
        if status:
            self.assertIn(got, status if isinstance(status, tuple) else (status,), text)
        told = json.loads(text) if text else None
        return told if status else (got, told)

    def put(self, key, value, status=(200, 201), more="", **headers):
        return self.ask("PUT", "config/" + key + more, {"value": value}, status, **headers)

    def schema(self, key, schema, status=(200, 201), **headers):
        return self.ask("PUT", "schemas/" + key, schema, status, **headers)

    def try_a_value(self, schema, value, status, **more):
        return self.ask("POST", "schemas/dry/", {"schema": schema, "value": value, **more}, status)

    def txn(self, status, *changes, more=""):
        return self.ask("POST", "txn" + more, {"changes": changes}, status)

    def etcdctl(self, *args, stdin=None):
        return subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, *args], check=True,
                              env=ETCD, capture_output=True, text=True, input=stdin,
                              timeout=20).stdout

    def metric(self, name):
        with urllib.request.urlopen(self.node.url + "/metrics", timeout=20) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(name + " "):
                    return float(line.split()[1])
        raise AssertionError("no metric " + name)


@unittest.skipIf(target() != "confman", "etcd has no schemas")
class SchemaTest(Door):
    def test_errors_all_at_once(self):
        self.schema("db/main", PORT)
        self.put("db/main", {"host": "a", "port": 5432})
        told = self.put("db/main", {"port": 0, "user": 1}, 422)
        self.assertEqual(told["code"], "schema_violated")
        self.assertEqual({(e["pointer"], e["schema_pointer"]) for e in told["errors"]},
                         {("", "/required/0"), ("/port", "/properties/port/minimum"),
                          ("/user", "/additionalProperties")})
        for e in told["errors"]:
            self.assertEqual((e["environment"], e["key"], e["schema"]),
                             ("default", "db/main", "db/main"))
            self.assertTrue(e["detail"])
        got = self.ask("GET", "config/db/main")
        self.assertEqual((got["value"], got["version"]), ({"host": "a", "port": 5432}, 1))
        self.put("db/other", {"port": 0})
        self.put("db/main", {}, 422, "?environment=prod")
        many = self.put("db/main", {"k%d" % i: 1 for i in range(100)} | {"host": ""}, 422)
        self.assertEqual((len(many["errors"]), many["more"]), (50, True))

    def test_bodies_that_are_wrong(self):
        told = self.ask("PUT", "config/x", {"type": "text", "colour": 1, "a/b": 2}, 400)
        self.assertEqual({e["pointer"] for e in told["errors"]},
                         {"/type", "/value", "/colour", "/a~1b"})
        self.assertTrue(told["detail"].startswith(told["errors"][0]["pointer"] + ": "))
        many = self.ask("PUT", "config/x", {"k%d" % i: 1 for i in range(90)}, 400)
        self.assertEqual((len(many["errors"]), many["more"]), (50, True))
        told = self.ask("PUT", "environments/x", {"parent": "a/b", "colour": 1, "n/m": 2}, 400)
        self.assertEqual({e["pointer"] for e in told["errors"]}, {"/parent", "/colour", "/n~1m"})
        told = self.ask("PUT", "quotas/prefix/x", {"max_keys": -1, "rate": "x", "y": 1}, 400)
        self.assertEqual({e["pointer"] for e in told["errors"]}, {"/max_keys", "/rate", "/y"})

    def test_prefixes_all_hold(self):
        self.schema("p/", {"type": ["number", "string"]})
        self.schema("p/q/", {"type": "number"})
        self.schema("p/q/r", {"maximum": 9})
        self.put("p/a", "text")
        self.put("p/q/a", 10)
        self.put("p/q/r", 9)
        self.assertEqual({e["schema"] for e in self.put("p/q/r", 10, 422)["errors"]}, {"p/q/r"})
        self.assertEqual([e["schema"] for e in self.put("p/q/r", True, 422)["errors"]],
                         ["p/q/", "p/"])
        self.put("pq", True)
        self.ask("DELETE", "schemas/p/q/")
        self.put("p/q/a", "text")
        for name in ("p/", "p/q/r"):
            self.ask("DELETE", "schemas/" + name)
        self.ask("DELETE", "schemas/p/", status=404)
        self.put("p/a", True)

    def test_all_configs(self):
        self.schema("", {"not": {"const": "forbidden"}})
        try:
            self.assertEqual(self.put("any", "forbidden", 422)["errors"][0]["schema"], "")
            self.put("any", "else")
        finally:
            self.ask("DELETE", "schemas/")

    def test_values_of_all_types(self):
        self.schema("t/n", {"type": "number", "multipleOf": 0.01})
        self.put("t/n", 19.99)
        self.put("t/n", 19.999, 422)
        self.put("t/n", "19.99", 422)
        self.schema("t/s", {"type": "string", "minLength": 2, "format": "uri"})
        self.put("t/s", "https://a.example/")
        self.put("t/s", "not a uri", 422)
        self.schema("t/b", {"const": True})
        self.put("t/b", False, 422)
        self.put("t/b", True)
        self.schema("t/j", {"type": "null"})
        self.put("t/j", None)

    def test_drafts(self):
        old = {"$schema": "http://json-schema.org/draft-07/schema#",
               "items": [{"type": "string"}], "dependencies": {"a": ["b"]}}
        self.schema("drafts/old", old)
        self.put("drafts/old", [1], 422)
        self.put("drafts/old", {"a": 1}, 422)
        told = self.schema("drafts/new", {"items": [{"type": "string"}]}, 422)
        self.assertEqual((told["code"], told["errors"][0]["pointer"]), ("schema_invalid", "/items"))
        self.schema("drafts/new", {"$schema": "urn:nobody"}, 422)
        self.schema("drafts/new", {"pattern": "(", "type": "nonsense"}, 422)
        self.ask("GET", "schemas/drafts/new", status=404)

    def test_runaway(self):
        self.schema("run", {"pattern": "^(a+)+$"})
        told = self.put("run", "a" * 40 + "b", 422)
        self.assertEqual(told["code"], "schema_steps")
        self.put("run", "aaa")

    def test_transactions(self):
        self.schema("both/", {"type": "number"})
        told = self.txn(422, {"key": "both/a", "value": 1}, {"key": "both/b", "value": "x"},
                        {"key": "both/c", "value": True})
        self.assertEqual([e["key"] for e in told["errors"]], ["both/b", "both/c"])
        self.ask("GET", "config/both/a", status=404)
        self.txn(200, {"key": "both/a", "value": 1}, {"key": "both/b", "value": 2})

    def test_dry_run(self):
        for name in ("dry-eu", "dry-us"):
            self.ask("PUT", "environments/" + name, {"parent": "dry"}, (200, 201))
        self.schema("dry/", {"type": "number"})
        at = "?dry_run=true&environment=dry"
        told = self.put("dry/a", 1, 200, at)
        self.assertEqual((told["dry_run"], told["change"], told["to"]["value"]), (True, "added", 1))
        self.assertEqual(told["inherited_by"], ["dry-eu", "dry-us"])
        self.ask("GET", "config/dry/a?environment=dry", status=404)
        self.put("dry/a", 1, 201, "?environment=dry")
        self.put("dry/a", 5, 201, "?environment=dry-us")
        told = self.put("dry/a", 2, 200, at)
        self.assertEqual((told["change"], told["from"]["value"], told["inherited_by"]),
                         ("changed", 1, ["dry-eu"]))
        self.assertEqual([(d["op"], d["path"]) for d in told["diff"]], [("replace", "")])
        self.put("dry/a", "x", 422, at)
        self.put("dry/a", 2, 412, at, if_match='"7"')
        self.assertEqual(self.ask("DELETE", "config/dry/a" + at)["change"], "removed")
        self.ask("DELETE", "config/dry/none" + at, status=404)
        self.assertEqual(self.ask("GET", "config/dry/a?environment=dry")["version"], 1)
        told = self.ask("PUT", "schemas/dry/?dry_run=true", {"maximum": 3})
        self.assertEqual((told["values"]["checked"], told["values"]["broken"]), (2, 1))
        self.assertEqual(self.ask("GET", "schemas/dry/")["schema"], {"type": "number"})
        self.try_a_value({"maximum": 3}, 3, 200)
        told = self.try_a_value({"maximum": 3}, 4, 422)
        self.assertEqual((told["code"], [e["schema_pointer"] for e in told["errors"]]),
                         ("schema_violated", ["/maximum"]))
        told = self.try_a_value({"maximum": "x"}, 4, 422)
        self.assertEqual((told["code"], told["errors"][0]["pointer"]),
                         ("schema_invalid", "/maximum"))
        self.try_a_value(True, "YQ==", 200, type="bytes")
        for bad in ({"type": "number"}, {"type": "nonsense"}):
            self.try_a_value(True, "x", 400, **bad)
        self.ask("POST", "schemas/dry/", [1], 400)
        self.ask("POST", "schemas/dry/", {"schema": True}, 400)
        self.assertEqual(self.ask("GET", "schemas/dry/")["schema"], {"type": "number"})
        self.ask("PUT", "environments/dry-x?dry_run=true", {})
        told = self.ask("DELETE", "environments/dry-eu?dry_run=true")
        self.assertEqual((told["change"], told["dry_run"]), ("removed", True))
        self.ask("GET", "environments/dry-eu")

    def test_who_would_see_it(self):
        with urllib.request.urlopen(self.node.url + "/v1/watch?prefix=seen/", timeout=20) as one:
            one.readline()
            with urllib.request.urlopen(self.node.url + "/v1/watch?key=seen/a", timeout=20) as two:
                two.readline()
                self.assertEqual(self.put("seen/a", 1, 200, "?dry_run=true")["watchers_here"], 2)
                self.assertEqual(self.put("seen/b", 1, 200, "?dry_run=true")["watchers_here"], 1)

    def cli(self, *args, code=0, stdin=None):
        done = subprocess.run([confman_bin(), *args, "--endpoint", self.node.endpoint], text=True,
                              input=stdin, capture_output=True, timeout=30)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_cli(self):
        self.put("cli/a", "text")
        out = self.cli("schema", "check", "cli/", stdin='{"type": "number"}')
        self.assertIn("1 of 1 values are not so", out)
        self.assertIn("default:cli/a", out)
        self.ask("GET", "schemas/cli/", status=404)
        self.cli("schema", "set", "cli/", "-", stdin='{"type": "string", "maxLength": 4}')
        self.assertEqual(json.loads(self.cli("schema", "get", "cli/"))["maxLength"], 4)
        self.assertIn("cli/\tversion 1", self.cli("schema", "list"))
        out = self.cli("config", "set", "cli/a", "too long", code=1)
        self.assertIn("4", out)
        self.assertIn("/items", self.cli("schema", "set", "x", stdin='{"items": 1}', code=1))
        self.cli("guard", "set", "cli/", stdin='{"max_value_bytes": 3}')
        self.assertIn('{"max_value_bytes":3}', self.cli("guard", "list"))
        self.cli("config", "set", "cli/a", "four", code=1)
        self.cli("guard", "delete", "cli/")
        self.cli("schema", "delete", "cli/")
        self.cli("schema", "check", code=2)
        self.cli("guard", "check", "x", code=2)

    def test_records(self):
        first = self.schema("rec/a", {"type": "number"}, 201)
        self.assertEqual((first["key"], first["schema"], first["version"]),
                         ("rec/a", {"type": "number"}, 1))
        self.assertEqual(self.headers["etag"], '"1"')
        self.assertEqual(self.ask("GET", "schemas/rec/a")["schema"], {"type": "number"})
        self.ask("GET", "schemas/rec/a", status=304, if_none_match='"1"')
        self.schema("rec/a", True, 412, if_match='"7"')
        self.schema("rec/a", True, 200, if_match='"1"')
        self.schema("rec/a", True, 412, if_none_match="*")
        names = [i["key"] for i in self.ask("GET", "schemas")["items"]]
        self.assertEqual(names, sorted(names))
        self.assertIn("rec/a", names)
        self.ask("DELETE", "schemas/rec/a", status=412, if_match='"1"')
        self.assertEqual(self.ask("DELETE", "schemas/rec/a", if_match='"2"')["deleted"], True)
        self.ask("GET", "schemas/rec/a", status=404)
        self.ask("POST", "guards/rec/a", status=405)
        self.ask("PUT", "schemas/" + "n" * 257, True, 400)

    def test_what_a_new_schema_finds(self):
        for environment, value in (("default", 1), ("prod", "a"), ("test", "b")):
            self.put("found/x", value, more="?environment=" + environment)
        self.put("found/y", 2)
        values = self.schema("found/", {"type": "number"})["values"]
        self.assertEqual((values["checked"], values["broken"], values["complete"]), (4, 2, True))
        self.assertEqual({(e["environment"], e["key"]) for e in values["errors"]},
                         {("prod", "found/x"), ("test", "found/x")})

    def test_written_by_an_etcd_client(self):
        self.etcdctl("put", "confman/schema/raw", "no schema")
        told = self.put("raw", 1, 422)
        self.assertEqual((told["code"], told["errors"][0]["schema"]), ("schema_invalid", "raw"))
        self.assertIsNone(self.ask("GET", "schemas/raw")["schema"])
        self.schema("raw", {"type": "number"})
        self.etcdctl("put", "confman/config/default/raw", "not judged")
        self.assertEqual(self.ask("GET", "config/raw")["value"], "not judged")
        self.put("raw", "judged", 422)

    def test_compiled_once(self):
        self.schema("once", {"type": "number"})
        self.put("once", 0)
        before = self.metric("confman_schemas_compilations")
        for i in range(10):
            self.put("once", i)
        self.assertEqual(self.metric("confman_schemas_compilations"), before)
        self.assertGreater(self.metric("confman_schemas_compiled_bytes"), 0)
        refused = self.metric("confman_checks_refused_total")
        self.put("once", "no", 422)
        self.assertEqual(self.metric("confman_checks_refused_total"), refused + 1)


@unittest.skipIf(target() != "confman", "etcd has no guards")
class GuardTest(Door):
    def guard(self, key, status=(200, 201), **guard):
        return self.ask("PUT", "guards/" + key, guard, status)

    def test_size(self):
        self.guard("size/", max_value_bytes=10)
        self.put("size/a", "0123456789")
        told = self.put("size/a", "0123456789x", 413)
        self.assertEqual((told["code"], told["errors"][0]["guard"]), ("guard_size", "size/"))
        self.put("other", "0123456789x")

    def test_environments(self):
        self.guard("envs/", max_value_bytes=0, environments=["prod", "live"])
        self.put("envs/a", "x")
        self.put("envs/a", "x", 413, "?environment=prod")

    def test_approvals(self):
        self.put("agreed/a", 1)
        self.guard("agreed/", approvals=1)
        self.assertEqual(self.put("agreed/a", 2, 409)["code"], "guard_approvals")
        self.ask("DELETE", "config/agreed/a", status=409)
        self.assertEqual(self.ask("GET", "config/agreed/a")["value"], 1)
        self.ask("DELETE", "guards/agreed/")
        self.put("agreed/a", 2)

    def test_deleted_percent(self):
        self.txn(200, *({"key": "many/%d" % i, "value": i} for i in range(10)))
        self.guard("many/", max_deleted_percent=20)
        drop = [{"key": "many/%d" % i, "op": "delete"} for i in range(5)]
        told = self.txn(409, *drop)
        self.assertEqual((told["code"], told["errors"][0]["guard"]), ("guard_deletes", "many/"))
        self.assertIn("5 of 10", told["errors"][0]["detail"])
        self.txn(200, *drop[:2])
        self.txn(200, *drop[2:], more="?confirm=true")
        self.ask("DELETE", "config/many/9")
        self.assertEqual(len(self.ask("GET", "config?prefix=many/")["items"]), 4)

    def test_what_is_no_guard(self):
        told = self.guard("no", 422, max_value_bytes="x", max_deleted_percent=101, approvals=1.5,
                          environments=["a b"], author_may_approve=1, colour="red")
        self.assertEqual(told["code"], "guard_invalid")
        self.assertEqual({e["pointer"] for e in told["errors"]},
                         {"/max_value_bytes", "/max_deleted_percent", "/approvals",
                          "/environments/0", "/author_may_approve", "/colour"})
        self.ask("PUT", "guards/no", [], 422)
        self.etcdctl("put", "confman/guard/raw", "no guard")
        self.assertEqual(self.put("raw", 1, 422)["errors"][0]["guard"], "raw")
        self.assertIn({"key": "raw", "guard": None},
                      [{k: i[k] for k in ("key", "guard")}
                       for i in self.ask("GET", "guards")["items"]])


@unittest.skipIf(target() != "confman", "etcd has no schemas")
class RaceTest(Door):
    """The schema changes all the time while others write: what stands was right when it came."""
    ROUNDS = 60

    def change(self):
        for i in range(self.ROUNDS):
            self.schema("race/", {"type": ("string", "number")[i % 2]})

    def write(self, value):
        while not self.done.is_set():
            self.counts[self.put("race/k", value, (200, 201, 422, 409)).get("code")] = True

    def test_race(self):
        self.done, self.counts = threading.Event(), {}
        self.schema("race/", {"type": "number"})
        writers = [threading.Thread(target=self.write, args=(v,)) for v in ("a", 1, "b", 2)]
        for w in writers:
            w.start()
        self.change()
        self.done.set()
        for w in writers:
            w.join()
        self.assertIn(None, self.counts)
        self.assertIn("schema_violated", self.counts)
        self.assertGreater(self.metric("confman_checks_again_total"), 0)
        events = []
        for key in ("confman/schema/race/", "confman/config/default/race/k"):
            events += self.history(key)
        kind, seen = None, 0
        for _, key, value in sorted(events):
            if key.startswith("confman/schema/"):
                kind = json.loads(value)["type"]
            else:
                seen += 1
                self.assertEqual(kind, "number" if value in ("1", "2") else "string")
        self.assertGreater(seen, 0)

    def history(self, key):
        """(revision, key, value) of all versions, through etcdctl."""
        last = json.loads(self.etcdctl("get", key, "-w", "json"))["kvs"][0]["mod_revision"]
        watch = subprocess.Popen(["etcdctl", "--endpoints", self.node.endpoint, "watch", key,
                                  "--rev", "1", "-w", "json"], env=ETCD, stdout=subprocess.PIPE,
                                 text=True)
        out = []
        try:
            while not out or out[-1][0] < last:
                for e in json.loads(watch.stdout.readline())["Events"]:
                    kv = e["kv"]
                    out.append((kv["mod_revision"], key,
                                base64.b64decode(kv["value"]).decode()))
        finally:
            watch.kill()
            watch.wait()
            watch.stdout.close()
        return out


@unittest.skipIf(target() != "confman", "etcd has no schemas")
class RightsTest(Door):
    """A writer needs no right to schemas, is told of them only where it may write, and learns
    nothing of configs by writing schemas."""

    @classmethod
    def setUpClass(cls):
        cls.node = Node(args=("--bcrypt-cost", "4")).start()

    def cli(self, *args, stdin=None):
        done = subprocess.run([confman_bin(), *args, "--endpoint", self.node.endpoint], text=True,
                              input=stdin, capture_output=True, timeout=30)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_rights(self):
        self.etcdctl("user", "add", "root:r")
        self.etcdctl("user", "grant-role", "root", "root")
        for user, keys in (("writer", "confman/config/default/app/"),
                           ("lawyer", "confman/schema/"), ("nobody", "x")):
            self.etcdctl("user", "add", user + ":" + user)
            self.etcdctl("role", "add", user)
            self.etcdctl("role", "grant-permission", user, "--prefix", "readwrite", keys)
            self.etcdctl("user", "grant-role", user, user)
        self.etcdctl("auth", "enable")
        as_ = {u: basic(u, u) for u in ("writer", "lawyer", "nobody")}
        self.schema("app/", {"type": "number"}, user=as_["lawyer"])
        self.schema("app/", {"type": "number"}, 403, user=as_["writer"])
        self.put("app/a", 1, user=as_["writer"])
        self.put("app/a", "x", 422, user=as_["writer"])
        self.assertNotIn("errors", self.put("app/a", "x", 403, user=as_["nobody"]))
        self.put("app/a", 2, 403, user=as_["nobody"])
        self.etcdctl("--user", "root:r", "role", "grant-permission", "nobody", "--prefix", "read",
                     "confman/config/default/app/")
        for way, body in (("txn", {"changes": [{"key": "app/a", "value": 2}]}),
                          ("import?format=json&prefix=app/", {"a": 2})):
            for dry in ("true", "false"):
                path = way + ("&" if "?" in way else "?") + "dry_run=" + dry
                self.ask("POST", path, body, 403, user=as_["nobody"])
        self.ask("GET", "schemas/app/", status=403, user=as_["writer"])
        values = self.schema("app/", {"const": 5}, user=as_["lawyer"])["values"]
        self.assertEqual((values["checked"], values["complete"]), (0, False))


@unittest.skipIf(target() != "confman", "etcd has no references")
class ReferenceTest(Door):
    @classmethod
    def setUpClass(cls):
        cls.node = Node()
        seal = os.path.join(cls.node.folder, "seal.key")
        with open(os.open(seal, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
            f.write(os.urandom(32))
        cls.audit = os.path.join(cls.node.folder, "audit")
        cls.node.args += ["--seal-key-file", seal, "--audit-log", cls.audit,
                          "--bcrypt-cost", "4"]
        cls.node.start()

    def get(self, key, more="", status=200, user=None):
        return self.ask("GET", "config/" + key + "?resolve=true" + more, status=status, user=user)

    def test_texts_and_values(self):
        self.put("r/host", "db.example")
        self.put("r/port", 5432)
        self.put("r/limits", {"max": [1, 2.50]})
        self.put("r/url", "postgres://${r/host}:${r/port}/$${x} $ {a} $$")
        self.put("r/all", {"port": "${r/port}", "limits": "${r/limits}", "${r/host}": ["${r/url}"],
                           "text": "${r/port}!"})
        self.assertEqual(self.get("r/url")["value"], "postgres://db.example:5432/${x} $ {a} $$")
        self.assertEqual(self.get("r/all")["value"],
                         {"port": 5432, "limits": {"max": [1, 2.5]}, "text": "5432!",
                          "${r/host}": ["postgres://db.example:5432/${x} $ {a} $$"]})
        raw = self.ask("GET", "config/r/url")
        self.assertEqual(raw["value"], "postgres://${r/host}:${r/port}/$${x} $ {a} $$")
        self.assertEqual(self.etcdctl("get", "--print-value-only", "confman/config/default/r/url"),
                         raw["value"] + "\n")
        tag = (self.get("r/url"), self.headers["etag"])[1]
        self.ask("GET", "config/r/url?resolve=true", status=304, if_none_match=tag)
        self.put("r/port", 5433)
        self.assertIn(":5433/", self.get("r/url")["value"])
        self.assertNotEqual(self.headers["etag"], tag)

    def test_environments(self):
        self.ask("PUT", "environments/eu", {"parent": "base"}, (200, 201))
        self.put("e/name", "nobody", more="?environment=base")
        self.put("e/text", "I am ${e/name}, not ${base:e/name}", more="?environment=base")
        self.assertEqual(self.get("e/text", "&environment=eu")["value"],
                         "I am nobody, not nobody")
        self.put("e/name", "eu", more="?environment=eu")
        self.assertEqual(self.get("e/text", "&environment=eu")["value"], "I am eu, not nobody")
        self.put("a:b", 7)
        self.put("e/colon", "${:a:b}")
        self.assertEqual(self.get("e/colon")["value"], "7")

    def test_what_is_refused(self):
        for value, code in (("${nothing}", "reference_unknown"), ("${x", "reference_invalid"),
                            ("${}", "reference_invalid"), ("${a b:x}", "reference_invalid"),
                            ("${secret:x}", "reference_invalid"), ("${w/a}", "cycle")):
            told = self.put("w/a", value, (422, 409))
            self.assertEqual(told["code"], code, told)
        told = self.put("w/a", {"x": [1, "${nothing}"]}, 422)
        self.assertEqual(told["errors"][0]["pointer"], "/x/1")
        self.put("w/c", 1)
        self.put("w/b", "${w/c}")
        self.put("w/a", "${w/b}")
        told = self.put("w/c", "${w/a}", 409)
        self.assertIn("default:w/c -> default:w/a -> default:w/b -> default:w/c",
                      told["errors"][0]["detail"])
        told = self.ask("DELETE", "config/w/c", status=409)
        self.assertEqual((told["code"], [e["referred_by"] for e in told["errors"]]),
                         ("referred", ["config default:w/b"]))
        self.ask("DELETE", "config/w/c?force=true")
        self.assertEqual(self.get("w/a", status=422)["code"], "reference_unknown")
        items = self.ask("GET", "config?prefix=w/&resolve=true")["items"]
        self.assertEqual([i["value"] for i in items], ["${w/b}", "${w/c}"])
        for i in items:
            self.assertIn("${w/c} is no config here", i["unresolved"])
        self.txn(200, {"key": "w/y", "value": "${w/x}"}, {"key": "w/x", "value": 1})
        self.assertEqual(self.get("w/y")["value"], "1")
        told = self.txn(409, {"key": "w/x", "value": "${w/z}"}, {"key": "w/z", "value": "${w/y}"})
        self.assertEqual(told["code"], "cycle")
        self.txn(422, {"key": "w/y", "value": "${w/x}!"}, {"key": "w/x", "op": "delete"})

    def test_heirs_see_no_circle(self):
        """What is fine where it is written may lead round where it is inherited."""
        self.ask("PUT", "environments/heir", {"parent": "root"}, (200, 201))
        self.put("h/a", 1, more="?environment=root")
        self.put("h/b", "x", more="?environment=root")
        self.put("h/b", "${h/a}", more="?environment=heir")
        told = self.put("h/a", "${h/b}", 409, "?environment=root")
        self.assertEqual((told["code"], told["errors"][0]["detail"]),
                         ("cycle", "it would lead back to itself, as environment heir sees it"))
        self.put("h/b", 2, more="?environment=heir")
        self.put("h/a", "${h/b}", more="?environment=root")
        self.put("h/c", "${h/a}", more="?environment=heir")
        told = self.put("h/b", "${h/c}", 409, "?environment=heir")
        # Deleted, it would be its parent's again.
        self.put("h/d", "${h/e}", 422, "?environment=root")
        self.put("h/e", "x", more="?environment=root")
        self.put("h/d", "${h/e}", more="?environment=root")
        self.put("h/d", "x", more="?environment=heir")
        self.put("h/e", "${h/d}", more="?environment=heir")
        told = self.ask("DELETE", "config/h/d?environment=heir", status=409)
        self.assertEqual(told["code"], "cycle")
        self.put("h/e", 3, more="?environment=heir")
        self.ask("DELETE", "config/h/d?environment=heir")

    def referred(self, path, *by, force=True):
        """It is refused, all who refer to it are told, and it goes when it is meant."""
        query = "&" if "?" in path else "?"
        method, _, path = path.partition(" ")
        told = self.ask(method, path, status=409)
        self.assertEqual(told["code"], "referred", told)
        self.assertEqual(sorted(e["referred_by"] for e in told["errors"]), sorted(by))
        if force:
            self.ask(method, path + query + "force=true")

    def test_what_is_referred_to_stays(self):
        self.ask("PUT", "environments/g-eu", {"parent": "g"}, (200, 201))
        self.ask("PUT", "environments/g-fr", {"parent": "g-eu"}, (200, 201))
        self.put("host", "x", more="?environment=g")
        self.put("url", {"u": "http://${host}"}, more="?environment=g")
        self.put("other", "${g:host}")
        self.referred("DELETE config/host?environment=g", "config g:url", "config default:other",
                      force=False)
        # What a parent has too is not missed; but who has it nowhere else misses it.
        self.put("host", "y", more="?environment=g-eu")
        self.ask("DELETE", "config/host?environment=g-eu")
        self.put("name", "y", more="?environment=g-eu")
        self.put("text", "${name}", more="?environment=g-fr")
        self.referred("DELETE config/name?environment=g-eu", "config g-fr:text", force=False)
        # In one transaction: it and who refers to it.
        gone = [{"key": "name", "environment": "g-eu", "op": "delete"},
                {"key": "text", "environment": "g-fr", "op": "delete"}]
        self.txn(409, gone[0], more="?dry_run=true")
        self.txn(200, *gone)
        told = self.ask("DELETE", "environments/g-eu", status=409)
        self.assertIn("g-fr inherits from it", told["detail"])
        self.ask("DELETE", "environments/g-eu?force=true")
        self.ask("DELETE", "environments/g-eu", status=404)
        self.referred("DELETE config/host?environment=g", "config g:url", "config default:other")

    def test_secrets_and_flags_that_are_referred_to_stay(self):
        for data in ({"a": "1"}, {"a": "2"}):
            self.ask("PUT", "secrets/ref/one", {"data": data})
        self.put("of-secret", ["${secret:secret/ref/one#a}"])
        by = "config default:of-secret"
        self.ask("DELETE", "secrets/ref/one?versions=1")
        self.referred("POST secrets/ref/one?action=destroy&versions=2", by, force=False)
        self.referred("DELETE secrets/ref/one", by)
        self.referred("DELETE secrets/ref/one?all=true", by)
        self.txn(200, {"kind": "flagset", "environment": "fl",
                       "value": {"$evaluators": {"staff": True, "free": True}}})
        flag = {"variants": {"on": True, "off": False}, "defaultVariant": "off"}
        self.ask("PUT", "flags/need?environment=fl", flag, 201)
        flag["prerequisites"] = [{"flag": "need", "variant": "on"}]
        flag["targeting"] = {"if": [{"$ref": "staff"}, "on", "off"]}
        self.ask("PUT", "flags/user?environment=fl", flag, 201)
        self.referred("DELETE flags/need?environment=fl", "flag fl:user")
        only = {"kind": "flagset", "environment": "fl", "value": {"$evaluators": {"staff": True}}}
        self.txn(200, only)
        only["value"]["$evaluators"] = {}
        told = self.txn(409, only)
        self.assertEqual([(e["key"], e["referred_by"]) for e in told["errors"]],
                         [("staff", "flag fl:user")])
        self.ask("DELETE", "flags/user?environment=fl")
        self.txn(200, only)
        self.assertGreater(self.metric("confman_references"), 0)

    def test_two_writers_make_no_circle(self):
        """Each is fine alone, and both are judged before either is written."""
        doors = [http.client.HTTPConnection("127.0.0.1", self.node.port) for _ in range(2)]
        again = self.metric("confman_checks_again_total")
        for i in range(20):
            for key in "ab":
                self.put("t%d/%s" % (i, key), 1)
            for door, key, other in zip(doors, "ab", "ba"):
                door.request("PUT", "/v1/config/t%d/%s" % (i, key),
                             json.dumps({"value": "${t%d/%s}" % (i, other)}),
                             {"Content-Type": "application/json"})
            answers = []
            for door in doors:
                answer = door.getresponse()
                answers.append((answer.status, json.loads(answer.read()).get("code")))
            self.assertEqual(sorted(answers, key=str), [(200, None), (409, "cycle")])
        self.assertGreater(self.metric("confman_checks_again_total"), again)
        for door in doors:
            door.close()

    def test_more_than_compares_find_room(self):
        """Many references are watched by one compare for all, unless too much lies between."""
        names = ["m/%03d" % i for i in range(200)]
        for at in range(0, 200, 100):
            self.txn(200, *[{"key": k, "value": 1} for k in names[at:at + 100]])
        self.put("m-all", {"all": ["${%s}" % k for k in names]})
        self.assertEqual(self.get("m-all")["value"], {"all": [1] * 200})

    def test_bounds(self):
        self.put("b/0", "x" * 1000)
        for i in range(1, 20):
            status, told = self.ask("PUT", "config/b/%d" % i,
                                    {"value": "${b/%d}${b/%d}" % (i - 1, i - 1)}, None)
            if status not in (200, 201):
                break
        self.assertEqual((status, told["code"]), (422, "reference_limit"))
        self.put("d/0", 1)
        for i in range(1, 17):
            self.put("d/%d" % i, "${d/%d}" % (i - 1))
        self.assertEqual(self.put("d/17", "${d/16}", 422)["code"], "reference_limit")

    def test_schema_sees_what_readers_get(self):
        self.schema("sees", {"type": "object", "properties": {"port": {"type": "integer"}}})
        self.put("sees-port", 80)
        self.put("sees", {"port": "${sees-port}"})
        self.put("sees", {"port": "x${sees-port}"}, 422)
        self.assertEqual(self.get("sees")["value"], {"port": 80})

    def test_secrets_and_rights(self):
        self.ask("PUT", "secrets/db/main", {"data": {"password": "hunter2", "n": 5}})
        self.put("s/url", "postgres://u:${secret:secret/db/main#password}@h")
        self.put("s/n", {"n": "${secret:secret/db/main#n}", "all": "${secret:secret/db/main}"})
        self.put("s/none", "${secret:secret/db/none#x}")
        self.assertEqual(self.get("s/url")["value"], "postgres://u:hunter2@h")
        self.assertEqual(self.headers["cache-control"], "no-store")
        self.assertIsNone(self.headers["etag"])
        self.assertEqual(self.get("s/n")["value"],
                         {"n": 5, "all": {"password": "hunter2", "n": 5}})
        self.get("s/none", status=404)
        self.assertNotIn("hunter2", json.dumps(self.ask("GET", "config/s/url")))
        self.etcdctl("user", "add", "root:r")
        self.etcdctl("user", "grant-role", "root", "root")
        self.etcdctl("user", "add", "app:app")
        self.etcdctl("role", "add", "app")
        self.etcdctl("role", "grant-permission", "app", "--prefix", "readwrite",
                     "confman/config/default/s/")
        self.etcdctl("user", "grant-role", "app", "app")
        self.put("other/x", "hidden")
        self.put("s/x", "${other/x}")
        self.etcdctl("auth", "enable")
        app = basic("app", "app")
        try:
            for key in ("s/url", "s/x"):
                self.assertNotIn("hidden", json.dumps(self.get(key, status=403, user=app)))
            self.put("s/y", "${other/x}", 403, user=app)
            self.put("s/y", "${other/none}", 403, user=app)
            self.put("s/y", "${s/n}", user=app)
        finally:
            subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, "--user", "root:r",
                            "auth", "disable"], check=True, env=ETCD, capture_output=True)
        with open(self.audit, encoding="utf-8") as f:
            lines = [json.loads(line) for line in f if '"secret_read"' in line]
        self.assertIn("a reference in a config", {line.get("reason") for line in lines})
        self.assertIn("app", {line.get("user") for line in lines})


def basic(user, password):
    return "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


if __name__ == "__main__":
    main()
