"""How a caller proves who it is: passwords, simple and signed tokens, certificates, at every door;
and that none of it is ever written down."""
import base64
import concurrent.futures
import hashlib
import hmac
import json
import os
import re
import pty
import secrets
import select
import subprocess
import tempfile
import time
import unittest
import urllib.request

import etcd3
import grpc

from etcd_api import pb
from node import Node, ServerTest, confman_bin, confman_only, free_port, main, wait_until
from web import curl

SECONDS = 20
CHEAP = ("--bcrypt-cost", "4")
BAD_TOKEN = (grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token")
BAD_LOGIN = (grpc.StatusCode.INVALID_ARGUMENT,
             "etcdserver: authentication failed, invalid user ID or password")
OLD = (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: revision of auth store is old")
NOBODY = (grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: user name is empty")


class Door:
    """Calls of the etcd door, each with the token that it is given."""

    def __init__(self, endpoint, credentials=None):
        self.channel = (grpc.secure_channel(endpoint, credentials) if credentials
                        else grpc.insecure_channel(endpoint))

    def call(self, service, method, request, answer=None, token=None, header="token"):
        ask = self.channel.unary_unary(
            "/etcdserverpb.%s/%s" % (service, method),
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString if answer else None)
        return ask(request, timeout=SECONDS, metadata=((header, token),) if token else ())

    def auth(self, method, request, token=None):
        return self.call("Auth", method, request, None, token)

    def login(self, user, password):
        return self.call("Auth", "Authenticate",
                         pb.AuthenticateRequest(name=user, password=password),
                         pb.AuthenticateResponse).token

    def get(self, key, token=None, header="token"):
        return self.call("KV", "Range", pb.RangeRequest(key=key), pb.RangeResponse, token, header)

    def put(self, key, value, token):
        return self.call("KV", "Put", pb.PutRequest(key=key, value=value), pb.PutResponse, token)

    def user(self, name, password, token=None, role=None):
        self.auth("UserAdd", pb.AuthUserAddRequest(name=name, password=password), token)
        if role:
            self.auth("UserGrantRole", pb.AuthUserGrantRoleRequest(user=name, role=role), token)

    def enable(self, password="root"):
        """root, and ann who may do all with the keys from a to b; auth is on."""
        self.user("root", password, role="root")
        self.auth("RoleAdd", pb.AuthRoleAddRequest(name="app"))
        self.auth("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(
            name="app", perm=pb.Permission(permType=2, key=b"a", range_end=b"c")))
        self.user("ann", "ann", role="app")
        self.auth("AuthEnable", pb.AuthEnableRequest())


def refusal(call, *args, **named):
    try:
        call(*args, **named)
    except grpc.RpcError as e:
        return (e.code(), e.details())
    return None


@confman_only
class Tokens(ServerTest):
    args = CHEAP + ("--auth-token-ttl", "2")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.door = Door(cls.node.endpoint)
        cls.door.enable()

    @classmethod
    def tearDownClass(cls):
        cls.door.channel.close()
        super().tearDownClass()

    def fresh(self, password="x"):
        """A user of this test's own, and its token."""
        name = self._testMethodName
        self.door.user(name, password, self.door.login("root", "root"), "app")
        return name, self.door.login(name, password)

    def test_form_and_headers(self):
        token = self.door.login("ann", "ann")
        self.assertRegex(token, r"^[A-Za-z]{16}\.[0-9]+$")
        self.door.put(b"a", b"1", token)
        for header, value in (("token", token), ("authorization", token),
                              ("authorization", "Bearer " + token)):
            self.assertEqual(self.door.get(b"a", value, header).kvs[0].value, b"1")
        letters, index = token.split(".")
        for bad in ("x", letters, letters + ".1", letters + "." + index + "0",
                    letters.swapcase() + "." + index, "Basic " + token, "a" * 8000):
            self.assertEqual(refusal(self.door.get, b"a", bad), BAD_TOKEN, bad)
        self.assertEqual(refusal(self.door.get, b"a"), NOBODY)

    def test_wrong_passwords(self):
        for user, password in (("ann", "anna"), ("ann", ""), ("nobody", "x"), ("", ""),
                               ("ann", "x" * 5000), ("u" * 5000, "x")):
            self.assertEqual(refusal(self.door.login, user, password), BAD_LOGIN)

    def test_a_login_does_not_look_at_an_old_token(self):
        self.door.call("Auth", "Authenticate",
                       pb.AuthenticateRequest(name="ann", password="ann"), None, "no token")

    def test_passwords_that_no_hash_is_made_of(self):
        root = self.door.login("root", "root")
        long_one = refusal(self.door.user, "long", "x" * 73, root)
        self.assertEqual(long_one[0], grpc.StatusCode.INVALID_ARGUMENT)
        self.assertIn("72 bytes", long_one[1])
        self.assertNotIn("xxx", long_one[1])
        self.door.user("long", "x" * 72, root)
        self.door.login("long", "x" * 72)

    def revoked(self):
        metrics = curl(self.node.url + "/metrics").body.decode()
        return int(re.search(r"^confman_revoked (\d+)$", metrics, re.M).group(1))

    def test_slides_and_ends(self):
        early, token = self.door.login("ann", "ann"), self.door.login("ann", "ann")
        curl(self.node.url + "/v1/logout", "-X", "POST", "-H", "authorization: Bearer " + early)
        self.assertEqual(refusal(self.door.get, b"a", early), BAD_TOKEN)
        self.assertEqual(self.revoked(), 1)
        until = time.monotonic() + 3
        while time.monotonic() < until:     # past its time, but used
            self.door.get(b"a", token)
            time.sleep(0.2)
        wait_until(lambda: self.ended(token), 20, "a token that is not used ends")
        wait_until(lambda: not self.revoked(), 20, "what has ended is forgotten")

    def ended(self, token):
        time.sleep(2.5)     # asking would make it last
        return refusal(self.door.get, b"a", token) == BAD_TOKEN

    def test_ends_with_the_password(self):
        user, token = self.fresh()
        self.door.get(b"a", token)
        self.door.auth("UserChangePassword",
                       pb.AuthUserChangePasswordRequest(name=user, password="y"),
                       self.door.login("root", "root"))
        self.assertEqual(refusal(self.door.get, b"a", token), BAD_TOKEN)
        self.assertEqual(refusal(self.door.login, user, "x"), BAD_LOGIN)
        self.door.get(b"a", self.door.login(user, "y"))

    def test_ends_with_the_user(self):
        user, token = self.fresh()
        self.door.get(b"a", token)
        self.door.auth("UserDelete", pb.AuthUserDeleteRequest(name=user),
                       self.door.login("root", "root"))
        self.assertEqual(refusal(self.door.get, b"a", token), BAD_TOKEN)

    def test_two_callers_on_one_connection(self):
        """What a connection remembers is not given to the other one."""
        user, token = self.fresh()
        ann = self.door.login("ann", "ann")
        self.door.auth("UserRevokeRole", pb.AuthUserRevokeRoleRequest(name=user, role="app"),
                       self.door.login("root", "root"))
        for _ in range(20):
            self.door.get(b"a", ann)
            self.assertEqual(refusal(self.door.get, b"a", token)[0],
                             grpc.StatusCode.PERMISSION_DENIED)

    def test_etcdctl(self):
        def ctl(*args):
            return subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, *args],
                                  env=dict(os.environ, ETCDCTL_API="3"), text=True,
                                  capture_output=True, timeout=SECONDS)
        self.assertEqual(ctl("--user", "ann:ann", "put", "b/ctl", "1").stdout, "OK\n")
        self.assertEqual(ctl("--user", "ann", "--password", "ann", "get", "--print-value-only",
                             "b/ctl").stdout, "1\n")
        self.assertIn("invalid user ID or password", ctl("--user", "ann:no", "get", "b").stderr)
        self.assertIn("permission denied", ctl("--user", "ann:ann", "get", "z").stderr)

    def test_basic_and_bearer_over_http(self):
        token = self.door.login("root", "root")
        url = self.node.url + "/v1/status"
        for version in ("--http1.1", "--http2-prior-knowledge"):
            self.assertEqual(curl(url, version, "-u", "root:root").status, 200)
            self.assertEqual(curl(url, version, "-u", "root:wrong").status, 401)
            self.assertEqual(curl(url, version).status, 401)
            self.assertEqual(curl(url, version, "-H", "Authorization: Bearer " + token).status,
                             200)
            self.assertEqual(curl(url, version, "-H", "Authorization: Basic !!").status, 401)
            self.assertEqual(curl(url, version, "-H", "Authorization: Bearer x").json["code"],
                             "auth_token")
        # One connection: what comes while a password is looked at waits for its turn.
        done = subprocess.run(["curl", "-sS", "-o", "/dev/null", "-o", "/dev/null", "-w",
                               "%{http_code}\n", "-u", "root:root", url, url],
                              capture_output=True, text=True, timeout=SECONDS, check=True)
        self.assertEqual(done.stdout, "200\n200\n")

    def test_basic_of_a_changed_password(self):
        user, _ = self.fresh()
        url = self.node.url + "/v1/status"
        self.assertEqual(curl(url, "-u", user + ":x").status, 200)
        self.door.auth("UserChangePassword",
                       pb.AuthUserChangePasswordRequest(name=user, password="y"),
                       self.door.login("root", "root"))
        self.assertEqual(curl(url, "-u", user + ":x").status, 401)
        self.assertEqual(curl(url, "-u", user + ":y").status, 200)

    def test_json_door(self):
        def ask(path, body, *args):
            return curl(self.node.url + path, *args, body=json.dumps(body).encode())
        token = ask("/v3/auth/authenticate", {"name": "ann", "password": "ann"}).json["token"]
        key = {"key": base64.b64encode(b"a").decode()}
        for proof in (("-H", "Authorization: " + token), ("-H", "Authorization: Bearer " + token),
                      ("-H", "Grpc-Metadata-Token: " + token), ("-u", "ann:ann")):
            self.assertEqual(ask("/v3/kv/range", key, *proof).status, 200, proof)
        self.assertEqual(ask("/v3/kv/range", key).json["message"], NOBODY[1])
        self.assertEqual(ask("/v3/kv/range", key, "-H", "Authorization: x").status, 401)
        self.assertEqual(ask("/v3/auth/authenticate", {"name": "ann", "password": "no"}).status,
                         400)

    def test_streams_over_http(self):
        root = self.door.login("root", "root")
        command = ["curl", "-sSN", "-u", "root:root", self.node.url + "/v1/watch?key=seen"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            first = process.stdout.readline()
            self.assertTrue(first.startswith((":", "id", "event")), first)
            self.door.put(b"confman/config/default/seen", b"1", root)
            for line in process.stdout:
                if "seen" in line:
                    break
            process.kill()

    def test_metrics(self):
        def value(name):
            with urllib.request.urlopen(self.node.url + "/metrics", timeout=SECONDS) as page:
                return next(float(line.split()[1]) for line in page.read().decode().splitlines()
                            if line.startswith(name + " "))
        names = ["confman_logins_total", "confman_logins_failed_total",
                 "confman_tokens_refused_total"]
        before = [value(name) for name in names]
        token = self.door.login("ann", "ann")
        refusal(self.door.login, "ann", "no")
        refusal(self.door.get, b"a", "no token")
        self.assertEqual([value(name) for name in names], [n + 1 for n in before])
        self.assertGreaterEqual(value("confman_tokens"), 1)
        self.assertIsNotNone(token)


class Disabled(unittest.TestCase):
    def test_tokens_end_when_auth_is_disabled(self):
        with Node(kind="confman", args=CHEAP) as node:
            door = Door(node.endpoint)
            self.assertEqual(refusal(door.login, "root", "root"),
                             (grpc.StatusCode.FAILED_PRECONDITION,
                              "etcdserver: authentication is not enabled"))
            door.enable()
            token = door.login("root", "root")
            door.auth("AuthDisable", pb.AuthDisableRequest(), token)
            door.get(b"a", "whatever it is")
            door.auth("AuthEnable", pb.AuthEnableRequest())
            self.assertEqual(refusal(door.get, b"a", token), BAD_TOKEN)
            door.channel.close()

    def test_tokens_outlive_a_restart(self):
        with Node(kind="confman", args=CHEAP) as node:
            door = Door(node.endpoint)
            door.enable()
            token = door.login("root", "root")
            node.kill()
            node.start()
            wait_until(lambda: refusal(door.get, b"a", token) is None, 20, "it counts again")
            door.channel.close()


class Python(unittest.TestCase):
    def test_etcd3(self):
        """Over TLS: Python's gRPC sends a token over nothing less."""
        with Node(kind="confman", tls=True, args=CHEAP) as node:
            with open(node.cert, "rb") as f:
                door = Door("localhost:%d" % node.port, grpc.ssl_channel_credentials(f.read()))
            door.enable()

            def client(password):
                return etcd3.client(host="localhost", port=node.port, ca_cert=node.cert,
                                    user="ann", password=password, timeout=SECONDS)
            ann = client("ann")
            ann.put("b/python", "1")
            self.assertEqual(ann.get("b/python")[0], b"1")
            self.assertEqual(refusal(ann.put, "z", "1")[0], grpc.StatusCode.PERMISSION_DENIED)
            self.assertEqual(refusal(client, "no"), BAD_LOGIN)
            door.channel.close()


class Flood(unittest.TestCase):
    def test_more_passwords_than_are_let_wait(self):
        with Node(kind="confman", args=("--login-threads", "1", "--bcrypt-cost", "9")) as node:
            door = Door(node.endpoint)
            door.enable()
            ask = door.channel.unary_unary(
                "/etcdserverpb.Auth/Authenticate",
                request_serializer=pb.AuthenticateRequest.SerializeToString)
            request = pb.AuthenticateRequest(name="ann", password="no")
            token = door.login("ann", "ann")
            calls = [ask.future(request, timeout=SECONDS) for _ in range(1200)]
            self.assertIsNone(refusal(door.get, b"a", token))   # goes on meanwhile
            full = next(c for c in concurrent.futures.as_completed(
                [_Done(c) for c in calls], SECONDS)
                if c.exception().code() == grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn("too many passwords wait", full.exception().details())
            for call in calls:
                call.cancel()
            door.channel.close()


class _Done(concurrent.futures.Future):
    """A call as the standard library's future."""

    def __init__(self, call):
        super().__init__()
        call.add_done_callback(self.finish)

    def finish(self, call):
        if call.cancelled():
            self.cancel()
        else:
            self.set_exception(call.exception())


# ---- signed tokens ----

def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def unsigned(header, claims):
    return b64(json.dumps(header).encode()) + b"." + b64(json.dumps(claims).encode())


def hs256(secret, header, claims):
    body = unsigned(header, claims)
    return (body + b"." + b64(hmac.new(secret, body, hashlib.sha256).digest())).decode()


def make_keys(folder, *algorithm):
    private, public = os.path.join(folder, "private.pem"), os.path.join(folder, "public.pem")
    subprocess.run(["openssl", "genpkey", *algorithm, "-out", private], check=True,
                   capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True,
                   capture_output=True)
    return private, public


class Signed(unittest.TestCase):
    def node(self, method, private=None, public=None, ttl="5m"):
        text = "jwt,sign-method=%s,ttl=%s" % (method, ttl)
        text += ",priv-key=" + private if private else ""
        text += ",pub-key=" + public if public else ""
        return Node(kind="confman", args=CHEAP + ("--auth-token", text))

    def check(self, door, token, claims_of):
        """What every method has in common."""
        self.assertEqual(claims_of["username"], "ann")
        self.assertLess(abs(claims_of["exp"] - time.time() - 300), 60)
        door.put(b"a", b"1", token)
        head, claims, signature = token.split(".")
        for bad in (head + "." + claims + ".",
                    head + "." + claims + "." + signature[:-4] + "AAAA",
                    head + "." + b64(json.dumps(dict(claims_of, username="root")).encode())
                    .decode() + "." + signature,
                    (unsigned({"alg": "none"}, claims_of) + b".").decode(),
                    "abcdefghijklmnop.1"):
            self.assertEqual(refusal(door.get, b"a", bad), BAD_TOKEN)
        # The claims carry a revision: users and roles have changed, so the rights may have, too.
        door.user("more-" + secrets.token_hex(4), "x", door.login("root", "root"))
        self.assertEqual(refusal(door.get, b"a", token), OLD)
        door.get(b"a", door.login("ann", "ann"))

    def test_methods(self):
        curve = "ec_paramgen_curve:"
        for method, algorithm in (
                ("ES256", ("-algorithm", "EC", "-pkeyopt", curve + "P-256")),
                ("EdDSA", ("-algorithm", "ED25519")),
                ("PS256", ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"))):
            with self.subTest(method), tempfile.TemporaryDirectory() as folder:
                private, public = make_keys(folder, *algorithm)
                with self.node(method, private, public) as node:
                    door = Door(node.endpoint)
                    door.enable()
                    token = door.login("ann", "ann")
                    self.assertEqual(json.loads(unb64(token.split(".")[0]))["alg"], method)
                    self.check(door, token, json.loads(unb64(token.split(".")[1])))
                    # The public key is known to all: it is no secret to sign with (RFC 8725 2.1).
                    with open(public, "rb") as f:
                        forged = hs256(f.read(), {"alg": "HS256"},
                                       {"username": "root", "revision": 99, "exp": 9e9})
                    self.assertEqual(refusal(door.get, b"a", forged), BAD_TOKEN)
                    door.channel.close()

    def test_a_secret_and_times(self):
        secret = secrets.token_bytes(64)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "secret")
            with open(path, "wb") as f:
                f.write(secret)
            with self.node("HS256", path) as node:
                door = Door(node.endpoint)
                door.enable()
                token = door.login("ann", "ann")
                claims = json.loads(unb64(token.split(".")[1]))
                now = time.time()
                good = {"username": "ann", "revision": claims["revision"], "exp": now + 100}
                door.get(b"a", hs256(secret, {"alg": "HS256"}, good))
                for change in ({"exp": now - 1}, {"exp": 0}, {"nbf": now + 100},
                               {"revision": "1"}, {"username": 5}, {"username": ""},
                               {"exp": "never"}):
                    bad = hs256(secret, {"alg": "HS256"}, dict(good, **change))
                    self.assertEqual(refusal(door.get, b"a", bad), BAD_TOKEN, change)
                for header in ({"alg": "HS384"}, {"alg": "hs256"}, {"typ": "JWT"},
                               {"alg": "HS256", "crit": ["exp"]}):
                    bad = hs256(secret, header, good)
                    self.assertEqual(refusal(door.get, b"a", bad), BAD_TOKEN, header)
                self.check(door, token, claims)
                door.channel.close()

    def test_only_the_public_key(self):
        with tempfile.TemporaryDirectory() as folder:
            private, public = make_keys(folder, "-algorithm", "ED25519")
            with self.node("EdDSA", public=public) as node:
                door = Door(node.endpoint)
                door.enable()
                self.assertIn("public key", refusal(door.login, "ann", "ann")[1])
                # Somebody else signs them.
                body = unsigned({"alg": "EdDSA"}, {"username": "ann", "revision": 10,
                                                   "exp": time.time() + 60})
                path = os.path.join(folder, "body")
                with open(path, "wb") as f:
                    f.write(body)
                signature = subprocess.run(
                    ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", private, "-in", path],
                    check=True, capture_output=True).stdout
                door.get(b"a", (body + b"." + b64(signature)).decode())
                door.channel.close()

    def test_mistakes_at_the_start(self):
        with tempfile.TemporaryDirectory() as folder:
            private, _ = make_keys(folder, "-algorithm", "ED25519")
            for text, told in (("simple,x=1", "neither simple nor jwt"), ("none", "neither"),
                               ("jwt", "sign-method"), ("jwt,sign-method=none", "sign-method"),
                               ("jwt,sign-method=ES256,priv-key=" + private, "not a key"),
                               ("jwt,sign-method=EdDSA,priv-key=/nowhere", "/nowhere"),
                               ("jwt,sign-method=EdDSA,ttl=never", "ttl")):
                done = subprocess.run(
                    [confman_bin(), "server", "--data-dir", folder + "/data", "--listen",
                     "127.0.0.1:%d" % free_port(), "--auth-token", text],
                    capture_output=True, text=True, timeout=SECONDS)
                self.assertNotEqual(done.returncode, 0, text)
                self.assertIn(told, done.stderr)


# ---- certificates ----

class Certificates(unittest.TestCase):
    def test_common_name(self):
        with tempfile.TemporaryDirectory() as folder:
            def openssl(*args):
                subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)
            openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
                    "-subj", "/CN=ca")
            spiffe = ",URI:spiffe://prod/ns/shop"
            for name, more in (("root", ""), ("ann", ""), ("127.0.0.1", ""), ("uri", spiffe),
                               ("two", spiffe + ",URI:spiffe://prod/ns/root"),
                               ("dns", ",DNS:shop.example,email:ann@shop.example")):
                openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name,
                        "-addext", "subjectAltName=IP:127.0.0.1" + more)
                openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                        "-out", name + ".pem", "-days", "2", "-copy_extensions", "copy")

            def read(name):
                with open(os.path.join(folder, name), "rb") as f:
                    return f.read()

            path = folder + "/"
            node = Certified(path)
            with node:
                def door(name):
                    return Door(node.endpoint, grpc.ssl_channel_credentials(
                        read("ca.pem"), read(name + ".key"), read(name + ".pem")))
                root, ann = door("root"), door("ann")
                root.enable()
                root.put(b"z", b"1", None)
                ann.put(b"a", b"1", None)
                self.assertEqual(refusal(ann.get, b"z")[0], grpc.StatusCode.PERMISSION_DENIED)
                # A token is stronger than the certificate, also one that proves nothing.
                self.assertEqual(refusal(root.get, b"z", ann.login("ann", "ann"))[0],
                                 grpc.StatusCode.PERMISSION_DENIED)
                self.assertEqual(refusal(root.get, b"z", "no token"), BAD_TOKEN)
                shown = ("--cacert", path + "ca.pem", "--cert", path + "root.pem", "--key",
                         path + "root.key")
                self.assertEqual(curl(node.url + "/v1/snapshot", *shown).status, 200)
                # etcd's JSON door does not look at certificates.
                answer = curl(node.url + "/v3/kv/range", *shown, body=b'{"key": "eg=="}')
                self.assertEqual(answer.json["message"], NOBODY[1])
                root.channel.close()
                ann.channel.close()
            # An alternative name may be the user instead; never one of several, nor another kind.
            for kind, users in (("uri", {"uri": "spiffe://prod/ns/shop", "two": "anonymous",
                                         "root": "anonymous"}),
                                ("dns", {"dns": "shop.example", "uri": "anonymous"}),
                                ("email", {"dns": "ann@shop.example", "root": "anonymous"})):
                with Certified(path, "--client-cert-user", kind) as node:
                    for name, user in users.items():
                        curl(node.url + "/v1/config/" + name, "-X", "PUT", "-H",
                             "content-type: application/json", "--cacert", path + "ca.pem",
                             "--cert", path + name + ".pem", "--key", path + name + ".key",
                             body=b'{"value": 1}')
                        by = curl(node.url + "/v1/config/" + name, "--cacert", path + "ca.pem",
                                  "--cert", path + name + ".pem", "--key", path + name + ".key")
                        self.assertEqual(by.json["updated_by"], user, (kind, name))


class Certified(Node):
    """Clients must show a certificate of the folder's authority."""

    def __init__(self, path, *more):
        super().__init__(kind="confman", args=CHEAP + more + (
            "--cert-file", path + "127.0.0.1.pem", "--key-file", path + "127.0.0.1.key",
            "--trusted-ca-file", path + "ca.pem", "--client-cert-auth"))
        self.path = path

    @property
    def url(self):
        return "https://" + self.endpoint

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError("the server ended with %d" % self.process.returncode)
        try:
            return curl(self.url + "/health/ready", "--cacert", self.path + "ca.pem", "--cert",
                        self.path + "ann.pem", "--key", self.path + "ann.key").status == 200
        except subprocess.CalledProcessError:
            return False


# ---- a cluster ----

class Cluster(unittest.TestCase):
    def cluster(self, *more):
        ports = [free_port() for _ in range(3)]
        initial = ",".join("n%d=127.0.0.1:%d" % (i, p) for i, p in enumerate(ports))
        nodes = [Node(kind="confman", args=CHEAP + more + (
            "--name", "n%d" % i, "--listen-peers", "127.0.0.1:%d" % p, "--initial-cluster",
            initial)) for i, p in enumerate(ports)]
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            list(pool.map(Node.start, nodes))
        return nodes

    def log_out(self, node, token):
        answer = curl(node.url + "/v1/logout", "-X", "POST", "-H",
                      "authorization: Bearer " + token)
        self.assertEqual((answer.status, answer.json), (200, {"logged_out": True}))

    def ended(self, doors, token):
        for door in doors:      # the one that was asked answers when it has applied it
            wait_until(lambda d=door: refusal(d.get, b"a", token) == BAD_TOKEN, 10,
                       "it ends everywhere")

    def test_a_signed_token_is_logged_out_everywhere(self):
        with tempfile.TemporaryDirectory() as folder:
            private, _ = make_keys(folder, "-algorithm", "EC", "-pkeyopt",
                                   "ec_paramgen_curve:P-256")
            nodes = self.cluster("--auth-token", "jwt,sign-method=ES256,priv-key=" + private)
            try:
                doors = [Door(n.endpoint) for n in nodes]
                doors[0].enable()
                one, two = doors[0].login("ann", "ann"), doors[0].login("root", "root")
                for door in doors:
                    door.put(b"a", b"1", one)
                self.log_out(nodes[1], one)
                self.assertEqual(refusal(doors[1].get, b"a", one), BAD_TOKEN)
                self.ended(doors, one)
                # Nor does it count with its signature written otherwise: (r, s) is (r, -s).
                body, signature = one.rsplit(".", 1)
                raw, order = unb64(signature), int(
                    "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
                other = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
                self.assertEqual(refusal(doors[0].get, b"a", body + "." + b64(other).decode()),
                                 BAD_TOKEN)
                self.log_out(nodes[2], one)             # nothing is left to end
                doors[2].channel.close()
                nodes[2].kill()
                nodes[2].start()
                doors[2] = Door(nodes[2].endpoint)
                doors[2].get(b"a", two)
                self.assertEqual(refusal(doors[2].get, b"a", one), BAD_TOKEN)
                self.assertIn("confman_revoked 1", curl(nodes[0].url + "/metrics").body.decode())
                for door in doors:
                    door.channel.close()
            finally:
                for node in nodes:
                    node.close()

    def test_tokens_count_on_every_node_at_once(self):
        nodes = self.cluster()
        try:
            doors = [Door(n.endpoint) for n in nodes]
            doors[0].enable()
            for turn in range(30):
                here, there = doors[turn % 3], doors[(turn + 1) % 3]
                token = here.login("ann", "ann")
                there.put(b"a", b"%d" % turn, token)
                self.assertEqual(here.get(b"a", token).kvs[0].value, b"%d" % turn)
                there.user("u%d" % turn, "pw", there.login("root", "root"), "app")
                here.get(b"a", here.login("u%d" % turn, "pw"))
            # And end on every node.
            other = doors[0].login("ann", "ann")
            self.log_out(nodes[1], other)
            self.ended(doors, other)
            doors[0].get(b"a", token)
            root = doors[1].login("root", "root")
            doors[2].auth("UserChangePassword",
                          pb.AuthUserChangePasswordRequest(name="ann", password="new"), root)
            self.ended(doors, token)
            for door in doors:
                self.assertEqual(refusal(door.login, "ann", "ann"), BAD_LOGIN)
            for door in doors:
                door.channel.close()
        finally:
            for node in nodes:
                node.close()


class FarListener(unittest.TestCase):
    def test_asks_for_tls_and_for_who_it_is(self):
        """Addresses that others reach are served only when somebody watches the door."""
        with Node(kind="confman", tls=True, args=CHEAP) as node:
            far = "0.0.0.0:%d" % free_port()
            secure = ["--cert-file", node.cert, "--key-file", node.key]

            def start(*args):
                """What it says before it ends; None: it serves."""
                command = [confman_bin(), "server", "--data-dir", node.data, "--listen", far]
                with subprocess.Popen(command + list(args), stderr=subprocess.PIPE,
                                      text=True) as process:
                    for line in process.stderr:
                        if "message=\"listening\"" in line:
                            process.terminate()
                            process.stderr.read()
                            return None
                    return line

            def door():
                with open(node.cert, "rb") as f:
                    return Door("localhost:%d" % node.port,
                                grpc.ssl_channel_credentials(f.read()))
            door().user("root", "root", role="root")
            node.stop()
            self.assertIn("not a loopback address", start(*secure))
            self.assertIsNone(start(*secure, "--allow-insecure-listen"))
            node.start()
            door().auth("AuthEnable", pb.AuthEnableRequest())
            node.kill()     # it stands in the log alone
            self.assertIsNone(start(*secure))
            self.assertIsNone(start(*secure))   # and now in the checkpoint
            self.assertIn("not a loopback address", start())
            node.start()
            again = door()
            again.auth("AuthDisable", pb.AuthDisableRequest(), again.login("root", "root"))
            node.stop()
            self.assertIn("confman auth enable", start(*secure))
            node.start()


# ---- the command line, and what is written down ----

@confman_only
class CommandLine(ServerTest):
    args = CHEAP

    def cli(self, *args, stdin="", status=0, **env):
        done = subprocess.run([confman_bin(), *args], input=stdin, text=True,
                              env=dict(os.environ, CONFMAN_ENDPOINT=self.node.endpoint, **env),
                              capture_output=True, timeout=SECONDS, start_new_session=True)
        self.assertEqual(done.returncode, status, done.stderr)
        return done.stdout if status == 0 else done.stderr

    def typed(self, lines, *args):
        """The exit status and what is shown on a terminal where the lines are typed."""
        terminal, inner = pty.openpty()
        process = subprocess.Popen(
            ["setsid", "--ctty", "--wait", confman_bin(), *args], stdin=inner, stdout=inner,
            stderr=inner, env=dict(os.environ, CONFMAN_ENDPOINT=self.node.endpoint))
        os.close(inner)
        shown, answered = b"", 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                try:
                    shown += os.read(terminal, 1000)
                except OSError:     # it has ended
                    break
            if answered < len(lines) and shown.endswith(b": ") and shown.count(b": ") > answered:
                os.write(terminal, lines[answered].encode() + b"\n")
                answered += 1
        os.close(terminal)
        return process.wait(SECONDS), shown.decode()

    def test_all(self):
        self.assertEqual(self.cli("auth", "status"), "enabled:  false\nrevision: 1\n")
        self.assertIn("root user does not exist", self.cli("auth", "enable", status=1))
        self.cli("user", "add", "root", "--new-password-file", "-", stdin="rootpw\n")
        self.cli("user", "grant-role", "root", "root")
        self.cli("put", "x", "1", "--user", "whoever:it is")    # auth is off
        self.cli("auth", "enable")
        root = ("--user", "root:rootpw")
        self.assertIn("user name is empty", self.cli("get", "x", status=1))
        self.assertIn("invalid user ID", self.cli("get", "x", "--user", "root:no", status=1))
        self.assertEqual(self.cli("get", "x", *root), "x\n1\n")
        self.assertEqual(self.cli("get", "x", CONFMAN_USER="root:rootpw"), "x\n1\n")
        self.assertIn("no terminal", self.cli("get", "x", "--user", "root", status=2))

        self.cli("user", "add", "ann:annpw", *root)
        self.cli("user", "add", "cert", "--no-password", *root)
        self.cli("role", "add", "app", *root)
        self.cli("role", "grant-permission", "app", "readwrite", "app/", "--prefix", *root)
        self.cli("role", "grant-permission", "app", "read", "one", *root)
        self.cli("user", "grant-role", "ann", "app", *root)
        self.assertEqual(json.loads(self.cli("user", "list", "--output", "json", *root)),
                         {"users": ["ann", "cert", "root"]})
        self.assertEqual(self.cli("user", "get", "ann", *root), "app\n")
        self.assertEqual(self.cli("role", "list", *root), "app\n")
        self.assertEqual(self.cli("role", "get", "app", *root),
                         "readwrite  app/  to before  app0\nread       one\n")
        with tempfile.NamedTemporaryFile("w") as f:
            f.write("annpw\n")
            f.flush()
            ann = ("--user", "ann", "--password-file", f.name)
            self.cli("put", "app/1", "v", *ann)
            self.assertEqual(self.cli("get", "app/1", "--print-value-only", *ann), "v\n")
            self.assertIn("permission denied", self.cli("get", "x", *ann, status=1))
        token = Door(self.node.endpoint).login("ann", "annpw")
        self.assertEqual(self.cli("get", "app/1", "--print-value-only", "--token", token), "v\n")
        self.assertEqual(self.cli("get", "app/1", "--print-value-only", CONFMAN_TOKEN=token),
                         "v\n")
        self.assertIn("invalid auth token", self.cli("get", "x", "--token", "no", status=1))
        self.cli("role", "revoke-permission", "app", "one", *root)
        self.cli("user", "revoke-role", "ann", "app", *root)
        self.assertIn("permission denied", self.cli("get", "app/1", "--user", "ann:annpw",
                                                    status=1))
        self.cli("quota", "list", *root)    # by the REST door
        self.assertEqual(self.cli("quota", "list", status=1).count("user name is empty"), 1)

        code, shown = self.typed(["rootpw"], "get", "x", "--user", "root")
        self.assertEqual((code, "rootpw" in shown, "1" in shown), (0, False, True), shown)
        code, shown = self.typed(["new one", "new one"], "user", "passwd", "ann", *root)
        self.assertEqual((code, "new one" in shown), (0, False), shown)
        self.assertEqual(self.cli("user", "get", "ann", "--user", "ann:new one"), "")
        code, shown = self.typed(["this", "that"], "user", "passwd", "ann", *root)
        self.assertEqual((code, "not the same" in shown), (2, True))

        self.assertIn("see confman user --help", self.cli("user", "frob", status=2))
        self.assertIn("wants NAME ROLE", self.cli("user", "grant-role", "ann", status=2))
        self.assertIn("not read, write", self.cli("role", "grant-permission", "app", "all", "k",
                                                  status=2))
        self.cli("role", "delete", "app", *root)
        self.cli("user", "delete", "cert", *root)
        self.cli("auth", "disable", *root)
        self.assertEqual(self.cli("get", "x"), "x\n1\n")


class Marker(unittest.TestCase):
    def test_no_secret_is_written_down(self):
        """Secrets are planted, all that the server wrote is searched for them."""
        args = CHEAP + ("--log-level", "debug")
        with Node(kind="confman", args=args) as node:
            door = Door(node.endpoint)
            words = ["Pl4nted-" + secrets.token_hex(8) for _ in range(5)]
            door.enable(words[0])
            root = door.login("root", words[0])
            door.user("bob", words[1], root)
            tokens = [root, door.login("bob", words[1])]
            door.auth("UserChangePassword",
                      pb.AuthUserChangePasswordRequest(name="bob", password=words[2]), root)
            refusal(door.login, "bob", words[3])
            refusal(door.user, "bob", words[4], root)       # there is one
            refusal(door.user, "long", words[4] * 5, root)
            curl(node.url + "/v1/status", "-u", "bob:" + words[2])
            curl(node.url + "/v1/status", "-u", "bob:" + words[4])
            curl(node.url + "/v1/status", "-H", "Authorization: Bearer " + words[3])
            door.put(b"marker", b"m4rker-value", root)
            door.channel.close()
            node.stop()     # writes a checkpoint, too
            with open(node.log_path, "rb") as f:
                log = f.read()
            files = [os.path.join(folder, name) for folder, _, names in os.walk(node.data)
                     for name in names]
            found = b""
            for name in files:
                with open(name, "rb") as f:
                    found += f.read()
            self.assertIn(b"m4rker-value", found)   # the search does find what is there
            self.assertIn(b"$2b$04$", found)
            self.assertGreater(len(log), 0)
            for secret in words + tokens + [t.split(".")[0] for t in tokens]:
                for form in (secret.encode(), base64.b64encode(secret.encode()).rstrip(b"="),
                             secret.encode().hex().encode()):
                    self.assertNotIn(form, found)
                    self.assertNotIn(form, log)
            node.start()


if __name__ == "__main__":
    main()
