"""The door for Vault's clients, by Debian's python3-hvac."""
import base64
import os
import unittest

import hvac
import hvac.exceptions

from node import Node, confman_only, free_port, main, wait_until
from secret_test import make_key
from web import curl


def vault_node(seal=True, **more):
    node = Node(**more)
    node.vault_port = free_port()
    node.vault = "http://127.0.0.1:%d" % node.vault_port
    node.args += ["--vault-listen", "127.0.0.1:%d" % node.vault_port]
    if seal:
        node.key_file = make_key(node.folder)
        node.args += ["--seal-key-file", node.key_file]
    return node


@confman_only
class KvTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.node = vault_node()
        cls.node.start()
        cls.client = hvac.Client(url=cls.node.vault, token="any")
        cls.kv = cls.client.secrets.kv.v2

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def put(self, path, data, **more):
        return self.kv.create_or_update_secret(path=path, secret=data, **more)["data"]

    def get(self, path, **more):
        return self.kv.read_secret_version(path=path, **more)["data"]

    def test_versions(self):
        self.assertEqual(self.put("v/a", {"user": "ann", "deep": {"n": 1}})["version"], 1)
        self.assertEqual(self.put("v/a", {"user": "bob"})["version"], 2)
        now = self.get("v/a")
        self.assertEqual((now["data"], now["metadata"]["version"]), ({"user": "bob"}, 2))
        self.assertEqual(now["metadata"]["deletion_time"], "")
        self.assertFalse(now["metadata"]["destroyed"])
        self.assertEqual(self.get("v/a", version=1)["data"], {"user": "ann", "deep": {"n": 1}})
        with self.assertRaises(hvac.exceptions.InvalidPath):
            self.get("v/none")

    def test_check_and_set(self):
        self.put("cas", {"a": 1}, cas=0)
        for cas in (0, 7):
            with self.assertRaisesRegex(hvac.exceptions.InvalidRequest, "check-and-set"):
                self.put("cas", {"a": 2}, cas=cas)
        self.put("cas", {"a": 2}, cas=1)
        self.kv.update_metadata(path="cas", cas_required=True)
        with self.assertRaises(hvac.exceptions.InvalidRequest):
            self.put("cas", {"a": 3})
        self.assertEqual(self.get("cas")["data"], {"a": 2})

    def test_delete_undelete_destroy(self):
        for i in range(3):
            self.put("d", {"i": i})
        self.kv.delete_latest_version_of_secret(path="d")
        with self.assertRaises(hvac.exceptions.InvalidPath):
            self.get("d")
        self.kv.undelete_secret_versions(path="d", versions=[3])
        self.assertEqual(self.get("d")["data"], {"i": 2})
        self.kv.delete_secret_versions(path="d", versions=[1, 2])
        self.kv.destroy_secret_versions(path="d", versions=[1])
        self.kv.undelete_secret_versions(path="d", versions=[1, 2])
        self.assertEqual(self.get("d", version=2)["data"], {"i": 1})
        with self.assertRaises(hvac.exceptions.InvalidPath):
            self.get("d", version=1)
        known = self.kv.read_secret_metadata(path="d")["data"]
        self.assertTrue(known["versions"]["1"]["destroyed"])
        self.assertFalse(known["versions"]["2"]["destroyed"])

    def test_metadata(self):
        self.put("m", {"a": 1})
        self.kv.update_metadata(path="m", max_versions=2, delete_version_after="1h30m")
        self.client.write("secret/metadata/m", custom_metadata={"team": "red", "pager": "5"})
        for i in range(3):
            self.put("m", {"a": i})
        known = self.kv.read_secret_metadata(path="m")["data"]
        self.assertEqual((known["max_versions"], known["current_version"]), (2, 4))
        self.assertEqual(sorted(known["versions"]), ["3", "4"])
        self.assertEqual(known["delete_version_after"], "1h30m0s")
        self.assertEqual(known["custom_metadata"], {"team": "red", "pager": "5"})
        self.assertNotEqual(known["versions"]["4"]["deletion_time"], "")
        self.assertEqual(self.get("m")["metadata"]["custom_metadata"]["team"], "red")
        a = curl(self.node.vault + "/v1/secret/metadata/m", "-X", "PATCH", "-H",
                 "content-type: application/merge-patch+json",
                 body=b'{"custom_metadata": {"pager": null, "more": "x"}, "max_versions": 5}')
        self.assertEqual(a.status, 204, a)
        known = self.kv.read_secret_metadata(path="m")["data"]
        self.assertEqual((known["custom_metadata"], known["max_versions"]),
                         ({"team": "red", "more": "x"}, 5))
        self.kv.delete_metadata_and_all_versions(path="m")
        with self.assertRaises(hvac.exceptions.InvalidPath):
            self.kv.read_secret_metadata(path="m")

    def test_deletes_itself(self):
        self.kv.update_metadata(path="soon", delete_version_after="1s")
        self.put("soon", {"a": 1})
        self.assertEqual(self.get("soon")["data"], {"a": 1})

        def gone():
            try:
                return not self.get("soon")
            except hvac.exceptions.InvalidPath:
                return True
        wait_until(gone, 5, "the version is deleted by itself")

    def test_list(self):
        for path in ("l/a", "l/b/c", "l/b/d"):
            self.put(path, {"a": 1})
        self.assertEqual(self.kv.list_secrets(path="l")["data"]["keys"], ["a", "b/"])
        self.assertEqual(self.client.list("secret/metadata/l/b")["data"]["keys"], ["c", "d"])
        a = curl(self.node.vault + "/v1/secret/metadata/l?list=true")
        self.assertEqual(a.json["data"]["keys"], ["a", "b/"])
        with self.assertRaises(hvac.exceptions.InvalidPath):
            self.kv.list_secrets(path="nothing/here")

    def test_patch(self):
        self.put("p", {"a": 1, "b": {"c": 2, "d": 3}, "e": [1]})
        self.kv.patch(path="p", secret={"f": "new"})
        a = curl(self.node.vault + "/v1/secret/data/p", "-X", "PATCH", "-H",
                 "content-type: application/merge-patch+json",
                 body=b'{"data": {"b": {"c": null, "x": {"y": null, "z": 1}}, "e": 5}}')
        self.assertEqual((a.status, a.json["data"]["version"]), (200, 3), a)
        self.assertEqual(self.get("p")["data"],
                         {"a": 1, "b": {"d": 3, "x": {"z": 1}}, "e": 5, "f": "new"})
        for status, path, body in ((404, "none", b'{"data": {"a": 1}}'),
                                   (400, "p", b'{"data": {"a": 1}, "options": {"cas": 1}}')):
            a = curl(self.node.vault + "/v1/secret/data/" + path, "-X", "PATCH", "-H",
                     "content-type: application/merge-patch+json", body=body)
            self.assertEqual(a.status, status, a)
        self.assertEqual(curl(self.node.vault + "/v1/secret/data/p", "-X", "PATCH",
                              body=b'{"data": {}}').status, 415)

    def test_subkeys(self):
        self.put("s", {"a": "secret", "b": {"c": {"d": 1}}})
        keys = self.client.read("secret/subkeys/s")["data"]
        self.assertEqual(keys["subkeys"], {"a": None, "b": {"c": {"d": None}}})
        a = curl(self.node.vault + "/v1/secret/subkeys/s?depth=2")
        self.assertEqual(a.json["data"]["subkeys"], {"a": None, "b": {"c": None}})

    def test_configuration_of_a_mount(self):
        self.client.sys.enable_secrets_engine("kv", path="team", options={"version": "2"})
        self.assertIn("team/", self.client.sys.list_mounted_secrets_engines()["data"])
        self.kv.configure(max_versions=3, cas_required=True, mount_point="team")
        got = self.kv.read_configuration(mount_point="team")["data"]
        self.assertEqual((got["max_versions"], got["cas_required"]), (3, True))
        with self.assertRaises(hvac.exceptions.InvalidRequest):
            self.kv.create_or_update_secret("x", {"a": 1}, mount_point="team")
        for i in range(5):
            self.kv.create_or_update_secret("x", {"a": i}, cas=i, mount_point="team")
        known = self.kv.read_secret_metadata("x", mount_point="team")["data"]
        self.assertEqual(sorted(known["versions"]), ["3", "4", "5"])
        self.client.sys.disable_secrets_engine("team")
        with self.assertRaises(hvac.exceptions.InvalidPath):
            self.kv.read_secret_version("x", mount_point="team")

    def test_server(self):
        self.assertTrue(self.client.sys.is_initialized())
        self.assertFalse(self.client.sys.is_sealed())
        self.assertTrue(self.client.sys.read_health_status(method="GET")["initialized"])
        self.assertTrue(self.client.sys.read_leader_status()["is_self"])
        self.assertTrue(self.client.is_authenticated())
        self.assertEqual(self.client.lookup_token()["data"]["policies"], ["root"])
        a = curl(self.node.vault + "/v1/sys/internal/ui/mounts/secret/app/db")
        self.assertEqual((a.json["data"]["path"], a.json["data"]["options"]),
                         ("secret/", {"version": "2"}))

    def test_refused(self):
        for status, method, path in ((404, "GET", "/v1/sys/nothing"), (404, "GET", "/v2/x"),
                                     (405, "POST", "/v1/sys/health"), (404, "GET", "/v1/"),
                                     (400, "GET", "/v1/secret/data/%zz"),
                                     (400, "GET", "/v1/secret/data/a//b"),
                                     (404, "GET", "/v1/config/a"), (404, "GET", "/metrics")):
            a = curl(self.node.vault + path, "-X", method)
            self.assertEqual(a.status, status, (path, a))
            self.assertIsInstance(a.json["errors"], list)
        for body in (b"{", b"[]", b'{"data": 5}', b'{"data": {}, "options": {"cas": "x"}}'):
            self.assertEqual(curl(self.node.vault + "/v1/secret/data/r", body=body).status, 400)
        for header in ("X-Vault-Wrap-TTL: 60", "X-Vault-Namespace: team"):
            a = curl(self.node.vault + "/v1/secret/data/r", "-H", header)
            self.assertEqual((a.status, "not offered" in a.json["errors"][0]), (400, True), a)

    def test_reason_may_be_asked_for(self):
        self.kv.create_or_update_secret("a", {"x": 1}, mount_point="why")
        self.assertEqual(curl(self.node.url + "/v1/secrets?action=configure&namespace=why",
                              body=b'{"reason_required": true}').status, 200)
        with self.assertRaisesRegex(hvac.exceptions.InvalidRequest, "reason"):
            self.kv.read_secret_version("a", mount_point="why")
        a = curl(self.node.vault + "/v1/why/data/a", "-H", "X-Confman-Reason: rotation")
        self.assertEqual(a.json["data"]["data"], {"x": 1})
        self.assertEqual(curl(self.node.url + "/v1/secrets/a?namespace=why").status, 400)
        self.assertEqual(curl(self.node.url + "/v1/secrets/a?namespace=why", "-H",
                              "x-confman-reason: y").status, 200)

    def test_transit(self):
        transit = self.client.secrets.transit
        transit.create_key(name="t")
        clear = base64.b64encode(b"clear text").decode()
        one = transit.encrypt_data(name="t", plaintext=clear)["data"]["ciphertext"]
        self.assertTrue(one.startswith("vault:v1:"), one)
        transit.rotate_key(name="t")
        two = transit.rewrap_data(name="t", ciphertext=one)["data"]["ciphertext"]
        self.assertTrue(two.startswith("vault:v2:"), two)
        for text in (one, two):
            self.assertEqual(transit.decrypt_data(name="t", ciphertext=text)["data"]["plaintext"],
                             clear)
        self.assertEqual(transit.read_key(name="t")["data"]["latest_version"], 2)
        self.assertEqual(transit.list_keys()["data"]["keys"], ["t"])
        batch = transit.encrypt_data(name="t", plaintext=None,
                                     batch_input=[{"plaintext": clear}] * 2)["data"]
        self.assertEqual(len(batch["batch_results"]), 2)
        for bad in (two[:-4] + "AAAA", "vault:v9:AAAA", "nothing"):
            with self.assertRaises(hvac.exceptions.InvalidRequest):
                transit.decrypt_data(name="t", ciphertext=bad)
        with self.assertRaises(hvac.exceptions.InvalidRequest):
            transit.encrypt_data(name="t", plaintext="not base64!")
        transit.delete_key(name="t")
        with self.assertRaises(hvac.exceptions.InvalidPath):
            transit.read_key(name="t")


@confman_only
class TokenTest(unittest.TestCase):
    """With auth enabled: what a token may, and when it ends."""
    @classmethod
    def setUpClass(cls):
        cls.node = vault_node(args=("--bcrypt-cost", "4"))
        cls.node.start()
        cls.ask("user/add", name="root", password="rpw")
        cls.ask("user/grant", user="root", role="root")
        cls.ask("user/add", name="app", options={"no_password": True})
        cls.ask("user/add", name="ann", password="apw")
        cls.ask("role/add", name="apps")
        key = b"confman/secret/secret/app/"
        cls.ask("role/grant", name="apps", perm={
            "permType": "READWRITE", "key": base64.b64encode(key).decode(),
            "range_end": base64.b64encode(key[:-1] + b"0").decode()})
        for user in ("app", "ann"):
            cls.ask("user/grant", user=user, role="apps")
        cls.ask("enable")
        cls.root = cls.login("root", "rpw")

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    @classmethod
    def ask(cls, path, **body):
        import json
        a = curl(cls.node.url + "/v3/auth/" + path, body=json.dumps(body).encode())
        assert a.status == 200, a

    @classmethod
    def login(cls, user, password):
        client = hvac.Client(url=cls.node.vault)
        client.auth.userpass.login(user, password)
        return client

    def test_rights_are_those_of_the_user(self):
        ann = self.login("ann", "apw")
        kv = ann.secrets.kv.v2
        kv.create_or_update_secret("app/x/db", {"pw": "x"})
        self.assertEqual(kv.read_secret_version("app/x/db")["data"]["data"], {"pw": "x"})
        self.assertEqual(kv.list_secrets("app/x")["data"]["keys"], ["db"])
        for call in (lambda: kv.create_or_update_secret("other", {"a": 1}),
                     lambda: kv.read_secret_version("other"), lambda: kv.list_secrets(""),
                     lambda: ann.sys.seal(),
                     lambda: ann.secrets.transit.create_key(name="k"),
                     lambda: ann.auth.approle.create_or_update_approle("evil")):
            with self.assertRaises(hvac.exceptions.Forbidden):
                call()
        me = ann.lookup_token()["data"]
        self.assertEqual((me["policies"], me["meta"]["username"], me["path"]),
                         (["apps"], "ann", "auth/userpass/login"))

    def test_nobody(self):
        for client in (hvac.Client(url=self.node.vault),
                       hvac.Client(url=self.node.vault, token="hvs.wrong.1"),
                       hvac.Client(url=self.node.vault, token="wrong")):
            with self.assertRaises(hvac.exceptions.Forbidden):
                client.secrets.kv.v2.read_secret_version("app/db")
            self.assertFalse(client.is_authenticated())
        with self.assertRaises(hvac.exceptions.InvalidRequest):
            self.login("ann", "wrong")
        with self.assertRaises(hvac.exceptions.InvalidRequest):
            self.login("nobody", "wrong")

    def test_renew_and_revoke(self):
        ann = self.login("ann", "apw")
        short = ann.auth.token.create(ttl="100s", explicit_max_ttl="150s")["auth"]
        self.assertLessEqual(short["lease_duration"], 100)
        child = hvac.Client(url=self.node.vault, token=short["client_token"])
        self.assertTrue(child.is_authenticated())
        self.assertEqual(child.auth.token.renew_self(increment="50s")["auth"]["lease_duration"], 50)
        child.auth.token.revoke_self()
        self.assertFalse(child.is_authenticated())
        self.assertTrue(ann.is_authenticated())
        root_asks = self.root.auth.token.lookup(ann.token)["data"]
        self.assertEqual(root_asks["meta"]["username"], "ann")
        with self.assertRaises(hvac.exceptions.Forbidden):
            ann.auth.token.lookup(self.root.token)
        self.root.auth.token.revoke(ann.token)
        self.assertFalse(ann.is_authenticated())

    def test_a_token_ends(self):
        ann = self.login("ann", "apw")
        token = ann.auth.token.create(ttl="1s")["auth"]["client_token"]
        child = hvac.Client(url=self.node.vault, token=token)
        self.assertTrue(child.is_authenticated())
        wait_until(lambda: not child.is_authenticated(), 5, "the token ends")
        before = self.metric("confman_vault_tokens_ended_total")
        wait_until(lambda: self.metric("confman_vault_tokens_ended_total") > before - 1, 5, "swept")

    def test_a_token_ends_with_its_user(self):
        """And is not good again for the next one of that name."""
        def add():
            self.as_root("user/add", name="old", password="opw")
            self.as_root("user/grant", user="old", role="apps")
        add()
        old = self.login("old", "opw")
        self.assertTrue(old.is_authenticated())
        ended = self.metric("confman_vault_tokens_ended_total")
        self.as_root("user/delete", name="old")
        self.assertFalse(old.is_authenticated())
        wait_until(lambda: self.metric("confman_vault_tokens_ended_total") > ended, 10, "swept")
        add()
        self.assertFalse(old.is_authenticated())

    def metric(self, name):
        for line in curl(self.node.url + "/metrics").body.decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        raise AssertionError("no metric " + name)

    def test_approle(self):
        role = self.root.auth.approle
        role.create_or_update_approle("app", token_ttl="10m", secret_id_num_uses=2)
        role_id = role.read_role_id("app")["data"]["role_id"]
        made = role.generate_secret_id("app")["data"]
        self.assertEqual(role.list_roles()["data"]["keys"], ["app"])
        client = hvac.Client(url=self.node.vault)
        for i in range(2):
            got = client.auth.approle.login(role_id, made["secret_id"])
            self.assertEqual((got["auth"]["policies"], got["auth"]["lease_duration"]),
                             (["apps"], 600))
        client.secrets.kv.v2.create_or_update_secret("app/role", {"a": 1})
        for wrong in ((role_id, made["secret_id"]), (role_id, "x"), ("x", "y")):
            with self.assertRaises(hvac.exceptions.InvalidRequest):
                client.auth.approle.login(*wrong)
        made = role.generate_secret_id("app")["data"]
        self.assertEqual(role.list_secret_id_accessors("app")["data"]["keys"],
                         [made["secret_id_accessor"]])
        role.destroy_secret_id("app", made["secret_id"])
        with self.assertRaises(hvac.exceptions.InvalidRequest):
            client.auth.approle.login(role_id, made["secret_id"])
        role.delete_role("app")
        with self.assertRaises(hvac.exceptions.InvalidPath):
            role.read_role_id("app")

    def test_approle_of_no_user(self):
        """Its name is as long as it may be. That there is no such user hears who has its secret."""
        role, name = self.root.auth.approle, "n" * 128
        role.create_or_update_approle(name)
        role_id = role.read_role_id(name)["data"]["role_id"]
        secret_id = role.generate_secret_id(name)["data"]["secret_id"]
        client = hvac.Client(url=self.node.vault)
        for shown, text in (((role_id, secret_id), "no user of the role's name"),
                            ((role_id, "x"), "invalid role"), (("x.none", "x"), "invalid role")):
            with self.assertRaisesRegex(hvac.exceptions.InvalidRequest, text):
                client.auth.approle.login(*shown)
        role.delete_role(name)

    def test_keys_of_tokens_are_roots_alone(self):
        """A role that may write everything may still not make itself anybody."""
        self.as_root("role/add", name="all")
        self.as_root("role/grant", name="all", perm={"permType": "READWRITE", "key": "AA==",
                                                     "range_end": "AA=="})
        self.as_root("user/add", name="eve", password="epw")
        self.as_root("user/grant", user="eve", role="all")
        put = b'{"key": "%s", "value": "eA=="}' % base64.b64encode(b"confman/token/abc")
        range_delete = b'{"key": "AA==", "range_end": "AA=="}'
        for path, body, status in (("put", put, 403), ("deleterange", range_delete, 403),
                                   ("put", b'{"key": "eA==", "value": "eA=="}', 200)):
            a = curl(self.node.url + "/v3/kv/" + path, "-H", "Authorization: " + self.v3("eve"),
                     body=body)
            self.assertEqual(a.status, status, a)

    def v3(self, user):
        password = {"root": "rpw", "eve": "epw"}[user]
        return curl(self.node.url + "/v3/auth/authenticate",
                    body=b'{"name": "%s", "password": "%s"}' % (user.encode(), password.encode())
                    ).json["token"]

    def as_root(self, path, **body):
        import json
        a = curl(self.node.url + "/v3/auth/" + path, "-H", "Authorization: " + self.v3("root"),
                 body=json.dumps(body).encode())
        self.assertEqual(a.status, 200, a)


@confman_only
class ShamirTest(unittest.TestCase):
    def test_shares(self):
        node = vault_node(seal=False)
        self.addCleanup(node.close)
        node.start()
        client = hvac.Client(url=node.vault, token="any")
        self.assertFalse(client.sys.is_initialized())
        made = client.sys.initialize(secret_shares=5, secret_threshold=3)
        self.assertEqual(len(made["keys"]), 5)
        self.assertTrue(client.sys.is_initialized())
        self.assertFalse(client.sys.is_sealed())
        with self.assertRaises(hvac.exceptions.VaultError):
            client.sys.initialize(secret_shares=1, secret_threshold=1)
        client.secrets.kv.v2.create_or_update_secret("a", {"x": 1})
        client.sys.seal()
        self.assertTrue(client.sys.is_sealed())
        with self.assertRaises(hvac.exceptions.VaultDown):
            client.secrets.kv.v2.read_secret_version("a")
        self.assertEqual(curl(node.url + "/v1/config/x", "-X", "PUT", "-H",
                              "content-type: application/json",
                              body=b'{"value": 1}').status, 201)  # all else works
        keys = made["keys"]
        for bad in ("00" * 33, "zz", keys[0][:-2]):
            with self.assertRaises(hvac.exceptions.InvalidRequest):
                client.sys.submit_unseal_key(bad)
        self.assertEqual(client.sys.submit_unseal_key(keys[4])["progress"], 1)
        self.assertEqual(client.sys.submit_unseal_key(keys[4])["progress"], 1)
        client.sys.submit_unseal_key(reset=True)
        client.sys.submit_unseal_keys([keys[1], made["keys_base64"][3]])
        self.assertFalse(client.sys.submit_unseal_key(keys[2])["sealed"])
        self.assertEqual(client.secrets.kv.v2.read_secret_version("a")["data"]["data"], {"x": 1})
        node.stop()
        node.start()
        self.assertTrue(client.sys.is_sealed())
        wrong = keys[0][:10] + ("00" if keys[0][10:12] != "00" else "11") + keys[0][12:]
        client.sys.submit_unseal_keys([keys[1], keys[2]])
        with self.assertRaises(hvac.exceptions.InvalidRequest):
            client.sys.submit_unseal_key(wrong)
        self.assertEqual(client.seal_status["progress"], 0)
        client.sys.submit_unseal_keys(keys[:3])
        self.assertEqual(client.secrets.kv.v2.read_secret_version("a")["data"]["data"], {"x": 1})


if __name__ == "__main__":
    main()
