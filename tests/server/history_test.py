"""Several configs at once: /v1/txn, rollback, diff; by curl, seen by etcdctl too."""
import json
import unittest
import urllib.parse

from node import main
from rest_test import Rest


class History(Rest):
    def change(self, key, value=None, **more):
        item = dict(more, key=self.name(key))
        if value is not None:
            item["value"] = value
        return item

    def txn(self, *changes, query="", **more):
        return self.call("POST", "/v1/txn" + query, body=dict(more, changes=changes))

    def done(self, answer):
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def value(self, key="k", environment="default"):
        answer = self.call("GET", self.config(key) + "?environment=" + environment)
        return answer.json["value"] if answer.status == 200 else None

    def rollback(self, revision, query="", **more):
        return self.call("POST", "/v1/rollback" + query, body=dict(more, revision=revision))

    def diff(self, **query):
        return self.call("GET", "/v1/diff?" + urllib.parse.urlencode(query))


class TxnTest(History):
    def test_all_at_once(self):
        flag = dict(state="ENABLED", variants=dict(on=True, off=False), defaultVariant="on")
        self.put("old", 1)
        done = self.done(self.txn(
            self.change("a", 30), self.change("b", "x\ny", environment="prod"),
            self.change("old", op="delete"),
            dict(kind="flag", key="txn-flag", environment="prod", value=flag),
            dict(kind="secret_reference", key=self.name("s"), path="db/password",
                 field="value"), change_log="one reason"))
        self.assertEqual((done["changed"], done["unchanged"], done["change_log"]),
                         (5, 0, "one reason"))
        self.assertEqual([(i["kind"], i["change"], i.get("version")) for i in done["items"]],
                         [("config", "added", 1), ("config", "removed", None),
                          ("config", "added", 1), ("config", "added", 1), ("flag", "added", 1)])
        self.assertEqual((self.value("a"), self.value("b", "prod"), self.value("old")),
                         (30, "x\ny", None))
        self.assertEqual(self.value("s"), "${secret:secret/db/password#value}")
        told = self.call("POST", "/v1/flags/txn-flag:evaluate?environment=prod", body={}).json
        self.assertIs(told["value"], True)
        # One revision for all of it, seen through the other door.
        out = json.loads(self.etcdctl("get", "confman/config/default/" + self.name("a"),
                                      "-w", "json"))
        self.assertEqual(out["kvs"][0]["mod_revision"], done["revision"])
        # The reason stands beside each, the deletion too, until the next write.
        for key in ("a", "old"):
            newest = self.call("GET", "/v1/history/" + self.name(key)).json["items"][0]
            self.assertEqual(newest["change_log"], "one reason")
        self.put("a", 31)
        newest, before = self.call("GET", "/v1/history/" + self.name("a")).json["items"]
        self.assertNotIn("change_log", newest)
        self.assertEqual(before["change_log"], "one reason")

    def test_dry_run(self):
        self.put("doc", dict(limits=[1, 2, 3], name="n"))
        self.put("text", "one\ntwo\nthree\n")
        self.put("same", 5)
        before = self.call("GET", "/v1/status").json["revision"]
        plan = self.done(self.txn(
            self.change("doc", dict(limits=[1, 3], name="m", new=None)),
            self.change("text", "one\n2\nthree\n"), self.change("same", 5),
            self.change("gone", 1), query="?dry_run=true"))
        self.assertEqual((plan["dry_run"], plan["changed"], plan["unchanged"]), (True, 3, 1))
        doc, gone, text = plan["items"]
        self.assertEqual(doc["diff"], [
            dict(op="remove", path="/limits/1", **{"from": 2}),
            dict(op="replace", path="/name", **{"from": "n", "to": "m"}),
            dict(op="add", path="/new", to=None)])
        self.assertEqual((doc["from"]["version"], doc["to"]["type"]), (1, "json"))
        self.assertEqual(text["text"], "@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n")
        self.assertEqual((gone["change"], "from" in gone), ("added", False))
        self.assertEqual(self.call("GET", "/v1/status").json["revision"], before)

    def test_dry_run_refuses_what_the_real_one_does(self):
        """Whatever keeps a change from being written keeps it from being tried, by every way."""
        at = self.name("room/")
        name = urllib.parse.quote("confman/config/default/" + at, safe="")
        self.assertEqual(self.call("PUT", "/v1/quotas/prefix/" + name,
                                   body=dict(max_keys=1)).status, 200)
        two = dict(changes=[dict(key=at + "a", value=1), dict(key=at + "b", value=2)])
        many = dict(("k%03d" % i, i) for i in range(121))
        ways = (("POST", "/v1/txn?", two, 507, "quota_exceeded"),
                ("POST", "/v1/import?format=json&prefix=" + at + "&", dict(a=1, b=2), 507,
                 "quota_exceeded"),
                ("PUT", "/v1/config/" + at + "a?", dict(value="${%snone}" % at), 422,
                 "reference_unknown"),
                ("POST", "/v1/import?format=json&prefix=" + self.name("many/") + "&", many, 413,
                 "changes"),
                ("POST", "/v1/txn?", dict(changes=[dict(key=at + "a", value="${x")]), 422,
                 "reference_invalid"))
        for method, path, body, status, code in ways:
            for dry in ("true", "false"):
                self.problem(self.call(method, path + "dry_run=" + dry, body=body), status, code)
        # One way that fits, tried, then meant.
        draft = dict(title="t", changes=[dict(key=at + "a", value=1)])
        self.assertEqual(self.call("POST", "/v1/drafts?dry_run=true", body=draft).status, 200)
        self.assertNotIn(self.name("room/"), str(self.call("GET", "/v1/drafts").json))
        id_ = self.call("POST", "/v1/drafts", body=draft).json["id"]
        self.put("room/b", 1)
        publish = "/v1/drafts/%s:publish?dry_run=" % id_
        for dry in ("true", "false"):
            self.problem(self.call("POST", publish + dry, body={}), 507, "quota_exceeded")
        self.assertEqual(self.call("DELETE", "/v1/quotas/prefix/" + name).status, 200)
        self.assertTrue(self.done(self.call("POST", publish + "true", body={}))["dry_run"])
        self.done(self.call("POST", publish + "false", body={}))

    def test_versions(self):
        self.put("k", 1)
        self.put("k", 2)
        ok = self.done(self.txn(self.change("k", 3, if_version=2),
                                self.change("n", 1, if_version=0)))
        self.assertEqual(ok["changed"], 2)
        stale = self.txn(self.change("k", 4, if_version=2), self.change("n", 2, if_version=0),
                         self.change("none", op="delete"))
        told = self.problem(stale, 412, "precondition")
        self.assertEqual([(e["pointer"], e["version"]) for e in told["errors"]],
                         [("/changes/0", 3), ("/changes/1", 1), ("/changes/2", 0)])
        self.assertEqual((self.value("k"), self.value("n")), (3, 1))
        again = self.done(self.txn(self.change("k", 3)))
        self.assertEqual((again["changed"], again["unchanged"]), (0, 1))

    def test_all_faults_at_once(self):
        bad = self.txn(dict(key="", value=1), self.change("a"), self.change("b", 1, type="string"),
                       dict(op="swap", key="c", value=1), dict(kind="poem", key="d"),
                       self.change("e", 1, enviroment="x"), 7,
                       dict(kind="flag", key="f g", value={}),
                       self.change("h", 1, if_version=-1), self.change("i", 1, environment="a/b"))
        told = self.problem(bad, 400, "bad_request")
        self.assertEqual([e["pointer"] for e in told["errors"]], [
            "/changes/0/key", "/changes/1/value", "/changes/2/value", "/changes/3/op",
            "/changes/4/kind", "/changes/5/enviroment", "/changes/6", "/changes/7/key",
            "/changes/7/value", "/changes/8/if_version", "/changes/9/environment"])
        self.assertTrue(told["detail"].startswith("/changes/0/key: "), told)
        twice = self.txn(self.change("a", 1), self.change("a", 2))
        self.problem(twice, 400)
        for body in (b"{", b"7", b"{\"changes\":7}", b"{\"changes\":[],\"more\":1}",
                     b"{\"changes\":[],\"change_log\":7}"):
            self.problem(self.call("POST", "/v1/txn", body=body), 400)
        self.problem(self.call("GET", "/v1/txn"), 405)
        self.problem(self.call("POST", "/v1/txn?wet_run=true", body=[]), 400)
        self.assertEqual(self.done(self.call("POST", "/v1/txn", body=[]))["changed"], 0)

    def test_schema(self):
        """All of the faults of all the changes, also when it is only tried."""
        schema = dict(properties=dict(n=dict(type="integer")))
        self.assertIn(self.call("PUT", "/v1/schemas/" + self.name("s/"), body=schema).status,
                      (200, 201))
        for query in ("", "?dry_run=true"):
            told = self.problem(self.txn(self.change("s/a", dict(n="x")), self.change("free", 1),
                                         self.change("s/b", dict(n=1.5)), query=query),
                                422, "schema_violated")
            self.assertEqual([(e["key"], e["pointer"]) for e in told["errors"]],
                             [(self.name("s/a"), "/n"), (self.name("s/b"), "/n")])
        self.assertIsNone(self.value("free"))
        self.done(self.txn(self.change("s/a", dict(n=1)), change_log="as it should be"))

    def test_as_many_as_it_takes(self):
        many = [self.change("%03d" % i, i) for i in range(121)]
        self.problem(self.txn(*many), 413, "changes")
        self.assertEqual(self.done(self.txn(*many[:120]))["changed"], 120)
        drop = [self.change("%03d" % i, op="delete") for i in range(61)]
        told = self.problem(self.txn(*drop, change_log="too many"), 413, "changes")
        self.assertIn("61", told["detail"])
        self.assertEqual(self.done(self.txn(*drop[:60], change_log="fits"))["changed"], 60)


class RollbackTest(History):
    def test_key(self):
        first = self.put("k", 1).json
        self.put("k", 2)
        plan = self.done(self.rollback(first["revision"], "?dry_run=true", key=self.name("k")))
        self.assertEqual(plan["items"][0]["diff"],
                         [dict(op="replace", path="", **{"from": 2, "to": 1})])
        self.assertEqual(self.value(), 2)
        done = self.done(self.rollback(first["revision"], key=self.name("k"), change_log="worse"))
        self.assertEqual((done["changed"], done["items"][0]["version"], self.value()), (1, 3, 1))
        newest = self.call("GET", "/v1/history/" + self.name("k")).json["items"][0]
        self.assertEqual((newest["value"], newest["change_log"]), (1, "worse"))
        self.assertEqual(self.done(self.rollback(first["revision"], key=self.name("k")))["changed"],
                         0)

    def test_prefix(self):
        self.put("p/a", 1)
        self.put("p/b", "two")
        then = self.put("q", 1).json["revision"]
        self.call("DELETE", self.config("p/a"))
        self.put("p/b", "three")
        self.put("p/c", 4)
        self.put("q", 2)
        keys = self.done(self.rollback(then, "?dry_run=true",
                                       keys=[self.name("p/a"), self.name("q")]))
        self.assertEqual([i["change"] for i in keys["items"]], ["added", "changed"])
        done = self.done(self.rollback(then, prefix=self.name("p/")))
        self.assertEqual([i["change"] for i in done["items"]], ["added", "changed", "removed"])
        self.assertEqual([self.value(k) for k in ("p/a", "p/b", "p/c", "q")], [1, "two", None, 2])

    def test_refused(self):
        now = self.put("k", 1).json["revision"]
        self.put("k", 2)
        self.problem(self.rollback(now + 1000, key="k"), 400, "revision_future")
        for body in (dict(key="k"), dict(revision=0, key="k"), dict(revision=now),
                     dict(revision=now, key="k", prefix="p"), dict(revision=now, keys=[]),
                     dict(revision=now, keys=["a\n"]), dict(revision="x", key="k"),
                     dict(revision=now, key="k", kind="poem"),
                     dict(revision=now, key="k", environment="a/b"),
                     dict(revision=now, key="k", unknown=1), 7):
            self.problem(self.call("POST", "/v1/rollback", body=body), 400)

    def test_too_many(self):
        then = self.put("k", 1).json["revision"]
        for part in range(2):
            self.done(self.txn(*[self.change("%d/%03d" % (part, i), i) for i in range(100)]))
        told = self.problem(self.rollback(then, prefix=self.name()), 413, "changes")
        self.assertIn("200 changes", told["detail"])
        self.assertEqual(self.done(self.rollback(then, prefix=self.name("0/")))["changed"], 100)


class EverythingTest(History):
    def test_everything(self):
        """Configs of all environments, which inherits which, and flags; then beyond what is
        kept."""
        flag = dict(state="ENABLED", variants=dict(on=True, off=False), defaultVariant="on")
        self.put("a", 1)
        self.call("PUT", "/v1/environments/prod", body=dict(parent="default"))
        then = self.call("PUT", "/v1/flags/f?environment=prod", body=flag)
        then = self.call("GET", "/v1/status").json["revision"]
        self.call("PUT", "/v1/environments/prod", body={})
        self.call("DELETE", "/v1/flags/f?environment=prod")
        self.call("PUT", self.config("a") + "?environment=prod", body=dict(value=2))
        self.assertEqual(self.done(self.rollback(then, everything=True))["changed"], 3)
        self.assertEqual(self.value("a", "prod"), 1)
        self.assertEqual(self.call("GET", "/v1/flags/f?environment=prod").status, 200)
        self.etcdctl("compact", str(self.call("GET", "/v1/status").json["revision"]))
        self.problem(self.rollback(then, everything=True), 410, "compacted")
        self.problem(self.rollback(then, key="a"), 410, "compacted")
        self.problem(self.diff(key="a", **{"from": then}), 410, "compacted")


class DiffTest(History):
    def test_revisions(self):
        old = self.put("k", dict(a=1, b=[1])).json["revision"]
        self.put("k", dict(a=2, b=[1]))
        told = self.done(self.diff(key=self.name("k"), **{"from": old}))
        (item,) = told["items"]
        self.assertEqual((item["change"], item["from"]["revision"], item["diff"]),
                         ("changed", old, [dict(op="replace", path="/a", **{"from": 1, "to": 2})]))
        self.assertEqual(told["from"], dict(environment="default", revision=old))
        none = self.done(self.diff(key=self.name("k"), **{"from": old, "to": old}))
        self.assertEqual(none["items"], [])
        before = self.done(self.diff(key=self.name("k"), **{"from": old - 1, "to": old}))
        self.assertEqual(before["items"][0]["change"], "added")

    def test_environments(self):
        for key, here, there in (("a", 1, 1), ("b", 1, 2), ("c", 1, None), ("d", None, 1)):
            for value, environment in ((here, "staging"), (there, "prod")):
                if value is not None:
                    self.call("PUT", self.config("x/" + key) + "?environment=" + environment,
                              body=dict(value=value))
        told = self.done(self.diff(prefix=self.name("x/"), environment="staging",
                                   to_environment="prod"))
        self.assertEqual([(i["key"][-1], i["change"]) for i in told["items"]],
                         [("b", "changed"), ("c", "removed"), ("d", "added")])

    def test_bounds(self):
        self.put("k", list(range(2000)))
        old = self.call("GET", self.config()).json["revision"]
        self.put("k", list(range(1, 2001)))
        (item,) = self.done(self.diff(key=self.name("k"), **{"from": old}))["items"]
        self.assertEqual((len(item["diff"]), item["truncated"]), (1000, True))
        for query in (dict(), dict(key="k", prefix="p"), dict(key="k", environment="/"),
                      dict(key=""), {"key": "k", "from": "x"}, dict(key="k", unknown="1"),
                      dict(key="k", consistency="wishful")):
            self.problem(self.diff(**query), 400)
        self.problem(self.diff(key="k", **{"from": 10 ** 12}), 400, "revision_future")


if __name__ == "__main__":
    main()
