"""Users, roles and logins over REST: what the page and confman use, with curl."""
import json
import subprocess
import unittest
import urllib.parse

from node import Node, confman_bin, confman_only, main
from web import curl

JSON = ("-H", "content-type: application/json")


@confman_only
class AccessTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = Node(args=["--bcrypt-cost", "4"])
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
                           ("roles/x", {"grants": [{"environment": "a", "verbs": ["delete"]}]})):
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


if __name__ == "__main__":
    main()
