"""Users, roles and logins over REST: what the page and confman use, with curl."""
import base64
import http.client
import json
import os
import re
import subprocess
import unittest
import urllib.parse
import urllib.request

from node import Node, confman_bin, confman_only, main, wait_until
from web import curl

JSON = ("-H", "content-type: application/json")


@confman_only
class AccessTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node(args=["--bcrypt-cost", "4", "--login-failures-max", "0"])
        cls.audit = os.path.join(cls.node.folder, "audit.log")
        cls.node.args += ["--audit-log", cls.audit]
        cls.node.start()
        cls.ask_of(cls, "PUT", "roles/dev", {"grants": [
            {"environment": "test", "prefix": "app/", "verbs": ["read", "write"]},
            {"namespace": "team", "verbs": ["reveal"]}]})
        for user, roles in (("root", ["root"]), ("ann", ["dev"])):
            cls.ask_of(cls, "PUT", "users/" + user, {"roles": roles})
            cls.ask_of(cls, "POST", "users/%s?action=password" % user, {"password": user + "!"})
        curl(cls.node.url + "/v3/auth/enable", body=b"{}")

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def ask_of(self, method, path, body=None, status=200, args=(), user=None):
        more = ("-u", "%s:%s!" % (user, user)) if user else ()
        a = curl(self.node.url + "/v1/" + path, *JSON, "-X", method, *more, *args,
                 body=None if body is None else json.dumps(body).encode())
        assert a.status == status, (method, path, a)
        return a

    def ask(self, method, path, body=None, status=200, args=(), user="root"):
        return self.ask_of(method, path, body, status, args, user).json

    def login(self, user, cookie=True):
        return self.ask_of("POST", "login", {"user": user, "password": user + "!",
                                             "cookie": cookie})

    def test_roles_are_reached(self):
        before = self.ask("GET", "roles/dev")
        self.assertIn({"environment": "test", "prefix": "app/", "verbs": ["read", "write"]},
                      before["grants"])
        self.assertIn({"namespace": "team", "prefix": "", "verbs": ["reveal"]}, before["grants"])
        self.assertEqual(self.ask("PUT", "roles/copy", {"permissions": before["permissions"]})
                         ["permissions"], before["permissions"])
        some = {"permissions": [{"right": "read", "key": "a", "range_end": "c"},
                                {"right": "readwrite", "prefix": "all/"}]}
        self.assertEqual(self.ask("PUT", "roles/copy", some)["permissions"], some["permissions"])
        self.ask("POST", "roles/copy?action=grant",
                 {"environment": "prod", "prefix": "x/", "verbs": ["read", "approve"]})
        after = self.ask("GET", "roles/copy")
        self.assertEqual([g["verbs"] for g in after["grants"]], [["approve"], ["read"]])
        self.assertIn(some["permissions"][0], after["permissions"])
        self.ask("POST", "roles/copy?action=revoke",
                 {"environment": "prod", "prefix": "x/", "verbs": ["read", "write", "approve"]})
        self.assertEqual(self.ask("GET", "roles/copy")["grants"], [])
        self.assertIn("copy", [r["name"] for r in self.ask("GET", "roles")["roles"]])
        self.ask("DELETE", "roles/copy")
        self.ask("GET", "roles/copy", status=404)

    def lines(self, wanted):
        """Those of the audit log for which wanted holds, once there are some."""
        def look():
            with open(self.audit, encoding="utf-8") as f:
                return [line for line in map(json.loads, f) if wanted(line)]
        return wait_until(look, 5, "there is such a line")

    def test_what_is_refused_is_in_the_audit_log(self):
        self.ask("PUT", "config/tried", {"value": 1}, 403, user="ann")
        line = self.lines(lambda line: line.get("asked") == ["confman/config/default/tried"])[0]
        self.assertEqual((line["user"], line["result"]), ("ann", "permission_denied"))
        self.ask("GET", "secrets/tried", status=403, user="ann")
        line = self.lines(lambda line: line.get("path") == "tried")[0]
        self.assertEqual((line["user"], line["result"]), ("ann", "permission_denied"))
        self.ask_of("POST", "login", {"user": "tried", "password": "x"}, 401)
        line = self.lines(lambda line: line.get("about_user") == "tried")[0]
        self.assertEqual((line["request"], line["result"]), ("authenticate", "auth_failed"))

    def test_strangers_do_not_fill_the_audit_log(self):
        body = b'{"key": "c3RyYW5nZXI=", "value": "eA=="}'

        def stranger(line):
            return line.get("key") == "stranger"

        def dropped():
            metrics = curl(self.node.url + "/metrics").body.decode()
            return int(re.search(r"^confman_audit_nobody_dropped_total (\d+)", metrics, re.M)[1])

        def flood():
            c = http.client.HTTPConnection(self.node.endpoint, timeout=20)
            for _ in range(500):
                c.request("POST", "/v3/kv/put", body)
                c.getresponse().read()
            c.close()
            return dropped() > 0
        wait_until(flood, 20, "lines are left out")
        self.assertTrue(self.lines(stranger))

    def stream(self, path, authorization):
        """The events of a stream that has begun; each call of next gives one."""
        r = urllib.request.Request(self.node.url + "/v1/" + path)
        r.add_header("authorization", authorization)
        answer = urllib.request.urlopen(r, timeout=10)
        self.addCleanup(answer.close)
        return (line[7:].strip().decode() for line in answer if line.startswith(b"event: "))

    def test_streams_end_with_what_proved_them(self):
        """A key that is taken, an account that is disabled, a password that is changed: nothing
        further is told."""
        def begin(authorization):
            streams = [self.stream(path + "?prefix=app/&environment=test", authorization)
                       for path in ("watch", "subscribe")]
            self.assertEqual([next(streams[0]), next(streams[1]), next(streams[1])],
                             ["ready", "welcome", "subscribed"])
            return streams

        def ended(streams):
            self.ask("PUT", "config/app/streams?environment=test", {"value": "x"})
            self.assertEqual([next(s) for s in streams], ["denied", "denied"])
        self.ask("PUT", "config/app/streams?environment=test", {"value": ""}, 201)
        account = "service-accounts/streams"
        self.ask("PUT", account, {"roles": ["dev"]})
        one, two = (self.ask("POST", account + "?action=key", {})["key"] for _ in range(2))
        streams = begin("Bearer " + one)
        others = begin("Bearer " + two)
        self.ask("DELETE", account + "?key=" + one.split("_")[2])
        ended(streams)
        self.assertEqual([next(s) for s in others], ["put", "changes"])
        self.ask("PUT", account, {"roles": ["dev"], "disabled": True})
        ended(others)
        self.ask("PUT", "users/old", {"roles": ["dev"]})
        self.ask("POST", "users/old?action=password", {"password": "old!"})
        token = self.ask_of("POST", "login", {"user": "old", "password": "old!"}).json["token"]
        streams = begin("Basic b2xkOm9sZCE=") + begin("Bearer " + token)
        others = begin("Basic YW5uOmFubiE=")
        self.ask("POST", "users/old?action=password", {"password": "new!"})
        ended(streams[:2])
        self.assertEqual([next(s) for s in streams[2:]], ["denied", "denied"])
        self.assertEqual([next(s) for s in others], ["put", "changes"])

    def test_nobody_sends_much(self):
        """Nothing large is read of whom nobody knows, at no door of HTTP."""
        much = {"value": "x" * 100000}
        self.ask("PUT", "config/app/much?environment=test", much, 201, user="ann")
        self.ask("PUT", "config/app/much?environment=test", much, 401, user=None)
        self.ask("PUT", "config/app/much?environment=test", {"value": "x"}, 401, user=None)
        self.ask("POST", "login", {"user": "ann", "password": "ann!", "more": much}, 401, user=None)
        wrong = curl(self.node.url + "/v1/config/app/much", "-u", "ann:wrong", "-X", "PUT", *JSON,
                     body=json.dumps(much).encode())
        self.assertEqual(wrong.status, 401)
        put = json.dumps({"key": "YQ==", "value": "eHh4" * 30000}).encode()
        gate = curl(self.node.url + "/v3/kv/put", body=put)
        self.assertEqual((gate.status, gate.json["error"]),
                         (400, "etcdserver: user name is empty"))

    def test_users_are_reached(self):
        self.ask("PUT", "users/new%20one", {"roles": ["dev"]})
        self.assertIn({"name": "new one", "roles": ["dev"]}, self.ask("GET", "users")["users"])
        self.assertEqual(self.ask("PUT", "users/new%20one", {"roles": []})["roles"], [])
        self.ask("PUT", "users/new%20one", {"roles": ["none"]}, 404)
        self.ask_of("POST", "login", {"user": "new one", "password": "*"}, 401)
        self.ask_of("POST", "login", {"user": "new one", "password": ""}, 401)
        self.ask("DELETE", "users/new%20one")
        self.ask("GET", "users/new%20one", status=404)

    def test_what_a_grant_lets_do(self):
        self.ask("PUT", "config/app/a?environment=test", {"value": 1, "type": "number"}, 201,
                 user="ann")
        self.ask("GET", "config/app/a?environment=test", user="ann")
        for method, path, body in (("PUT", "config/b?environment=test", {"value": 1}),
                                   ("PUT", "config/app/a?environment=prod", {"value": 1}),
                                   ("GET", "config/app/a?environment=prod", None),
                                   ("PUT", "environments/test", {}), ("GET", "users", None),
                                   ("GET", "roles", None), ("GET", "users/root", None),
                                   ("PUT", "users/ann", {"roles": ["root"]}),
                                   ("PUT", "roles/dev", {"permissions": []}),
                                   ("POST", "roles/dev?action=grant",
                                    {"environment": "prod", "verbs": ["read"]}),
                                   ("DELETE", "roles/dev", None),
                                   ("POST", "users/root?action=password", {"password": "x"})):
            self.ask(method, path, body, 403, user="ann")
            self.ask(method, path, body, 401, user=None)
        self.assertEqual(self.ask("GET", "users/ann", user="ann")["roles"], ["dev"])

    def test_who_i_am(self):
        me = self.ask("GET", "me", user="ann")
        self.assertEqual((me["user"], me["admin"], [r["name"] for r in me["roles"]]),
                         ("ann", False, ["dev"]))
        self.assertTrue(self.ask("GET", "me")["admin"])
        self.ask("GET", "me", status=401, user=None)
        ways = self.ask("GET", "login", user=None)
        self.assertTrue(ways["required"])
        self.assertIn({"type": "password"}, ways["methods"])

    def test_a_session(self):
        a = self.login("ann")
        self.assertNotIn("token", a.json)
        cookie, rest = a.headers["set-cookie"].split(";", 1)
        self.assertIn("HttpOnly", rest)
        self.assertIn("SameSite=Strict", rest)
        self.assertNotIn("Secure", rest)
        session = ("-b", "other=1; " + cookie)
        self.assertEqual(self.ask("GET", "me", args=session, user=None)["user"], "ann")
        for more, status in (("--http2-prior-knowledge", 201), ("--http1.1", 200)):
            self.ask("PUT", "config/app/s?environment=test", {"value": "x"}, status, args=(
                *session, "-H", "origin: " + self.node.url, more), user=None)
        for foreign in ("origin: https://evil.example", "sec-fetch-site: cross-site",
                        "sec-fetch-site: same-site"):
            self.ask("PUT", "config/app/s?environment=test", {"value": "y"},
                     403 if foreign.startswith("origin") else 401,
                     args=(*session, "-H", foreign), user=None)
        # What a form of a page could send is nobody's, even from the same place.
        change = b'{"changes": [{"key": "a", "environment": "prod", "value": 1}]}'
        for kind, status in (("", 401), ("text/plain", 401),
                             ("application/x-www-form-urlencoded", 401),
                             ("multipart/form-data; boundary=x", 401), ("application/json", 403)):
            a = curl(self.node.url + "/v1/txn", *session, "-H", "content-type: " + kind,
                     body=change)
            self.assertEqual(a.status, status, kind)
        # Neither etcd's doors nor a bearer's place take a cookie.
        a = curl(self.node.url + "/v3/kv/range", *session, body=b'{"key": "YQ=="}')
        self.assertGreaterEqual(a.status, 400)
        out = self.ask_of("POST", "logout", args=session)
        self.assertIn("Max-Age=0", out.headers["set-cookie"])
        self.ask("GET", "me", status=401, args=session, user=None)

    def test_a_token(self):
        a = self.login("ann", cookie=False)
        self.assertNotIn("set-cookie", a.headers)
        bearer = ("-H", "authorization: Bearer " + a.json["token"])
        self.assertEqual(self.ask("GET", "me", args=bearer, user=None)["user"], "ann")
        self.ask_of("POST", "login", {"user": "ann", "password": "wrong"}, 401)
        self.ask_of("POST", "login", {"user": "nobody", "password": "wrong"}, 401)

    def test_cli(self):
        def cli(*args, code=0):
            done = subprocess.run([confman_bin(), *args, "--endpoint", self.node.endpoint,
                                   "--user", "root:root!"], capture_output=True, timeout=30)
            self.assertEqual(done.returncode, code, done)
        cli("role", "grant", "cli", "a/", "--environment", "prod", "--verbs", "read,write")
        cli("role", "grant", "cli", "--namespace", "n", "--verbs", "reveal")
        self.assertEqual(self.ask("GET", "roles/cli")["grants"], [
            {"environment": "prod", "prefix": "a/", "verbs": ["read", "write"]},
            {"namespace": "n", "prefix": "", "verbs": ["reveal"]}])
        cli("role", "revoke", "cli", "--namespace", "n", "--verbs", "reveal")
        cli("role", "revoke", "cli", "a/", "--environment", "prod", "--verbs", "read,write")
        self.assertEqual(self.ask("GET", "roles/cli")["grants"], [])
        cli("role", "grant", "cli", "--namespace", "n", "--verbs", "read", code=1)
        cli("role", "grant", "cli", "--verbs", "read", code=2)

    def test_cli_of_service_accounts(self):
        def cli(*args, code=0):
            done = subprocess.run([confman_bin(), "service-account", *args, "--endpoint",
                                   self.node.endpoint, "--user", "root:root!"], text=True,
                                  capture_output=True, timeout=30)
            self.assertEqual(done.returncode, code, done)
            return done.stdout
        self.assertEqual(cli("set", "robot", "--roles", "dev"), "OK\n")
        key = cli("key", "add", "robot", "--key-ttl", "600").strip()
        self.assertRegex(key, "^cmk_robot_[0-9a-f]{8}_")
        bearer = ("-H", "authorization: Bearer " + key)
        me = self.ask("GET", "me", args=bearer, user=None)
        self.assertEqual((me["user"], me["roles"][0]["name"]), ("service:robot", "dev"))
        newer = cli("key", "rotate", "robot", "--grace", "600").strip()
        ids = [k.split("_")[2] for k in (key, newer)]
        shown = cli("show", "robot").splitlines()
        self.assertRegex(shown[0], r"^robot +enabled +2 keys  dev$")
        self.assertEqual([line.split()[0] for line in shown[2:]], ids)
        self.assertTrue(shown[3].endswith("never"), shown)
        self.assertEqual(json.loads(cli("show", "robot", "--output", "json"))["name"], "robot")
        self.assertIn("robot ", cli("list"))
        cli("key", "revoke", "robot", ids[0])
        self.ask("GET", "me", status=401, args=bearer, user=None)
        cli("set", "robot", "--disabled")
        self.assertIn("disabled", cli("show", "robot"))
        cli("delete", "robot")
        cli("show", "robot", code=1)
        for wrong in (("add", "x"), ("key", "add"), ("set", "a/b"), ("key", "revoke", "robot")):
            cli(*wrong, code=2)

    def test_who_may_approve(self):
        for user, verbs in (("rev", ["approve"]), ("look", ["read"])):
            self.ask("PUT", "roles/" + user, {"grants": [
                {"environment": "test", "prefix": "app/", "verbs": verbs}]})
            self.ask("PUT", "users/" + user, {"roles": [user]})
            self.ask("POST", "users/%s?action=password" % user, {"password": user + "!"})
        draft = self.ask("POST", "drafts?environment=test", {
            "title": "t", "changes": [{"key": "app/d", "environment": "test", "value": 1}]}, 201,
            user="ann")
        path = "drafts/%s" % draft["id"]
        self.ask("POST", path + ":approve", {}, 403, user="look")
        self.ask("POST", path + ":approve", {}, user="rev")
        self.ask("POST", path + ":publish", {}, 403, user="rev")
        self.ask("POST", path + ":publish", {}, user="ann")

    def people(self, **verbs):
        for user, words in verbs.items():
            self.ask("PUT", "roles/" + user, {"grants": [
                {"environment": "test", "prefix": "v/", "verbs": words}]})
            self.ask("PUT", "users/" + user, {"roles": [user]})
            self.ask("POST", "users/%s?action=password" % user, {"password": user + "!"})

    def txn(self, user, *ops, compare=()):
        def text(s):
            return base64.b64encode(s.encode()).decode()
        token = self.ask_of("POST", "login", {"user": user, "password": user + "!"}).json["token"]
        ops = [{"requestPut": {"key": text(k), "value": text(v)}} if v is not None else
               {"requestDeleteRange": {"key": text(k)}} for k, v in ops]
        compare = [{"key": text(k), "target": "MOD", "modRevision": n} for k, n in compare]
        a = curl(self.node.url + "/v3/kv/txn", "-H", "authorization: Bearer " + token,
                 body=json.dumps({"compare": compare, "success": ops}).encode())
        return a.json.get("message", "done")

    def test_verbs(self):
        self.people(putter=["put"], taker=["delete"], maker=["propose"], issuer=["publish"])
        denied = "etcdserver: permission denied"
        config = "config/v/%s?environment=test"
        self.ask("PUT", config % "a", {"value": 1}, 201, user="putter")
        self.ask("DELETE", config % "a", status=403, user="putter")
        self.ask("PUT", config % "a", {"value": 2}, 403, user="taker")
        self.ask("PUT", "config/w?environment=test", {"value": 2}, 403, user="putter")
        both = {"changes": [{"key": "v/a", "environment": "test", "op": "delete"},
                            {"key": "v/b", "environment": "test", "value": 1}]}
        for user in ("putter", "taker", "maker", "issuer"):
            self.ask("POST", "txn", both, 403, user=user)
        # By etcd's door the same: put is not delete, nor is a lease a way around it.
        at = "confman/config/test/v/a"
        self.assertEqual(self.txn("putter", (at, "3")), "done")
        self.assertEqual(self.txn("putter", (at, None)), denied)
        self.assertEqual(self.txn("taker", (at, "4")), denied)
        lease = curl(self.node.url + "/v3/lease/grant", "-u", "putter:putter!",
                     body=b'{"TTL": 60}').json["ID"]
        a = curl(self.node.url + "/v3/kv/put", "-u", "putter:putter!", body=json.dumps(
            {"key": base64.b64encode(at.encode()).decode(), "lease": lease}).encode())
        self.assertEqual(a.json["message"], denied)
        # Whoever proposes cannot approve or publish, whoever publishes cannot write.
        draft = self.ask("POST", "drafts?environment=test", {"title": "t", **both}, 201,
                         user="maker")
        path = "drafts/%s" % draft["id"]
        self.ask("POST", path + ":comment", {"text": "look"}, user="maker")
        for what in ("approve", "publish"):
            for user in ("maker", "putter", "taker"):
                self.ask("POST", "%s:%s" % (path, what), {}, 403, user=user)
        self.ask("POST", path + ":schedule", {"at": "2040-01-01T00:00:00Z"}, 403, user="maker")
        self.ask("POST", "drafts?environment=prod", {"title": "t", "changes": [
            {"key": "v/a", "environment": "prod", "value": 1}]}, 403, user="maker")
        self.assertEqual(self.txn("issuer", (at, "5")), denied)
        key = "confman/draft/%016d" % draft["id"]
        self.assertEqual(self.txn("issuer", (key + "/state", "{}"), (at, "5"),
                                  compare=[(key, draft["id"])]), denied)
        self.ask("POST", path + ":schedule", {"at": "2040-01-01T00:00:00Z"}, user="issuer")
        self.ask("POST", path + ":cancel", {}, user="maker")
        self.ask("POST", path + ":publish", {}, user="issuer")
        self.ask("GET", config % "a", status=404, user="taker")
        self.ask("DELETE", config % "b", user="taker")
        me = self.ask("GET", "me", user="issuer")["roles"][0]["grants"]
        self.assertEqual(sorted(g["verbs"] for g in me), [["publish"], ["read"]])
        self.ask("POST", "roles/maker?action=revoke",
                 {"environment": "test", "prefix": "v/", "verbs": ["propose"]})
        self.ask("POST", "drafts?environment=test", {"title": "t", "changes": [
            {"key": "v/c", "environment": "test", "value": 1}]}, 403, user="maker")

    def test_an_approval_past_the_door_counts_for_nothing(self):
        self.people(boss=["write"], peer=["approve"], sly=["propose"])
        self.ask("PUT", "guards/v/guarded", {"approvals": 1, "environments": ["test"]}, 201)
        draft = self.ask("POST", "drafts?environment=test", {"title": "t", "changes": [
            {"key": "v/guarded", "environment": "test", "value": 1}]}, 201, user="boss")
        path, key = "drafts/%s" % draft["id"], "confman/draft/%016d" % draft["id"]
        self.assertEqual(self.txn("sly", (key + "/%016d" % 99999999,
                                          '{"type": "approve", "edit": 1, "text": ""}')), "done")
        self.assertEqual(self.ask("GET", path, user="boss")["approvals"]["given"], [])
        self.ask("POST", path + ":publish", {}, 409, user="boss")
        self.ask("POST", path + ":approve", {}, user="peer")
        self.assertEqual(self.ask("GET", path, user="boss")["approvals"]["given"], ["peer"])
        self.ask("POST", path + ":publish", {}, user="boss")

    def test_service_accounts(self):
        made = self.ask("PUT", "service-accounts/ci-1", {"roles": ["dev"]})
        self.assertEqual(made, {"name": "service:ci-1", "roles": ["dev"]})
        one = self.ask("POST", "service-accounts/ci-1?action=key", {})["key"]
        self.assertTrue(one.startswith("cmk_ci-1_"))

        def me(key, status=200):
            return self.ask("GET", "me", None, status,
                            ("-H", "authorization: Bearer " + key), user=None)
        self.assertEqual(me(one)["user"], "service:ci-1")
        for wrong in (one[:-1] + ("A" if one[-1] != "A" else "B"), one.replace("ci-1", "ci-2"),
                      one[:-44] + one[-43:], one + "x", "cmk_"):
            me(wrong, 401)
        a = curl(self.node.url + "/v3/kv/range", "-H", "authorization: Bearer " + one,
                 body=b'{"key": "YQ=="}')
        self.assertEqual(a.json["message"], "etcdserver: permission denied")
        # A rotation leaves the old key for a while; a key may end by itself; one may be taken.
        two = self.ask("POST", "service-accounts/ci-1?action=rotate", {"grace_s": 600})["key"]
        me(one), me(two)
        three = self.ask("POST", "service-accounts/ci-1?action=rotate", {"ttl_s": 600})["key"]
        me(one, 401), me(two, 401), me(three)
        known = self.ask("GET", "service-accounts/ci-1")
        self.assertEqual((known["user"], known["roles"], known["disabled"]),
                         ("service:ci-1", ["dev"], False))
        ids = [k["id"] for k in known["keys"]]
        self.assertNotIn(three.split("_")[3], json.dumps(known))
        self.assertIn("expires_at_ms", known["keys"][-1])
        self.ask("DELETE", "service-accounts/ci-1?key=" + ids[-1])
        self.ask("DELETE", "service-accounts/ci-1?key=" + ids[-1], status=404)
        me(three, 401)
        four = self.ask("POST", "service-accounts/ci-1?action=key", {})["key"]
        me(four)
        self.ask("PUT", "service-accounts/ci-1", {"roles": [], "disabled": True})
        me(four, 401)
        self.ask("PUT", "service-accounts/ci-1", {"roles": []})
        self.assertEqual(me(four)["roles"], [])
        for _ in range(9):
            self.ask("POST", "service-accounts/ci-1?action=key", {})
        self.ask("POST", "service-accounts/ci-1?action=key", {}, 409)
        self.ask("PUT", "service-accounts/ci-1", {"roles": ["root"]}, 403, user="ann")
        self.ask("POST", "service-accounts/ci-1?action=key", {}, 403, user="ann")
        self.ask("GET", "service-accounts", status=403, user="ann")
        self.ask("GET", "service-accounts/none", status=404)
        self.ask("POST", "service-accounts/none?action=key", {}, 404)
        self.ask("PUT", "service-accounts/a_b", {"roles": []}, 400)
        self.ask("POST", "service-accounts/ci-1?action=key", {"ttl_s": -1}, 400)
        self.assertEqual([a["name"] for a in self.ask("GET", "service-accounts")
                          ["service_accounts"]], ["ci-1"])
        self.ask("DELETE", "service-accounts/ci-1")
        me(four, 401)
        self.ask("GET", "users/service:ci-1", status=404)

    def test_refused(self):
        for path, body in (("users/x", {}), ("users/x", {"roles": [1]}), ("users/x", []),
                           ("users/", {"roles": []}), ("users/%ff", {"roles": []}),
                           ("users/x", {"roles": ["r"] * 65}), ("roles/root", {"permissions": []}),
                           ("roles/x", {"permissions": [{"right": "all", "key": "a"}]}),
                           ("roles/x", {"permissions": [{"right": "read"}]}),
                           ("roles/x", {"permissions": [{"right": "read", "prefix": "%d" % i}
                                                        for i in range(257)]}),
                           ("roles/x", {"grants": [{"environment": "a/b", "verbs": ["read"]}]}),
                           ("roles/x", {"grants": [{"environment": "a", "verbs": []}]}),
                           ("roles/x", {"grants": [{"environment": "a", "verbs": ["reveal"]}]}),
                           ("roles/x", {"grants": [{"namespace": "a", "verbs": ["approve"]}]}),
                           ("roles/x", {"grants": [{"environment": "a", "verbs": ["destroy"]}]})):
            self.ask("PUT", path, body, 400)
        self.ask("POST", "roles/dev?action=none", {}, 400)
        self.ask("GET", "me?what=1", status=400)
        self.ask_of("POST", "login", {"user": "ann"}, 400)
        a = curl(self.node.url + "/v1/login", "-H", "content-type: text/plain", body=b"{}")
        self.assertEqual(a.status, 415)  # a form of another page cannot say JSON
        self.assertNotIn("secret-word", curl(
            self.node.url + "/v1/login", *JSON,
            body=b'{"user": "a", "password": "secret-word" "x"}').body.decode())
        self.ask("GET", "users/" + urllib.parse.quote("x" * 1025), status=400)


@confman_only
class TriesTest(unittest.TestCase):
    def test_wrong_passwords_are_bounded(self):
        node = Node(args=["--bcrypt-cost", "4", "--login-failures-max", "3"])
        node.start()
        try:
            for user in ("root", "ann"):
                for method, path, body in (("PUT", "users/" + user, {"roles": [
                        "root"] if user == "root" else []}),
                        ("POST", "users/%s?action=password" % user, {"password": user})):
                    curl(node.url + "/v1/" + path, *JSON, "-X", method,
                         body=json.dumps(body).encode())
            curl(node.url + "/v3/auth/enable", body=b"{}")

            def login(user, word):
                return curl(node.url + "/v1/login", *JSON,
                            body=json.dumps({"user": user, "password": word}).encode())
            self.assertEqual([login("root", "x").status for _ in range(2)], [401, 401])
            self.assertEqual(login("root", "root").status, 200)     # and the count begins anew
            self.assertEqual([login("root", "x").status for _ in range(4)], [401] * 3 + [429])
            late = login("root", "root")
            self.assertEqual((late.status, late.json["code"]), (429, "login_tries"))
            self.assertGreater(int(late.headers["retry-after"]), 30)
            for again in (["-u", "root:root"],):
                self.assertEqual(curl(node.url + "/v1/me", *again).status, 429)
            a = curl(node.url + "/v3/auth/authenticate",
                     body=b'{"name": "root", "password": "root"}')
            self.assertEqual(a.status, 429)
            self.assertEqual(login("ann", "ann").status, 200)       # others may
            for i in range(25):
                self.assertEqual(login("nobody-%d" % i, "x").status, 401)
            self.assertEqual(login("ann", "ann").status, 429)       # now from here nobody
            metrics = curl(node.url + "/metrics").body.decode()
            self.assertIn("confman_logins_limited_total 5", metrics)
        finally:
            node.close()


if __name__ == "__main__":
    main()
