"""The seal by another server's transit: two confmans, one of which is the other's transit; from one
kind of seal to another; answers that are none."""
import base64
import json
import os
import subprocess
import threading
import time
import unittest

import hvac

from node import Node, confman_bin, confman_only, main, make_certificate, wait_until
from secret_test import make_key
from transit import GOOD, Transit
from vault_test import vault_node
from web import curl

JSON = ("-H", "content-type: application/json")
KEY = "unseal"


def write_private(path, text):
    with open(os.open(path + ".new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w",
              encoding="ascii") as f:
        f.write(text + "\n")
    os.rename(path + ".new", path)


def opened_by(client, endpoint):
    """The seal's key, as only the transit can open it."""
    value = subprocess.run(["/usr/bin/etcdctl", "--endpoints", endpoint, "get",
                            "confman/seal-config", "--print-value-only"], check=True,
                           capture_output=True, timeout=20).stdout
    sealed = value[value.index(b"vault:v"):].rstrip(b"\n").decode()
    plain = client.secrets.transit.decrypt_data(name=KEY, ciphertext=sealed)
    return base64.b64decode(plain["data"]["plaintext"])


def seal_args(url, *more):
    return ["--seal-transit-address", url, "--seal-transit-key", KEY, *more]


class Sealed(Node):
    """A node that is sealed by a transit."""
    def __init__(self, url, *more, **kind):
        super().__init__(**kind)
        self.token_file = os.path.join(self.folder, "token")
        self.args += seal_args(url, *more)
        if "--seal-transit-role-id" not in more:
            write_private(self.token_file, "hvs.first")
            self.args += ["--seal-transit-token-file", self.token_file]

    def ask(self, method, path, body=None):
        return curl(self.url + "/v1/" + path, *JSON, "-X", method,
                    body=None if body is None else json.dumps(body).encode())

    def state(self):
        return self.ask("GET", "seal").json

    def put(self, path, **data):
        return self.ask("PUT", "secrets/" + path, {"data": data}).status

    def get(self, path):
        a = self.ask("GET", "secrets/" + path)
        return a.json["data"] if a.status == 200 else a.status

    def opens(self):
        try:
            wait_until(lambda: not self.state()["sealed"], 20, "secrets are open")
        except AssertionError as e:
            raise AssertionError("%s: %r\n%s" % (e, self.state(), self.log_tail())) from None

    def waits_for(self, text):
        try:
            wait_until(lambda: text in self.state().get("waits_for", ""), 20,
                       "it waits for " + text)
        except AssertionError as e:
            raise AssertionError("%s: %r" % (e, self.state())) from None

    def cli(self, *words, code=0):
        done = subprocess.run([confman_bin(), *words, "--endpoint", self.endpoint], text=True,
                              capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
        if done.returncode != code:
            raise AssertionError("%d: %s%s" % (done.returncode, done.stdout, done.stderr))
        return done.stdout + done.stderr

    def metric(self, name):
        for line in curl(self.url + "/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError("no metric " + name)


@confman_only
class TwoTest(unittest.TestCase):
    """The transit is another confman's, with auth enabled."""
    def setUp(self):
        self.other = vault_node(args=("--bcrypt-cost", "4"))
        self.addCleanup(self.other.close)
        self.other.start()
        key = base64.b64encode(b"confman/transit/" + KEY.encode()).decode()
        for path, body in (("user/add", {"name": "root", "password": "rpw"}),
                           ("user/grant", {"user": "root", "role": "root"}),
                           ("user/add", {"name": "sealer", "password": "spw"}),
                           ("role/add", {"name": "seals"}),
                           ("role/grant", {"name": "seals",
                                           "perm": {"permType": "READ", "key": key}}),
                           ("user/grant", {"user": "sealer", "role": "seals"}), ("enable", {})):
            a = curl(self.other.url + "/v3/auth/" + path, body=json.dumps(body).encode())
            self.assertEqual(a.status, 200, a)
        self.root = self.login("root", "rpw")
        self.root.secrets.transit.create_key(name=KEY)
        self.node = Sealed(self.other.vault)
        self.addCleanup(self.node.close)
        self.give_token(ttl="1h")

    def login(self, user, password):
        client = hvac.Client(url=self.other.vault)
        client.auth.userpass.login(user, password)
        return client

    def give_token(self, ttl):
        made = self.login("sealer", "spw").auth.token.create(ttl=ttl)
        self.token = made["auth"]["client_token"]
        write_private(self.node.token_file, self.token)

    def test_two(self):
        node, other = self.node, self.other
        node.start()
        node.opens()
        self.assertEqual(node.state()["type"], "transit")
        self.assertEqual(node.put("a", x="1"), 200)
        key = opened_by(self.root, node.endpoint)
        other.kill()                    # what is open stays open
        self.assertEqual((node.put("b", x="2"), node.get("a")), (200, {"x": "1"}))
        node.kill()
        node.start()                    # the one that seals is away: the rest serves
        node.waits_for("connect")
        self.assertEqual(node.get("a"), 503)
        self.assertEqual(node.ask("PUT", "config/x", {"value": 1}).status, 201)
        ready = curl(node.url + "/health/ready")
        self.assertEqual((ready.status, b"secrets: sealed, by transit" in ready.body), (200, True))
        self.assertEqual(node.metric("confman_sealed"), 1)
        other.start()
        node.opens()
        self.assertEqual((node.get("a"), node.get("b")), ({"x": "1"}, {"x": "2"}))
        self.assertEqual(node.metric("confman_sealed"), 0)
        self.assertGreater(node.metric("confman_seal_transit_failures_total"), 0)
        self.forbidden()
        self.rotated()
        self.renewed()
        self.revoked()
        self.search(key)

    def rotated(self):
        node = self.node
        self.assertEqual(node.state()["transit_key_version"], 1)
        self.root.secrets.transit.rotate_key(name=KEY)
        self.assertIn("version 2 of its key", node.cli("seal", "rewrap"))
        node.kill()
        node.start()
        node.opens()
        self.assertEqual(node.get("a"), {"x": "1"})

    def forbidden(self):
        """The seal is for those who may write it."""
        token = self.login("sealer", "spw").token
        for path, body in (("migrate", b'{"type": "static"}'), ("migrate", b'{"type": "transit"}'),
                           ("rewrap", b"")):
            a = curl(self.other.url + "/v1/seal/" + path, *JSON, "-H", "Authorization: Bearer " +
                     token, "-X", "POST", body=body)
            self.assertEqual(a.status, 403, a)

    def renewed(self):
        """One that would end soon: put there without a restart, it is renewed again and again."""
        self.give_token(ttl="3s")
        asked = self.node.metric("confman_seal_transit_attempts_total")
        wait_until(lambda: self.node.metric("confman_seal_transit_attempts_total") > asked + 1, 10,
                   "the token is renewed again")
        self.assertEqual(self.node.metric("confman_seal_transit_failures_total"), 0)
        self.assertGreater(self.node.metric("confman_seal_transit_token_seconds"), 0)

    def revoked(self):
        node = self.node
        self.root.auth.token.revoke(self.token)
        self.assertIn("HTTP status 403", node.cli("seal", "rewrap", code=1))
        self.assertEqual(node.get("a"), {"x": "1"})
        node.kill()
        node.start()
        node.waits_for("HTTP status 403")
        self.assertEqual(node.metric("confman_seal_transit_status"), 403)
        self.give_token("1h")           # seen without a restart
        node.opens()

    def search(self, key):
        """The seal's key and the token are nowhere but where they were put."""
        node, other = self.node, self.other
        self.assertEqual((node.stop(), other.stop()), (0, 0))
        seen = bytearray()
        for one in (node, other):
            for folder, _, names in os.walk(one.folder):
                for name in names:
                    path = os.path.join(folder, name)
                    if path not in (node.token_file, other.key_file):
                        with open(path, "rb") as f:
                            seen += f.read()
        self.assertIn(b"vault:v2:", seen)
        for needle in (key, key.hex().encode(), base64.b64encode(key)[:42], self.token.encode()):
            self.assertNotIn(needle, seen)


@confman_only
class KindTest(unittest.TestCase):
    def test_from_kind_to_kind(self):
        transit = Transit()
        self.addCleanup(transit.close)
        node = Sealed(transit.url)
        self.addCleanup(node.close)
        node.args += ["--seal-key-file", make_key(node.folder)]
        node.start()
        self.assertEqual(node.put("a", x="1"), 200)
        self.assertEqual(node.state()["type"], "static")
        node.cli("seal", "rewrap", code=1)
        self.assertIn("type         transit", node.cli("seal", "migrate", "transit"))
        self.again(node, "transit")
        told = node.cli("seal", "migrate", "shamir", "--shares", "1", "--threshold", "1")
        share = told.split()[2]
        node.kill()
        node.start()
        node.waits_for("1 of 1 shares")
        self.assertEqual(node.ask("POST", "seal/unseal", {"share": share}).status, 200)
        self.assertEqual(node.get("a"), {"x": "1"})
        node.cli("seal", "migrate", "static")
        self.again(node, "static")
        for words in (("migrate",), ("migrate", "paper"), ("status", "static")):
            node.cli("seal", *words, code=2)
        for body in ({}, {"type": 1}, {"type": "paper"}, {"type": "shamir", "shares": 0}):
            self.assertEqual(node.ask("POST", "seal/migrate", body).status, 400)
        self.not_so_set(node)

    def again(self, node, kind):
        self.assertEqual(node.get("a"), {"x": "1"})
        node.kill()
        node.start()
        node.opens()
        self.assertEqual((node.get("a"), node.state()["type"]), ({"x": "1"}, kind))

    def not_so_set(self, node):
        """What the seal is not set for is told, with what to set."""
        args, node.args = node.args, []
        node.stop()
        node.start()
        node.waits_for("seal-key-file")
        node.stop()
        node.args = ["--seal-key-file", make_key(node.folder, "other.key")]
        node.start()
        node.waits_for("does not open this seal")
        node.cli("seal", "migrate", "transit", code=1)
        node.stop()
        node.args = args
        node.start()
        node.cli("seal", "migrate", "transit")
        node.stop()
        node.args = []
        node.start()
        node.waits_for("seal-transit-address")

    def test_refused_at_start(self):
        node = Node()
        self.addCleanup(node.close)
        token = ("--seal-transit-token-file", "x")
        for args, why in (
                (["--seal-transit-key", "k"], "seal-transit-address is not set"),
                (seal_args("http://vault.example:8200", *token), "must be https"),
                (seal_args("http://127.0.0.1:1", *token, "--seal-transit-key", "a/b"), "letters"),
                (seal_args("http://127.0.0.1:1", *token, "--seal-transit-mount", "/x"), "mount"),
                (seal_args("http://127.0.0.1:1"), "give one of"),
                (seal_args("http://127.0.0.1:1", *token, "--seal-transit-role-id", "r"),
                 "go together")):
            done = subprocess.run(node.command() + args, capture_output=True, timeout=20,
                                  check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn(why, done.stderr.decode())


@confman_only
class AnswerTest(unittest.TestCase):
    def sealed(self, transit, *more, **kind):
        self.addCleanup(transit.close)
        node = Sealed(transit.url, *more, **kind)
        self.addCleanup(node.close)
        return node.start()

    def test_what_is_asked(self):
        """As Vault's API has it, over TLS, by an AppRole, in a namespace."""
        folder = Node().folder
        certificate = make_certificate(folder)
        secret = os.path.join(folder, "secret-id")
        write_private(secret, "the-secret-id")
        transit = Transit(certificate)
        node = self.sealed(transit, "--seal-transit-ca-file", certificate[0],
                           "--seal-transit-role-id", "the-role", "--seal-transit-secret-id-file",
                           secret, "--seal-transit-namespace", "team/a",
                           "--seal-transit-mount", "keys/transit")
        node.opens()
        node.kill()
        transit.asked.clear()
        node.start()
        node.opens()
        wait_until(lambda: len(transit.asked) == 3, 5, "the token is given back")
        self.assertEqual([(a[0], a[1]) for a in transit.asked],
                         [("POST", "/v1/auth/approle/login"),
                          ("POST", "/v1/keys/transit/decrypt/" + KEY),
                          ("POST", "/v1/auth/token/revoke-self")])
        login, opens, ends = transit.asked
        self.assertEqual(login[3], {"role_id": "the-role", "secret_id": "the-secret-id"})
        self.assertEqual(list(opens[3]), ["ciphertext"])
        self.assertNotIn("X-Vault-Token", login[2])
        for a in transit.asked:
            self.assertEqual((a[2]["X-Vault-Namespace"], a[2]["X-Vault-Request"],
                              a[2]["Content-Type"]), ("team/a", "true", "application/json"))
        self.assertEqual((opens[2]["X-Vault-Token"], ends[2]["X-Vault-Token"]),
                         ("hvs.of-login",) * 2)
        node.stop()
        node.args += ["--seal-transit-ca-file", make_certificate(node.folder)[0]]
        node.start()
        node.waits_for("certificate")

    def test_token_of_the_environment(self):
        """And the second address, as nobody answers at the first."""
        transit = Transit()
        self.addCleanup(transit.close)
        node = Node()
        self.addCleanup(node.close)
        node.args = seal_args("http://127.0.0.1:1," + transit.url)
        os.environ["CONFMAN_SEAL_TRANSIT_TOKEN"] = "hvs.of-environment"
        try:
            node.start()
        finally:
            del os.environ["CONFMAN_SEAL_TRANSIT_TOKEN"]
        wait_until(lambda: not curl(node.url + "/v1/seal").json["sealed"], 20, "secrets are open")
        self.assertEqual(transit.asked[0][2]["X-Vault-Token"], "hvs.of-environment")
        self.assertEqual([a[1].split("/")[3] for a in transit.asked if "crypt/" in a[1]],
                         ["encrypt", "decrypt", "decrypt"])
        with open("/proc/%d/environ" % node.process.pid, "rb") as f:
            self.assertNotIn(b"of-environment", f.read())

    def test_bad_answers(self):
        transit = Transit()
        node = self.sealed(transit, "--seal-transit-disable-renewal")
        node.opens()
        self.assertEqual(node.put("a", x="1"), 200)
        node.cli("seal", "seal")
        node.waits_for("confman seal unseal")
        other = base64.b64encode(b"x" * 32).decode()
        for said, why in (
                ((403, {"errors": ["permission denied"]}), "status 403"),
                ((404, {"errors": ["no handler for route"]}), "no such engine"),
                ((400, {"errors": ["cipher: message authentication failed\nx"]}), "failed x"),
                ((429, {}), "too often"), ((500, b"oops"), "status 500"),
                ((503, {"errors": ["Vault is sealed"]}), "Vault is sealed"),
                ((307, b""), "elsewhere"), ((200, b"<html>"), "no JSON"), ((200, {}), "no key"),
                ((200, b"x" * 70000), "more than 65536"), (None, "mpty reply"),
                ((200, {"data": {"plaintext": "AAAA"}}), "no key of 32 bytes"),
                ((200, {"data": {"plaintext": other}}), "not the key of this seal"),
                ((200, {"errors": ["x"], "data": 5}), "no key")):
            transit.mode = lambda op, said=said: said
            node.cli("seal", "unseal")
            node.waits_for(why)
        transit.mode = GOOD
        node.cli("seal", "unseal")
        node.opens()
        self.assertEqual(node.get("a"), {"x": "1"})
        plain = list(transit.known.values())[0]
        for said, why in (((200, {"data": {"ciphertext": "abc"}}), "no ciphertext"),
                          ((500, {"errors": [plain]}), "status 500")):
            transit.mode = lambda op, said=said: said
            told = node.cli("seal", "rewrap", code=1)
            self.assertIn(why, told)
            self.assertNotIn(plain, told)
        transit.mode = GOOD
        transit.decrypt = lambda body: (200, {"data": {"plaintext": other}})
        self.assertIn("as something else", node.cli("seal", "rewrap", code=1))
        self.assertEqual(node.get("a"), {"x": "1"})
        self.silent(transit, node)
        with open(node.log_path, encoding="utf-8") as f:
            log = f.read()
        self.assertNotIn(plain, log)
        self.assertNotIn("hvs.first", log)

    def silent(self, transit, node):
        """Who asked may go away; one at a time is enough; and a stop does not wait for it."""
        said = threading.Event()
        self.addCleanup(said.set)
        transit.mode = lambda op: said.wait(30) and None
        asked = len(transit.asked)
        with self.assertRaises(subprocess.CalledProcessError):
            curl(node.url + "/v1/seal/rewrap", "-X", "POST", seconds=0.5)
        self.assertEqual(len(transit.asked), asked + 1)
        self.assertEqual(node.ask("POST", "seal/rewrap").status, 429)
        began = time.monotonic()
        self.assertEqual(node.stop(), 0)
        self.assertLess(time.monotonic() - began, 4)


if __name__ == "__main__":
    main()
