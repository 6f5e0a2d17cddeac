"""`confman flag` over a real server, and imports of other systems' flags: who is on which side is
told by their own algorithms, written here anew from their documentation."""
import hashlib
import http.client
import json
import os
import struct
import subprocess
import tempfile
import unittest

from node import ServerTest, confman_bin, main, target

USERS = ["user-%d" % i for i in range(120)] + ["", "ann@example.com", "\u00e4"]


def murmur3(data, seed=0):
    mask, h = 0xFFFFFFFF, seed
    data = data.encode()

    def rotate(x, r):
        return ((x << r) | (x >> (32 - r))) & mask
    whole = len(data) // 4 * 4
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        h ^= rotate(k * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask
        h = (rotate(h, 13) * 5 + 0xE6546B64) & mask
    k = int.from_bytes(data[whole:], "little")
    h ^= rotate(k * 0xCC9E2D51 & mask, 15) * 0x1B873593 & mask
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & mask
    h = (h ^ h >> 13) * 0xC2B2AE35 & mask
    return h ^ h >> 16


def fnv1a(text):
    h = 2166136261
    for byte in text.encode():
        h = (h ^ byte) * 16777619 & 0xFFFFFFFF
    return h


def launchdarkly(prefix, user):
    digits = hashlib.sha1(("%s.%s" % (prefix, user)).encode()).hexdigest()[:15]
    return int(digits, 16) / 0xFFFFFFFFFFFFFFF


def growthbook(version, seed, user):
    if version == 1:
        return fnv1a(user + seed) % 1000 / 1000
    return fnv1a(str(fnv1a(seed + user))) % 10000 / 10000


LAUNCHDARKLY = {
    "segments": {"staff": {"key": "staff", "included": ["user-1"], "excluded": ["user-2"],
                           "rules": [{"clauses": [{"attribute": "email", "op": "endsWith",
                                                   "values": ["@example.com"]}]}]}},
    "flags": {
        "rollout": {"key": "rollout", "on": True, "salt": "s4lt", "offVariation": 0,
                    "variations": ["a", "b", "c"],
                    "targets": [{"values": ["user-3"], "variation": 2}],
                    "rules": [{"clauses": [{"attribute": "", "op": "segmentMatch",
                                            "values": ["staff"]}], "variation": 1}],
                    "fallthrough": {"rollout": {"variations": [
                        {"variation": 0, "weight": 30000}, {"variation": 1, "weight": 50000},
                        {"variation": 2, "weight": 20000}]}}},
        "seeded": {"key": "seeded", "on": True, "salt": "x", "offVariation": 0,
                   "variations": [False, True],
                   "fallthrough": {"rollout": {"seed": 61, "variations": [
                       {"variation": 0, "weight": 40000}, {"variation": 1, "weight": 60000}]}}},
        "off": {"key": "off", "on": False, "offVariation": 1, "variations": ["a", "b"],
                "fallthrough": {"variation": 0}},
        "clauses": {"key": "clauses", "on": True, "offVariation": 0, "variations": ["no", "yes"],
                    "rules": [{"clauses": [{"attribute": "age", "op": "greaterThan",
                                            "values": [17]},
                                           {"attribute": "lands", "op": "in", "negate": True,
                                            "values": ["fr"]}], "variation": 1}],
                    "fallthrough": {"variation": 0}},
        "pattern": {"key": "pattern", "on": True, "offVariation": 0, "variations": ["no", "yes"],
                    "rules": [{"clauses": [{"attribute": "email", "op": "matches",
                                            "values": ["^a"]}], "variation": 1}],
                    "fallthrough": {"variation": 0}}}}

UNLEASH = {"version": 2, "features": [
    {"name": "gradual", "enabled": True, "strategies": [
        {"name": "flexibleRollout", "parameters": {"rollout": "35", "stickiness": "default",
                                                   "groupId": "group"}}]},
    {"name": "named", "enabled": True, "strategies": [
        {"name": "userWithId", "parameters": {"userIds": "user-1, user-5"}},
        {"name": "flexibleRollout", "parameters": {"rollout": "100"}, "segments": [7],
         "constraints": [{"contextName": "plan", "operator": "IN", "values": ["gold"]}]}]},
    {"name": "disabled", "enabled": False, "strategies": [{"name": "default"}]},
    {"name": "hashed-twice", "enabled": True, "variants": [{"name": "a", "weight": 1000}],
     "strategies": []}],
    "segments": [{"id": 7, "constraints": [{"contextName": "age", "operator": "NUM_GTE",
                                            "value": "18"}]}]}

GROWTHBOOK = {"features": {
    "experiment": {"defaultValue": "none", "rules": [
        {"condition": {"plan": {"$ne": "free"}}, "variations": ["none", "red", "blue"],
         "weights": [0.3, 0.3, 0.4], "coverage": 0.7, "hashVersion": 2, "seed": "exp"}]},
    "share": {"defaultValue": False, "rules": [{"force": True, "coverage": 0.25}]},
    "ruled": {"defaultValue": 1, "rules": [
        {"condition": {"$or": [{"age": {"$gt": 60}}, {"plan": {"$in": ["gold"]}}]}, "force": 2}]},
    "spaced": {"defaultValue": 1, "rules": [{"variations": [1, 2], "namespace": ["n", 0, 1]}]}}}

GOFF = {
    "split": {"variations": {"B": "bee", "A": "ay", "C": "sea"},
              "defaultRule": {"percentage": {"C": 32.2, "B": 33.3, "A": 34.5}}},
    "ruled": {"variations": {"on": True, "off": False}, "metadata": {"owner": "shop"},
              "targeting": [{"query": "{\"==\": [{\"var\": \"plan\"}, \"gold\"]}",
                             "variation": "on"}],
              "defaultRule": {"variation": "off"}},
    "written": {"variations": {"on": True, "off": False},
                "targeting": [{"query": "plan eq \"gold\"", "variation": "on"}],
                "defaultRule": {"variation": "off"}}}

FLAGD = {"$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@example.com"]}},
         "metadata": {"team": "web", "owner": "all"},
         "flags": {"page": {"state": "ENABLED", "variants": {"on": True, "off": False},
                            "defaultVariant": "off", "metadata": {"owner": "shop"},
                            "targeting": {"if": [{"$ref": "staff"}, "on", None]}},
                   "lost": {"state": "ENABLED", "variants": {"on": True},
                            "targeting": {"if": [{"$ref": "nobody"}, "on"]}}}}


@unittest.skipIf(target() != "confman", "a door that only confman has")
class FlagImportTest(ServerTest):
    def setUp(self):
        super().setUp()
        self.environment = self.name("e").replace("/", "-")
        self.http = http.client.HTTPConnection(self.node.endpoint, timeout=20)
        self.addCleanup(self.http.close)

    def flag(self, *words, status=0, text=None):
        done = subprocess.run([confman_bin(), "flag", *words, "--endpoint", self.node.endpoint,
                               "--environment", self.environment], input=text or "",
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def bring(self, form, file, left_out=0):
        said = self.flag("import", "-", "--format", form, text=json.dumps(file),
                         status=1 if left_out else 0)
        if left_out:
            self.assertIn("%d were left out" % left_out, said)
        return said

    def side(self, name, user=None, **context):
        if user is not None:
            context["targetingKey"] = user
        self.http.request("POST", "/ofrep/v1/evaluate/flags/%s?environment=%s" % (
            name, self.environment), json.dumps({"context": context}))
        answer = json.loads(self.http.getresponse().read())
        self.assertNotIn("errorCode", answer, answer)
        return answer.get("value")

    def test_commands(self):
        self.assertIn("version 1", self.flag("set", "beta", '{"percentage": 0}'))
        self.assertIn("version 2", self.flag("set", "beta", "-",
                                             text='{"target_users": ["ann"], "percentage": 0}'))
        self.assertEqual(self.flag("eval", "beta", "targetingKey=ann"),
                         "true\ton\tTARGETING_MATCH\n")
        self.assertIn("the targeting key is one of target_users",
                      self.flag("explain", "beta", "targetingKey=ann", "age=7"))
        self.flag("disable", "beta")
        self.assertIn("DISABLED", self.flag("list"))
        self.assertIn("(the caller's own default)", self.flag("eval", "beta"))
        self.flag("enable", "beta")
        self.assertEqual(json.loads(self.flag("get", "beta"))["state"], "ENABLED")
        self.assertEqual(json.loads(self.flag("list", "--output", "json"))["flags"][0]["version"],
                         4)
        self.assertIn("/percentage", self.flag("set", "beta", '{"percentage": 101}', status=1))
        self.assertIn("wants NAME", self.flag("get", status=2))
        self.assertIn("MEMBER=VALUE", self.flag("eval", "beta", "ann", status=2))
        self.assertIn("is none of", self.flag("give", "beta", status=2))
        self.flag("delete", "beta")
        self.assertIn("no such flag", self.flag("get", "beta", status=1))

    def test_flagd(self):
        said = self.bring("flagd", FLAGD, left_out=1)
        self.assertIn("no shared rule \"nobody\"", said)
        self.assertIs(self.side("page", "u", email="a@example.com"), True)
        self.assertIs(self.side("page", "u", email="a@example.org"), False)
        self.assertEqual(json.loads(self.flag("get", "page"))["metadata"],
                         {"owner": "shop", "team": "web"})

    def test_dry_run_and_faults(self):
        many = {"flags": {"f%03d" % i: {"variants": {"a": 1}} for i in range(230)}}
        said = self.flag("import", "--dry-run", text=json.dumps(many))
        self.assertIn("230 flags would be written in 3 transactions", said)
        self.assertEqual(self.flag("list").count("\n"), 1)
        many["flags"]["f229"]["variants"] = {}
        many["flags"]["f228"]["state"] = "on"
        said = self.flag("import", text=json.dumps(many), status=1)
        self.assertIn("/variants", said)
        self.assertIn("/state", said)
        self.assertEqual(self.flag("list").count("\n"), 1)      # nothing before all is looked at
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "flags.json")
            with open(path, "w", encoding="ascii") as f:
                json.dump({"flags": [{"key": "one", "variants": {"a": 1}}]}, f)
            self.assertIn("1 flags written in 1 transaction", self.flag("import", path))
        for text, words in (("{", ()), ("{}", ()), ("{}", ("--format", "unleash")),
                            ("{}", ("--format", "other"))):
            self.flag("import", *words, text=text, status=2)

    def test_launchdarkly(self):
        self.assertIn("pattern is left out", self.bring("launchdarkly", LAUNCHDARKLY, 1))
        for user in filter(None, USERS):
            at = launchdarkly("rollout.s4lt", user)
            want = "a" if at < 0.3 else "b" if at < 0.8 else "c"
            want = {"user-1": "b", "user-3": "c"}.get(user, want)
            self.assertEqual(self.side("rollout", user), want, user)
            self.assertEqual(self.side("seeded", user), launchdarkly("61", user) >= 0.4, user)
        self.assertEqual(self.side("rollout", "user-4", email="x@example.com"), "b")
        self.assertEqual(self.side("off", "u"), "b")
        for context, want in (({"age": 18, "lands": ["de"]}, "yes"),
                              ({"age": 18, "lands": ["de", "fr"]}, "no"),
                              ({"age": 18, "lands": "de"}, "yes"), ({"age": 18}, "no"),
                              ({"lands": "de"}, "no"), ({"age": "x", "lands": "de"}, "no")):
            self.assertEqual(self.side("clauses", "u", **context), want, context)

    def test_unleash(self):
        self.assertIn("hashed-twice is left out", self.bring("unleash", UNLEASH, 1))
        for user in filter(None, USERS):
            self.assertEqual(self.side("gradual", user),
                             murmur3("group:" + user) % 100 + 1 <= 35, user)
            self.assertEqual(self.side("named", user), user in ("user-1", "user-5"), user)
        self.assertEqual(murmur3("gr1:123") % 100 + 1, 73)      # published
        self.assertIs(self.side("named", "u", plan="gold", age=18), True)
        self.assertIs(self.side("named", "u", plan="gold", age=17), False)
        self.assertIs(self.side("named", "u", plan="gold"), False)
        self.assertIs(self.side("disabled", "u"), False)

    def test_growthbook(self):
        self.assertIn("spaced is left out", self.bring("growthbook", GROWTHBOOK, 1))
        self.assertEqual(growthbook(1, "", "a"), 0.22)  # published
        self.assertEqual(growthbook(2, "seed", "a"), 0.0505)
        for user in filter(None, USERS):
            at, want, begin = growthbook(2, "exp", user), "none", 0
            for value, weight in (("none", 0.3), ("red", 0.3), ("blue", 0.4)):
                if begin <= at < begin + 0.7 * weight:
                    want = value
                begin += weight
            self.assertEqual(self.side("experiment", user), want, user)
            self.assertEqual(self.side("experiment", user, plan="free"), "none", user)
            self.assertEqual(self.side("share", user), growthbook(1, "share", user) <= 0.25, user)
        self.assertEqual(self.side("ruled", "u", age=61), 2)
        self.assertEqual(self.side("ruled", "u", plan="gold"), 2)
        self.assertEqual(self.side("ruled", "u", age=60), 1)

    def test_goff(self):
        self.assertIn("written is left out", self.bring("goff", GOFF, 1))
        for user in filter(None, USERS):
            at, begin, want = fnv1a("split" + user) % 100000, 0, None
            for name, value, percent in (("A", "ay", 34.5), ("B", "bee", 33.3),
                                         ("C", "sea", 32.2)):
                if begin <= at < begin + percent * 1000:
                    want = value
                begin += percent * 1000
            self.assertEqual(self.side("split", user), want, user)
        self.assertIs(self.side("ruled", "u", plan="gold"), True)
        self.assertIs(self.side("ruled", "u"), False)


if __name__ == "__main__":
    main()
