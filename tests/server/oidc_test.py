"""Callers whom an issuer of OpenID Connect vouches for, at every door; and tokens that prove
nothing. The issuer is a program of ours (issuer.py), its tokens are python3-jwt's."""
import base64
import concurrent.futures
import hashlib
import hmac
import json
import os
import subprocess
import time
import unittest
import urllib.parse

import grpc
from cryptography.hazmat.primitives import serialization

from etcd_api import pb
from issuer import Issuer, other_keys
from node import Node, confman_bin, confman_only, main, wait_until
from web import curl

JSON = ("-H", "content-type: application/json")


def start(issuer, *more):
    os.environ["no_proxy"] = "127.0.0.1"
    node = Node(args=["--bcrypt-cost", "4", "--oidc-issuer", issuer.url, "--oidc-client-id",
                      "confman", "--oidc-audience", "api://confman", "--oidc-map",
                      "groups=g-dev:dev,groups=g-ops:ops,roles=Admin:root",
                      "--oidc-fetch-gap", "1000", *more])
    node.start()
    for role, prefix in (("dev", "app/"), ("ops", "")):
        ask(node, "PUT", "roles/" + role, {"grants": [
            {"environment": "default", "prefix": prefix, "verbs": ["read", "write"]}]})
    ask(node, "PUT", "users/root", {"roles": ["root"]})
    ask(node, "POST", "users/root?action=password", {"password": "root"})
    curl(node.url + "/v3/auth/enable", body=b"{}")
    return node


def ask(node, method, path, body=None, token=None, status=None, args=()):
    more = ("-H", "authorization: Bearer " + token) if token else ()
    a = curl(node.url + "/v1/" + path, *JSON, "-X", method, *more, *args,
             body=None if body is None else json.dumps(body).encode())
    if status:
        assert a.status == status, (method, path, a)
    return a


class Shared(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.issuer = Issuer()
        cls.node = start(cls.issuer)

    @classmethod
    def tearDownClass(cls):
        try:
            cls.node.close()
        finally:
            cls.issuer.close()

    def ask(self, method, path, body=None, token=None, status=200, args=()):
        return ask(self.node, method, path, body, token, status, args)

    def roles(self, token):
        return [r["name"] for r in self.ask("GET", "me", token=token).json["roles"]]

    def metric(self, name):
        for line in curl(self.node.url + "/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return int(line.split()[1])
        raise AssertionError("no metric " + name)


@confman_only
class TokenTest(Shared):
    def refused(self, token):
        before = self.metric("confman_oidc_refused_total")
        a = self.ask("GET", "me", token=token, status=401)
        self.assertEqual(a.json["code"], "auth_token")
        self.assertGreater(self.metric("confman_oidc_refused_total"), before)

    def test_every_door(self):
        token = self.issuer.token(sub="doors", groups=["g-dev", "else"])
        me = self.ask("GET", "me", token=token).json
        self.assertEqual((me["user"], me["admin"], [r["name"] for r in me["roles"]]),
                         ("oidc:doors", False, ["dev"]))
        put = self.ask("PUT", "config/app/a", {"value": "x"}, token, 201).json
        self.assertEqual(put["updated_by"], "oidc:doors")
        self.ask("PUT", "config/b", {"value": "x"}, token, 403)
        key = base64.b64encode(b"confman/config/default/app/a").decode()
        a = curl(self.node.url + "/v3/kv/range", "-H", "authorization: Bearer " + token,
                 body=json.dumps({"key": key}).encode())
        self.assertEqual(a.json["count"], "1", a)
        with grpc.insecure_channel(self.node.endpoint) as channel:
            get = channel.unary_unary("/etcdserverpb.KV/Range",
                                      request_serializer=pb.RangeRequest.SerializeToString,
                                      response_deserializer=pb.RangeResponse.FromString)
            for head in (("token", token), ("authorization", "Bearer " + token)):
                got = get(pb.RangeRequest(key=b"confman/config/default/app/a"), timeout=20,
                          metadata=(head,))
                self.assertEqual(got.count, 1)
            with self.assertRaises(grpc.RpcError) as refusal:
                get(pb.RangeRequest(key=b"other"), timeout=20, metadata=(("token", token),))
            self.assertEqual(refusal.exception.code(), grpc.StatusCode.PERMISSION_DENIED)

    def test_roles_come_and_go_with_the_claims(self):
        self.assertEqual(self.roles(self.issuer.token(sub="r", groups=["g-dev", "g-ops"])),
                         ["dev", "ops"])
        self.assertEqual(self.roles(self.issuer.token(sub="r", groups=["g-ops"], n=1)), ["ops"])
        self.assertEqual(self.roles(self.issuer.token(sub="r", groups="g-dev", n=2)), ["dev"])
        self.assertEqual(self.roles(self.issuer.token(sub="r", roles=["Admin"], n=3)), ["root"])
        self.assertEqual(self.roles(self.issuer.token(sub="r", n=4)), [])
        # A user here of that name is somebody else.
        self.assertEqual(self.ask("GET", "me", token=self.issuer.token(sub="root")).json["admin"],
                         False)

    def test_roles_given_by_hand_stay(self):
        self.roles(self.issuer.token(sub="hand"))
        admin = self.issuer.token(sub="boss", roles=["Admin"])
        self.ask("PUT", "roles/extra", {"permissions": []}, admin)
        self.ask("PUT", "users/oidc:hand", {"roles": ["extra"]}, admin)
        self.assertEqual(self.roles(self.issuer.token(sub="hand", groups=["g-dev"])),
                         ["dev", "extra"])

    def test_many_at_once_are_one_user(self):
        token = self.issuer.token(sub="many", groups=["g-dev", "g-ops"])
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda i: self.roles(token), range(16)))
        self.assertEqual(got, [["dev", "ops"]] * 16)

    def test_audiences(self):
        for audience in ("api://confman", ["x", "confman"]):
            self.ask("GET", "me", token=self.issuer.token(aud=audience))
        for audience in ("other", ["a", "b"], None, "api://confman,confman", ""):
            self.refused(self.issuer.token(aud=audience))

    def test_times(self):
        now = int(time.time())
        for good in ({"exp": now - 30}, {"nbf": now + 30}, {"iat": now + 30}):
            self.ask("GET", "me", token=self.issuer.token(**good))
        for bad in ({"exp": now - 90}, {"exp": None}, {"nbf": now + 120}, {"iat": now + 120},
                    {"exp": str(now + 300)}):
            self.refused(self.issuer.token(**bad) if not isinstance(bad.get("exp"), str) else
                         self.signed(bad))

    def signed(self, claims):
        key = self.issuer.keys[self.issuer.current]
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding
        return self.issuer.by_hand(
            {"alg": "RS256", "kid": self.issuer.current},
            lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256()), **claims)

    def test_other_issuers_and_users(self):
        self.ask("GET", "me", token=self.signed({}))
        self.refused(self.issuer.token(iss=self.issuer.url + "/"))
        self.refused(self.issuer.token(iss=None))
        for user in (None, "", "a\nb", "x" * 201, 7):
            self.refused(self.signed({"sub": user}))

    def test_none_and_confused_methods(self):
        kid = self.issuer.current
        public = self.issuer.keys[kid].public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        for alg in ("none", "None", "NONE", ""):
            self.refused(self.issuer.by_hand({"alg": alg, "kid": kid}))
            self.refused(self.issuer.by_hand({"alg": alg}))
        for secret in (public, public.strip(), b"", b"shared"):
            def sign(data, secret=secret):
                return hmac.new(secret, data, hashlib.sha256).digest()
            for name in (kid, "s"):
                self.refused(self.issuer.by_hand({"alg": "HS256", "kid": name}, sign))
        self.refused(self.issuer.by_hand({"alg": "ES256", "kid": kid}, lambda data: b"\0" * 64))
        good = self.issuer.token()
        self.refused(good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB"))
        self.refused(self.issuer.token(key=other_keys()["ES256"], alg="ES256"))
        head, _, rest = good.partition(".")
        self.refused("%s.%s.%s" % (head, rest.split(".")[0], ""))
        self.refused(self.issuer.by_hand({"alg": "RS256", "kid": kid, "crit": ["exp"]}))
        self.refused(self.issuer.by_hand({"alg": "RS256", "kid": 7}))

    def test_a_token_is_not_believed_when_auth_remembers_another(self):
        bearer = self.issuer.token(sub="a1", groups=["g-ops"])
        self.ask("GET", "config?prefix=", token=bearer)
        self.ask("GET", "config?prefix=", token=self.issuer.token(sub="a2"), status=403)
        self.ask("GET", "config?prefix=", token=bearer[:-3] + "abc", status=401)
        self.ask("GET", "config?prefix=", status=401)


@confman_only
class KeysTest(Shared):
    def test_keys_change(self):
        issuer = self.issuer
        self.ask("GET", "me", token=issuer.token(headers={}))  # no name: the only one there is
        old = issuer.token(sub="old")
        self.ask("GET", "me", token=old)
        others = other_keys()
        issuer.rotate("two", others["ES256"])
        wait_until(lambda: ask(self.node, "GET", "me", token=issuer.token(
            alg="ES256", sub="two")).status == 200, 20, "the new key is known")
        # What the issuer has taken back counts no more, but for what was seen a moment ago.
        self.ask("GET", "me", token=issuer.token(kid="one", key=others["EdDSA"], alg="EdDSA"),
                 status=401)
        # Keys without a name in the token: only when there is one.
        issuer.keys["three"] = others["EdDSA"]
        asked, since = issuer.count("/keys"), time.monotonic()
        for i in range(20):
            self.ask("GET", "me", token=issuer.by_hand({"alg": "RS256", "kid": "made-up-%d" % i}),
                     status=401)
        self.assertLessEqual(issuer.count("/keys") - asked, 2 + time.monotonic() - since)
        wait_until(lambda: ask(self.node, "GET", "me", token=issuer.token(
            kid="three", alg="EdDSA")).status == 200, 20, "the third key is known")
        self.ask("GET", "me", token=issuer.token(alg="ES256", headers={}, n=1), status=401)

        # A key set that is too large is none; what was known stays.
        issuer.huge = True
        errors = self.metric("confman_oidc_fetch_errors_total")
        wait_until(lambda: ask(self.node, "GET", "me", token=issuer.by_hand(
            {"alg": "RS256", "kid": "unknown"})).status == 401 and
            self.metric("confman_oidc_fetch_errors_total") > errors, 20, "it is refused")
        self.ask("GET", "me", token=issuer.token(alg="ES256", sub="still"))
        issuer.huge = False

        # An issuer that does not answer holds up who waits for it, and nobody else.
        issuer.gate.clear()
        errors = self.metric("confman_oidc_fetch_errors_total")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            late = self.one_that_waits(pool)
            started = time.monotonic()
            self.ask("GET", "me", token=issuer.token(alg="ES256", sub="quick"))
            for _ in range(3):
                a = curl(self.node.url + "/v1/me", "-u", "root:root")
                self.assertEqual(a.status, 200)
            self.assertTrue(issuer.waiting, "it took longer than the issuer")
            self.assertLess(time.monotonic() - started, 5)
            self.assertEqual(late.result(30).status, 401)
        self.assertGreater(self.metric("confman_oidc_fetch_errors_total"), errors)
        issuer.gate.set()

    def one_that_waits(self, pool):
        """A call that is held up by the issuer: asked again while keys may not be asked for."""
        token = self.issuer.by_hand({"alg": "RS256", "kid": "x"})
        for _ in range(1000):
            call = pool.submit(ask, self.node, "GET", "me", None, token)
            wait_until(lambda: self.issuer.waiting or call.done(), 20, "it is asked, or answered")
            if self.issuer.waiting:
                return call
        raise AssertionError("the issuer is not asked")


@confman_only
class PageTest(Shared):
    """The login of the page: as a browser does it, redirection by redirection."""

    def begin(self):
        a = self.ask("GET", "login/oidc", status=302)
        cookie, rest = a.headers["set-cookie"].split(";", 1)
        self.assertIn("HttpOnly", rest)
        self.assertIn("SameSite=Lax", rest)
        return a.headers["location"], cookie

    def back(self, url, cookie, status):
        a = curl(url, *(("-b", cookie) if cookie else ()))
        self.assertEqual(a.status, status, a)
        return a

    def test_cli(self):
        self.issuer.claims = {"sub": "cli", "groups": ["g-dev"]}
        sessions = os.path.join(self.node.folder, "sessions")
        env = dict(os.environ, CONFMAN_SESSIONS=sessions, no_proxy="127.0.0.1",
                   CONFMAN_ENDPOINT=self.node.endpoint)

        def cli(*args, code=0):
            done = subprocess.run([confman_bin(), *args], env=env, text=True, capture_output=True,
                                  timeout=30)
            self.assertEqual(done.returncode, code, done)
            return done.stdout
        login = subprocess.Popen([confman_bin(), "login"], env=env, text=True,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertIn("Open this page", login.stderr.readline())
        back = curl(login.stderr.readline().strip()).headers["location"]
        self.assertEqual(curl(back.replace("state=", "state=x")).status, 400)
        self.assertEqual(curl(back).status, 200)
        out, err = login.communicate(timeout=30)
        self.assertEqual((login.returncode, out), (0, "user:  oidc:cli\nrole:  dev\n"), err)
        self.assertEqual(os.stat(sessions).st_mode & 0o777, 0o600)
        self.assertEqual(json.loads(cli("whoami", "--output", "json"))["user"], "oidc:cli")
        cli("config", "set", "app/cli", "x")
        cli("config", "set", "other/cli", "x", code=1)
        self.assertIn("user:  root", cli("whoami", "--user", "root:root"))
        with open(sessions, encoding="ascii") as f:
            token = f.read().split()[1]
        cli("logout")
        self.assertEqual(os.path.getsize(sessions), 0)
        cli("whoami", "--token", token, code=1)     # the issuer's token has ended here, too
        cli("whoami", code=1)
        self.assertIn("user:  root", cli("login", "--user", "root:root"))
        self.assertIn("user:  root", cli("whoami"))
        with open(sessions, encoding="ascii") as f:
            token = f.read().split()[1]
        cli("logout")
        cli("whoami", "--token", token, code=1)
        cli("login", "--user", "root:wrong", code=1)

    def test_login(self):
        self.assertIn("oidc", [m["type"] for m in self.ask("GET", "login").json["methods"]])
        wait_until(lambda: ask(self.node, "GET", "login/oidc").status == 302, 20,
                   "the issuer is known")
        self.issuer.claims = {"sub": "page", "groups": ["g-dev"]}
        there, cookie = self.begin()
        at_issuer = curl(there)
        here = at_issuer.headers["location"]
        a = self.back(here, cookie, 302)
        self.assertEqual(a.headers["location"], "/ui/")
        session = a.headers["set-cookie"].split(";")[0]
        self.assertIn("SameSite=Strict", a.headers["set-cookie"])
        me = self.ask("GET", "me", args=("-b", session)).json
        self.assertEqual((me["user"], me["roles"][0]["name"]), ("oidc:page", "dev"))
        self.ask("PUT", "config/app/page", {"value": 1}, args=("-b", session), status=201)
        self.back(here, cookie, 401)    # a code is for one login
        # Another browser's login, none, or one that the issuer does not know.
        there, cookie = self.begin()
        here = curl(there).headers["location"]
        other = self.begin()[1]
        self.assertEqual(self.back(here, other, 400).json["code"], "oidc_state")
        self.back(here, None, 400)
        state = urllib.parse.parse_qs(urllib.parse.urlsplit(here).query)["state"][0]
        back = self.node.url + "/v1/login/callback?state=" + state
        self.back(back + "&error=access_denied", cookie, 401)
        self.back(back + "&code=guessed", cookie, 401)
        self.back(back + "&code=%zz", cookie, 400)
        # The verifier must be the one of this login, and the nonce too.
        state, nonce, verifier = cookie.split("=", 1)[1].split(".")
        self.back(here, "confman_login=%s.%s.%s" % (state, nonce, other[-43:]), 401)
        there, cookie = self.begin()
        state, nonce, verifier = cookie.split("=", 1)[1].split(".")
        self.back(curl(there).headers["location"], "confman_login=%s.%s.%s" % (
            state, "wrong", verifier), 401)
        # A login's token is good as a bearer's; one of another audience is no login.
        self.issuer.claims = {"sub": "page", "azp": "someone-else"}
        there, cookie = self.begin()
        self.back(curl(there).headers["location"], cookie, 401)
        self.ask("POST", "logout", args=("-b", session))
        self.ask("GET", "me", args=("-b", session), status=401)


@confman_only
class StartTest(unittest.TestCase):
    def test_what_cannot_be(self):
        for args, word in ((("--oidc-issuer", "http://login.example"), "https"),
                           (("--oidc-issuer", "https://login.example"), "oidc-client-id"),
                           (("--oidc-issuer", "https://login.example", "--oidc-client-id", "c",
                             "--oidc-map", "x"), "oidc-map")):
            node = Node(args=args)
            with self.assertRaises(AssertionError) as told:
                node.start()
            self.assertIn(word, str(told.exception))
            node.process = None

    def test_many_tenants(self):
        issuer = Issuer()
        issuer.name = issuer.url + "/{tenantid}/v2.0"
        node = start(issuer, "--oidc-tenants", "t1,t2", "--oidc-user-claim", "oid")
        try:
            of = issuer.url + "/%s/v2.0"
            ask(node, "GET", "me", token=issuer.token(iss=of % "t2", tid="t2", oid="7"), status=200)
            for iss, tid in (("t3", "t3"), ("t3", "t2"), ("t2", "t3"), ("t2", None)):
                ask(node, "GET", "me", token=issuer.token(iss=of % iss, tid=tid, oid="7"),
                    status=401)
        finally:
            node.close()
            issuer.close()


if __name__ == "__main__":
    main()
