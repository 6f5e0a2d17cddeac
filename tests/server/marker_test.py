"""Marked secrets, through every door of three members: searched for in every byte that is left, on
disks, in outputs, and in the memory of the processes; and the rotation of all keys meanwhile, and
another seal: a transit of a fourth node, with a key that is searched for, too."""
import base64
import json
import os
import subprocess
import sys
import unittest

import hvac

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cluster"))
from cluster import Cluster, free_port
from node import confman_bin, confman_only, main, wait_until
from seal_test import opened_by, seal_args, write_private
from secret_test import make_key
from vault_test import vault_node
from web import curl

JSON = ("-H", "content-type: application/json")
RECORDS = 60


def forms(marker):
    """As it is, as hexadecimal digits, and as base64 has it at each of three places: what of it
    does not depend on what stands beside it."""
    yield marker
    yield marker.hex().encode()
    yield marker.hex().upper().encode()
    for before in range(3):
        text = base64.b64encode(b"x" * before + marker)
        yield text[(0, 2, 3)[before]:-4].rstrip(b"=")


def memory_of(pid):
    """Every byte that the process has written to and still has; None: it cannot be looked at."""
    out = bytearray()
    try:
        with open("/proc/%d/maps" % pid, encoding="ascii") as maps, \
                open("/proc/%d/mem" % pid, "rb", 0) as mem:
            for line in maps:
                place, rights = line.split()[:2]
                if not rights.startswith("rw") or "[v" in line:
                    continue
                start, end = (int(x, 16) for x in place.split("-"))
                if end - start > 1 << 36:           # AddressSanitizer's own
                    print("memory is not looked at: this build has a sanitizer")
                    return None
                mem.seek(start)
                left = end - start
                while left > 0:
                    part = mem.read(min(left, 1 << 24))
                    if not part:
                        break
                    out += part
                    left -= len(part)
    except OSError as e:
        print("memory is not looked at: %s" % e)
        return None
    return out


@confman_only
class MarkerTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster(3)
        first = cls.cluster.members[1]
        cls.key = make_key(first.folder)
        cls.transit = vault_node()
        cls.transit.start()
        cls.token = os.path.join(first.folder, "token")
        write_private(cls.token, "any")
        for m in cls.cluster.members.values():
            m.vault_port = free_port()
            m.vault = "http://127.0.0.1:%d" % m.vault_port
            m.args = ["--seal-key-file", cls.key, "--vault-listen", "127.0.0.1:%d" % m.vault_port,
                      "--audit-log", m.folder + "/audit", "--log-level", "debug",
                      "--rewrap-rate", "100"]
            m.args += seal_args(cls.transit.vault, "--seal-transit-token-file", cls.token)
        cls.cluster.start()
        cls.marker = b"MARKER-" + os.urandom(12).hex().encode()     # all begin with it
        cls.markers = 0

    @classmethod
    def tearDownClass(cls):
        for m in cls.cluster.members.values():
            m.close()
        cls.transit.close()

    def mark(self):
        self.__class__.markers += 1
        return "%s-%d" % (self.marker.decode(), self.markers)

    def through_every_door(self, m, i):
        path = "m/%d/%d" % (m.number, i)
        body = json.dumps({"data": {"rest": self.mark(), self.mark(): 1}}).encode()
        self.assertEqual(curl(m.url + "/v1/secrets/" + path, *JSON, "-X", "PUT", body=body).status,
                         200)
        self.assertEqual(curl(m.url + "/v1/secrets/%s?reason=test" % path).status, 200)
        curl(m.url + "/v1/secrets/" + path, *JSON, "-X", "PUT",
             body=b'{"data": {"broken": "%s", }' % self.mark().encode())
        curl(m.url + "/v1/secrets/%s/" % path, *JSON, "-X", "PUT", body=body)
        done = subprocess.run([confman_bin(), "secret", "put", path, "pw=-", "--endpoint",
                               m.endpoint], input=self.mark().encode(), capture_output=True,
                              check=True, timeout=20)
        self.assertEqual(done.stdout.strip()[:7], b"version")
        client = hvac.Client(url=m.vault, token="x")
        kv = client.secrets.kv.v2
        kv.create_or_update_secret(path, {"vault": self.mark()})
        curl(m.vault + "/v1/secret/data/" + path, "-X", "PATCH", "-H",
             "content-type: application/merge-patch+json",
             body=b'{"data": {"patch": "%s"}}' % self.mark().encode())
        self.assertIn("patch", kv.read_secret_version(path)["data"]["data"])
        transit = client.secrets.transit
        sealed = transit.encrypt_data("t", base64.b64encode(self.mark().encode()).decode())
        transit.decrypt_data("t", sealed["data"]["ciphertext"])
        client.session.close()

    def seal(self, m, action=None):
        if action:
            return curl(m.url + "/v1/seal/" + action, "-X", "POST").json
        return curl(m.url + "/v1/seal").json

    def test_all(self):
        members = list(self.cluster.members.values())
        for i, m in enumerate(members):
            self.through_every_door(m, i)
        self.rotate(members)
        self.migrate(members)
        seen = bytearray()
        for m in members:
            seen += curl(m.url + "/metrics").body + curl(m.url + "/v1/snapshot").body
            seen += curl(m.url + "/v1/secrets?prefix=m").body
        etcd = members[0].folder + "/etcd.db"
        subprocess.run(["/usr/bin/etcdctl", "--endpoints", members[0].endpoint, "snapshot", "save",
                        etcd], check=True, capture_output=True, timeout=30)
        seen += self.cluster.etcdctl("get", "", "--prefix", "--hex").encode()
        memory = [memory_of(m.process.pid) for m in members]
        others = memory_of(self.transit.process.pid)
        key = opened_by(hvac.Client(url=self.transit.vault, token="any"), members[0].endpoint)
        self.assertEqual(self.transit.stop(), 0)
        for m in members:
            with open("/proc/%d/limits" % m.process.pid, encoding="utf-8") as f:
                self.assertRegex(f.read(), r"Max core file size +0 +0 ")
            self.assertEqual(m.stop(), 0)            # writes a checkpoint
        for m in members + [self.transit]:
            for folder, _, names in os.walk(m.folder):
                for name in names:
                    with open(os.path.join(folder, name), "rb") as f:
                        if f.name not in (self.key, self.transit.key_file):
                            seen += f.read()
        with open(self.key, "rb") as f:
            self.search(seen, [self.marker, f.read(), key], "on disk or in an answer")
        self.assertIn(b"confman/secret/secret/m/1/0", seen)  # it was the right place
        for m, bytes_of in zip(members, memory):
            if bytes_of is not None:
                self.assertIn(b"confman/secret/secret/m/1/0", bytes_of)
                where = "in the memory of member %d" % m.number
                self.search(bytes_of, [self.marker], where)
                self.assertEqual(bytes_of.count(key), 1, where)     # in its own pages
                self.search(bytes_of.replace(key, b""), [key], where)
        if others is not None:
            self.search(others, [key], "in the memory of the transit")

    def migrate(self, members):
        """One member is told; all come to the new seal."""
        a = curl(members[1].url + "/v1/seal/migrate", *JSON, "-X", "POST",
                 body=b'{"type": "transit"}')
        self.assertEqual((a.status, a.json["type"]), (200, "transit"), a)
        wait_until(lambda: not any(self.seal(m)["sealed"] for m in members), 20, "all are open")
        for m in members:
            self.assertEqual(curl(m.url + "/v1/secrets/r/1?namespace=big").status, 200)

    def search(self, seen, needles, where):
        for needle in needles:
            for form in forms(needle):
                at = seen.find(form)
                self.assertLess(at, 0, "%s: %r in %r" % (where, form,
                                                         bytes(seen[max(0, at - 80):at + 80])))

    def rotate(self, members):
        """Both kinds of keys; and whoever leads goes away in the middle of it."""
        marks = [self.mark() for _ in range(RECORDS)]
        for i in range(RECORDS):
            body = b'{"data": {"i": "%s"}}' % marks[i].encode()
            a = curl(members[0].url + "/v1/secrets/r/%d?namespace=big" % i, *JSON, "-X", "PUT",
                     body=body)
            self.assertEqual(a.status, 200)
        self.assertEqual(self.seal(members[0], "rotate")["root_keys"], 2)
        a = curl(members[0].url + "/v1/secrets?action=rotate&namespace=big", "-X", "POST")
        self.assertEqual(a.json["key_version"], 2)
        leader = self.cluster.leader()
        other = next(m for m in members if m is not leader)
        subprocess.run(["/usr/bin/etcdctl", "--endpoints", leader.endpoint, "move-leader",
                        "%x" % other.id], check=True, capture_output=True, timeout=30)
        wait_until(lambda: all(self.seal(m)["root_keys"] == 1 and
                               self.seal(m)["rewrap_waiting"] == 0 for m in members), 30,
                   "all is sealed by the new keys")
        for i in (0, RECORDS - 1):
            a = curl(members[1].url + "/v1/secrets/r/%d?namespace=big" % i).json
            self.assertEqual((a["key_version"], a["data"]["i"]), (2, marks[i]))
        self.assertGreaterEqual(sum(m.metrics()["confman_secrets_rewrapped_total"]
                                    for m in members), RECORDS)


if __name__ == "__main__":
    main()
