"""Drafts: proposed, reviewed, published at once or at a time; with users, and through a change of
leader."""
import base64
import datetime
import json
import os
import subprocess
import sys
import unittest
import urllib.error
import urllib.request

from node import ROOT, Node, ServerTest, confman_bin, confman_only, main, wait_until
from history_test import History

sys.path.insert(0, os.path.join(ROOT, "tests", "cluster"))


def soon(ms):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(milliseconds=ms)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + "%03dZ" % (at.microsecond // 1000)


class Drafts(History):
    def propose(self, *changes, **more):
        answer = self.call("POST", "/v1/drafts", body=dict(more, changes=changes))
        self.assertEqual(answer.status, 201, answer)
        return answer.json

    def act(self, draft, verb, **body):
        return self.call("POST", "/v1/drafts/%d:%s" % (draft["id"], verb), body=body)

    def get(self, draft):
        return self.done(self.call("GET", "/v1/drafts/%d" % draft["id"]))


class DraftTest(Drafts):
    def test_life(self):
        self.put("a", dict(n=1))
        draft = self.propose(self.change("a", dict(n=2)), self.change("b", 1), title="two",
                             change_log="why not")
        self.assertEqual((draft["state"], draft["edit"], draft["author"], draft["conflicts"]),
                         ("open", 1, "anonymous", []))
        self.assertEqual(draft["items"][0]["diff"],
                         [dict(op="replace", path="/n", **{"from": 1, "to": 2})])
        self.assertEqual(self.value("a"), dict(n=1))
        told = self.done(self.act(draft, "comment", text="looks good"))
        told = self.done(self.act(draft, "approve", text="yes"))
        self.assertEqual([(r["type"], r["text"], r["edit"]) for r in told["reviews"]],
                         [("comment", "looks good", 1), ("approve", "yes", 1)])
        self.assertEqual(told["approvals"],
                         dict(needed=0, author_may_approve=True, given=["anonymous"]))
        done = self.done(self.act(draft, "publish"))
        self.assertEqual(done["state"], "published")
        self.assertEqual((self.value("a"), self.value("b")), (dict(n=2), 1))
        # One revision, the reason beside it, and not a second time.
        newest = self.call("GET", "/v1/history/" + self.name("a")).json["items"][0]
        self.assertEqual((newest["revision"], newest["change_log"]),
                         (done["published_revision"], "why not"))
        self.problem(self.act(draft, "publish"), 409, "draft_state")
        self.problem(self.act(draft, "reject"), 409, "draft_state")
        self.assertEqual(self.call("DELETE", "/v1/drafts/%d" % draft["id"]).status, 200)
        self.problem(self.call("GET", "/v1/drafts/%d" % draft["id"]), 404, "draft_not_found")

    def test_conflict(self):
        self.put("k", 1)
        draft = self.propose(self.change("k", 2), self.change("n", 1))
        self.put("k", 3)
        self.assertEqual([c["pointer"] for c in self.get(draft)["conflicts"]], ["/changes/0"])
        told = self.problem(self.act(draft, "publish"), 409, "conflict")
        self.assertEqual([e["pointer"] for e in told["errors"]], ["/changes/0"])
        again = self.call("PUT", "/v1/drafts/%d" % draft["id"],
                          body=dict(changes=[self.change("k", 4)]))
        self.assertEqual((self.done(again)["edit"], again.json["conflicts"]), (2, []))
        self.done(self.act(draft, "publish"))
        self.assertEqual((self.value("k"), self.value("n")), (4, None))

    def test_approval_is_of_an_edit(self):
        draft = self.propose(self.change("k", 1))
        self.done(self.act(draft, "approve"))
        edited = self.done(self.call("PUT", "/v1/drafts/%d" % draft["id"],
                                     body=dict(changes=[self.change("k", 2)])))
        self.assertEqual(edited["approvals"]["given"], [])
        rejected = self.done(self.act(draft, "reject", text="no"))
        self.assertEqual(rejected["state"], "rejected")
        self.problem(self.act(draft, "publish"), 409, "draft_state")

    def test_refused(self):
        self.put("same", 1)
        for changes, status in (([], 400), ([self.change("same", 1)], 400), ([dict(key="")], 400),
                                ([self.change("same", 2, if_version=7)], 412),
                                ([self.change("none", op="delete")], 412)):
            self.problem(self.call("POST", "/v1/drafts", body=dict(changes=changes)), status)
        draft = self.propose(self.change("k", 1))
        self.problem(self.act(draft, "comment"), 400)
        self.problem(self.act(draft, "comment", text="x" * 4001), 400)
        self.problem(self.act(draft, "nod"), 400)
        self.problem(self.act(draft, "cancel"), 409, "draft_state")
        for at in ("tomorrow", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00", -1, soon(-10000)):
            self.problem(self.act(draft, "schedule", at=at), 400)
        for path in ("/v1/drafts/x", "/v1/drafts/", "/v1/drafts/1:approve:x", "/v1/drafts/99999",
                     "/v1/drafts?state=open&limit=0", "/v1/drafts?unknown=1"):
            self.assertIn(self.call("GET", path).status, (400, 404))

    def test_schema(self):
        self.call("PUT", "/v1/schemas/" + self.name("s"), body=dict(type="integer"))
        bad = self.call("POST", "/v1/drafts", body=dict(changes=[self.change("s", "x")]))
        self.problem(bad, 422, "schema_violated")

    def test_list(self):
        ids = [self.propose(self.change("k", i), title="number %d" % i)["id"] for i in range(5)]
        page = self.done(self.call("GET", "/v1/drafts?limit=3"))
        self.assertEqual([d["id"] for d in page["items"]], ids[:1:-1])
        rest = self.done(self.call("GET", "/v1/drafts?before=%d" % page["next_before"]))
        self.assertEqual([d["id"] for d in rest["items"]][:2], ids[1::-1])
        self.done(self.act(dict(id=ids[0]), "reject"))
        rejected = self.done(self.call("GET", "/v1/drafts?state=rejected"))
        self.assertIn(ids[0], [d["id"] for d in rejected["items"]])
        self.assertNotIn(ids[1], [d["id"] for d in rejected["items"]])

    def test_scheduled(self):
        """At its time and not before; once; conflicts fail it; it can be taken back."""
        due = self.propose(self.change("due", 1), change_log="as planned")
        late = self.propose(self.change("late", 1))
        moved = self.propose(self.change("moved", 1))
        at = soon(1500)
        for draft in (due, moved):
            told = self.done(self.act(draft, "schedule", at=at))
            self.assertEqual((told["state"], told["publish_at"]), ("scheduled", at))
        self.done(self.act(late, "schedule", at=soon(3600000)))
        self.assertIsNone(self.value("due"))
        self.put("moved", 7)
        wait_until(lambda: self.value("due") == 1, 10, "it is published at its time")
        self.assertGreaterEqual(soon(0), at)
        published = self.get(due)
        self.assertEqual(published["state"], "published")
        failed = wait_until(lambda: self.get(moved)["state"] == "failed" and self.get(moved), 10,
                            "what has moved is not published")
        self.assertIn("changed since", failed["why"])
        self.assertEqual(self.value("moved"), 7)
        self.assertEqual(self.get(late)["state"], "scheduled")
        self.assertEqual(self.done(self.act(late, "cancel"))["state"], "open")
        self.assertEqual(self.etcdctl("get", "--prefix", "confman/draft-due/"), "")
        metrics = self.call("GET", "/metrics").body.decode()
        self.assertRegex(metrics, r"confman_drafts_due_total(\{\})? 1\b")
        self.assertRegex(metrics, r"confman_drafts_failed_total(\{\})? 1\b")


@confman_only
class RetentionTest(Drafts):
    """Of those that are done the newest are kept; what is not done stays."""
    node_args = ("--drafts-keep", "2")

    @classmethod
    def setUpClass(cls):
        cls.node = Node(args=cls.node_args).start()

    def test_the_newest_stay(self):
        drafts = [self.propose(self.change("k%d" % i, i)) for i in range(5)]
        self.done(self.act(drafts[1], "comment", text="no"))
        for i, verb in ((0, "publish"), (1, "reject"), (3, "publish"), (4, "publish")):
            self.done(self.act(drafts[i], verb))
        def stay():
            return [d["id"] for d in self.call("GET", "/v1/drafts").json["items"]]
        left = [drafts[i]["id"] for i in (4, 3, 2)]
        wait_until(lambda: stay() == left, 10, "the older ones are put away")
        self.assertNotIn("%016d" % drafts[1]["id"],
                         self.etcdctl("get", "--prefix", "confman/draft/"))
        self.assertRegex(self.call("GET", "/metrics").body.decode(),
                         r"confman_drafts_removed_total(\{\})? 2\b")
        self.assertEqual(self.value("k0"), 0)


@confman_only
class ReviewTest(ServerTest):
    """Who may do what: ann proposes, bob reviews, eve has no rights to the configs."""
    args = ("--auth-token", "simple")

    def ask(self, user, method, path, body=None):
        r = urllib.request.Request(self.node.url + path, method=method,
                                   data=None if body is None else json.dumps(body).encode())
        r.add_header("content-type", "application/json")
        if user:
            r.add_header("authorization", "Basic " + base64.b64encode(
                ("%s:%s" % (user, user)).encode()).decode())
        try:
            with urllib.request.urlopen(r, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as e:
            return e.code, json.loads(e.read())

    def cli(self, *args):
        subprocess.run([confman_bin(), *args, "--endpoint", self.node.endpoint], check=True,
                       capture_output=True, timeout=30)

    def by_etcd(self, user, *args):
        return subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, "--user",
                               user + ":" + user, *args], check=True, capture_output=True,
                              text=True, timeout=30, env=dict(os.environ, ETCDCTL_API="3")).stdout

    def forged(self):
        """eve may write below confman/draft, and nothing else: by etcd's door she may say what she
        likes there, and it does not count."""
        change = dict(key="app/f", value="meant")
        draft = self.ask("ann", "POST", "/v1/drafts", dict(changes=[change]))[1]
        path, key = "/v1/drafts/%d" % draft["id"], "confman/draft/%016d" % draft["id"]
        self.by_etcd("eve", "put", key + "/0000000000000999", '{"type":"approve","edit":1}')
        told = self.ask("ann", "GET", path)[1]
        self.assertEqual(([r["by"] for r in told["reviews"]], told["approvals"]["given"]),
                         (["eve"], []))
        self.assertEqual(self.ask("ann", "POST", path + ":publish")[0], 409)
        for method, ask, body in (("GET", "", None), ("DELETE", "", None), ("POST", ":cancel", {}),
                                  ("PUT", "", dict(changes=[change])),
                                  ("POST", ":comment", dict(text="x"))):
            self.assertEqual(self.ask("eve", method, path + ask, body)[0], 403, method + ask)
        self.assertEqual(self.ask("eve", "GET", "/v1/drafts")[1]["items"], [])
        # What somebody scheduled is published as it was then, or not at all.
        change = dict(key="free", value="meant")
        draft = self.ask("root", "POST", "/v1/drafts", dict(changes=[change]))[1]
        path, key = "/v1/drafts/%d" % draft["id"], "confman/draft/%016d" % draft["id"]
        self.assertEqual(self.ask("root", "POST", path + ":schedule", dict(at=soon(800)))[0], 200)
        record = self.by_etcd("eve", "get", "--print-value-only", key).strip()
        self.by_etcd("eve", "put", key, record.replace("meant", "slipped in"))
        failed = wait_until(lambda: self.ask("root", "GET", path)[1]["state"] == "failed" and
                            self.ask("root", "GET", path)[1], 15, "it is not published")
        self.assertIn("edited after", failed["why"])
        self.assertEqual(self.ask("root", "GET", "/v1/config/free")[0], 404)

    def test_review(self):
        for user in ("root", "ann", "bob", "eve"):
            self.cli("user", "add", "%s:%s" % (user, user))
        for role, prefixes in (("dev", ("confman/draft", "confman/config/default/app/")),
                               ("out", ("confman/draft",))):
            self.cli("role", "add", role)
            for prefix in prefixes:
                self.cli("role", "grant-permission", role, "readwrite", prefix, "--prefix")
        self.cli("role", "add", "root")
        for user, role in (("root", "root"), ("ann", "dev"), ("bob", "dev"), ("eve", "out")):
            self.cli("user", "grant-role", user, role)
        status, _ = self.ask(None, "PUT", "/v1/guards/app/", dict(approvals=1))
        self.assertIn(status, (200, 201))
        self.cli("auth", "enable")
        body = dict(changes=[dict(key="app/a", value=1)])
        self.assertEqual(self.ask(None, "POST", "/v1/drafts", body)[0], 401)
        self.assertEqual(self.ask("eve", "POST", "/v1/drafts", body)[0], 403)
        status, draft = self.ask("ann", "POST", "/v1/drafts", body)
        self.assertEqual((status, draft["author"]), (201, "ann"))
        path = "/v1/drafts/%d" % draft["id"]
        # A guarded config is not written past its draft, and not by its author's word alone.
        self.assertEqual(self.ask("ann", "PUT", "/v1/config/app/a", dict(value=1))[0], 409)
        self.assertEqual(self.ask("ann", "POST", path + ":approve")[0], 200)
        self.assertEqual(self.ask("ann", "POST", path + ":publish")[0], 409)
        self.assertEqual(self.ask("eve", "POST", path + ":approve")[0], 403)
        self.assertNotIn("items", self.ask("eve", "GET", path)[1])
        status, told = self.ask("bob", "POST", path + ":approve", dict(text="fine"))
        self.assertEqual((status, told["approvals"]["given"]), (200, ["bob"]))
        self.assertEqual(self.ask("eve", "POST", path + ":publish")[0], 403)
        self.assertEqual(self.ask("ann", "POST", path + ":publish")[0], 200)
        self.assertEqual(self.ask("ann", "GET", "/v1/config/app/a")[1]["updated_by"], "ann")
        self.forged()
        # Who lost the right meanwhile does not publish at the time either.
        status, draft = self.ask("ann", "POST", "/v1/drafts",
                                 dict(changes=[dict(key="app/b", value=1)]))
        path = "/v1/drafts/%d" % draft["id"]
        self.ask("bob", "POST", path + ":approve")
        self.assertEqual(self.ask("ann", "POST", path + ":schedule", dict(at=soon(2000)))[0], 200)
        self.cli("user", "revoke-role", "ann", "dev", "--user", "root:root")
        failed = wait_until(lambda: self.ask("bob", "GET", path)[1]["state"] == "failed" and
                            self.ask("bob", "GET", path)[1], 15, "it is not published")
        self.assertIn("permission denied", failed["why"])
        self.assertEqual(self.ask("bob", "GET", "/v1/config/app/b")[0], 404)


@confman_only
class LeaderTest(unittest.TestCase):
    def test_survives_the_leader(self):
        """Scheduled, then the leader is killed: published by the next, once."""
        from cluster import Cluster
        with Cluster(3) as cluster:
            first = cluster.leader()
            others = [m for m in cluster.running() if m is not first]

            def ask(method, path, body=None):
                r = urllib.request.Request("http://%s%s" % (others[0].endpoint, path),
                                           method=method,
                                           data=body and json.dumps(body).encode())
                with urllib.request.urlopen(r, timeout=20) as answer:
                    return json.loads(answer.read())
            draft = ask("POST", "/v1/drafts", dict(changes=[dict(key="k", value=1)]))
            path = "/v1/drafts/%d" % draft["id"]
            ask("POST", path + ":schedule", dict(at=soon(2500)))
            first.kill()

            def published():
                try:
                    told = ask("GET", path)
                except (OSError, urllib.error.HTTPError):
                    return None
                return told["state"] == "published" and told
            wait_until(published, 20, "it is published by the next leader")
            self.assertEqual(ask("GET", "/v1/config/k")["version"], 1)


del History
if __name__ == "__main__":
    main()
