"""Feature flags over HTTP: the native door and OFREP, by curl."""
import json
import os
import subprocess
import unittest
import urllib.request

from node import ROOT, ServerTest, confman_bin, main, target
from web import curl

COLOUR = {"state": "ENABLED", "variants": {"red": "#f00", "blue": "#00f"}, "defaultVariant": "red",
          "targeting": {"if": [{"ends_with": [{"var": "email"}, "@example.com"]}, "blue", None]},
          "metadata": {"owner": "shop"}}


@unittest.skipIf(target() != "confman", "a door that only confman has")
class FlagTest(ServerTest):
    def call(self, method, path, body=None, *args):
        if body is not None:
            body = json.dumps(body).encode()
            args += ("-H", "Content-Type: application/json")
        join = "&" if "?" in path else "?"
        path += join + "environment=" + self.environment
        return curl(self.node.url + path, "--http1.1", "-X", method, *args, body=body)

    def setUp(self):
        super().setUp()
        self.environment = self.name("e").replace("/", "-")

    def put(self, name, flag, *args):
        return self.call("PUT", "/v1/flags/" + name, flag, *args)

    def ofrep(self, name="", *args, **context):
        path = "/ofrep/v1/evaluate/flags" + ("/" + name if name else "")
        return self.call("POST", path, {"context": context}, *args)

    def test_write_read_delete(self):
        first = self.put("colour", COLOUR)
        self.assertEqual((first.status, first.headers["etag"]), (201, '"1"'), first)
        got = self.call("GET", "/v1/flags/colour").json
        self.assertEqual((got["definition"], got["version"]), (COLOUR, 1))
        late = self.put("colour", COLOUR, "-H", 'If-Match: "7"')
        self.assertEqual((late.status, late.json["version"]), (412, 1))
        self.assertEqual(self.put("colour", COLOUR, "-H", 'If-Match: "1"').status, 200)
        self.assertEqual(self.put("colour", COLOUR, "-H", "If-None-Match: *").status, 412)
        self.assertEqual([f["name"] for f in self.call("GET", "/v1/flags").json["flags"]],
                         ["colour"])
        self.assertEqual(self.call("DELETE", "/v1/flags/colour").status, 200)
        self.assertEqual(self.call("DELETE", "/v1/flags/colour").status, 404)
        self.assertEqual(self.call("GET", "/v1/flags/colour").status, 404)

    def test_refused(self):
        for flag, where in (({}, "/variants"), ({"variants": {}}, "/variants"),
                            (dict(COLOUR, state="on"), "/state"),
                            (dict(COLOUR, defaultVariant="green"), "/defaultVariant"),
                            (dict(COLOUR, targeting={"if": [{"like": [1, 2]}]}),
                             "/targeting/if/0/like"),
                            (dict(COLOUR, colour=1), "/colour"),
                            (dict(COLOUR, bucketing="md5"), "/bucketing"),
                            ({"percentage": 101}, "/percentage")):
            answer = self.put("bad", flag)
            self.assertEqual((answer.status, answer.json["code"]), (422, "flag_invalid"), answer)
            self.assertTrue(answer.json["detail"].startswith(where), answer.json)
        broken = curl(self.node.url + "/v1/flags/bad", "-X", "PUT", body=b'{"a":')
        self.assertEqual(broken.status, 400)

    def test_ofrep(self):
        self.put("colour", COLOUR)
        one = self.ofrep("colour", targetingKey="u", email="a@example.com")
        self.assertEqual((one.status, one.json),
                         (200, {"key": "colour", "reason": "TARGETING_MATCH", "value": "#00f",
                                "variant": "blue", "metadata": {"owner": "shop"}}))
        other = self.ofrep("colour", targetingKey="u").json
        self.assertEqual((other["value"], other["reason"]), ("#f00", "DEFAULT"))
        missing = self.ofrep("none")
        self.assertEqual((missing.status, missing.json["errorCode"]), (404, "FLAG_NOT_FOUND"))
        self.put("colour", dict(COLOUR, state="DISABLED"))
        self.assertEqual(self.ofrep("colour").json,
                         {"key": "colour", "reason": "DISABLED", "metadata": {"owner": "shop"}})

    def test_ofrep_bulk(self):
        self.put("colour", COLOUR)
        self.put("beta", {"percentage": 100})
        bulk = self.ofrep(targetingKey="u")
        told = {f["key"]: f["value"] for f in bulk.json["flags"]}
        self.assertEqual(told, {"colour": "#f00", "beta": True})
        tag = bulk.headers["etag"]
        same = self.ofrep("", "-H", "If-None-Match: " + tag, targetingKey="u")
        self.assertEqual((same.status, same.headers["etag"]), (304, tag))
        self.put("beta", {"percentage": 0})
        changed = self.ofrep("", "-H", "If-None-Match: " + tag, targetingKey="u")
        self.assertEqual(changed.status, 200)
        self.assertEqual(bulk.json["eventStreams"][0]["endpoint"]["requestUri"],
                         "/ofrep/v1/events?environment=" + self.environment)

    def test_events(self):
        before = self.put("colour", COLOUR).json["revision"]
        now = self.put("colour", COLOUR).json["revision"]
        stream = curl(self.node.url + "/ofrep/v1/events?environment=" + self.environment,
                      "-H", "Last-Event-ID: %d" % before, "--http1.1", seconds=1, partial=True)
        self.assertIn(b'id: %d\nevent: message\ndata: {"type":"refetchEvaluation"}\n\n' % now,
                      stream.body)

    def test_events_of_what_flags_share(self):
        before = self.put("colour", COLOUR).json["revision"]
        shared = {"changes": [{"kind": "flagset",
                               "value": {"$evaluators": {"staff": {"==": [1, 1]}}}}]}
        told = self.call("POST", "/v1/txn", shared)
        self.assertEqual(told.status, 200, told)
        self.put("page", dict(COLOUR, targeting={"if": [{"$ref": "staff"}, "blue"]}))
        self.assertEqual(self.ofrep("page").json["value"], "#00f")
        bad = {"changes": [{"kind": "flagset", "value": {"$evaluators": {"staff": {"no": 1}}}}]}
        refused = self.call("POST", "/v1/txn", bad)
        self.assertEqual(refused.status, 400)
        self.assertIn("no operation has this name", str(refused.json["errors"]))
        shared["changes"][0]["value"]["$evaluators"]["staff"] = {"==": [1, 2]}
        now = self.call("POST", "/v1/txn", shared).json["revision"]
        self.assertEqual(self.ofrep("page").json["value"], "#f00")
        stream = curl(self.node.url + "/ofrep/v1/events?environment=" + self.environment,
                      "-H", "Last-Event-ID: %d" % before, "--http1.1", seconds=1, partial=True)
        self.assertIn(b'id: %d\nevent: message\ndata: {"type":"refetchEvaluation"}' % now,
                      stream.body)

    def inherits(self, heir, parent):
        answer = curl(self.node.url + "/v1/environments/" + heir, "-X", "PUT", "-H",
                      "Content-Type: application/json", body=json.dumps(
                          {"parent": parent}).encode())
        self.assertIn(answer.status, (200, 201), answer)

    def test_inherited(self):
        """From the nearest environment that has it, by every door; and the answer says where."""
        heir, base = self.environment, self.environment + "-base"
        self.inherits(heir, base)
        self.environment = base
        self.put("colour", COLOUR)
        self.put("size", COLOUR)
        self.environment = heir
        self.assertEqual(self.ofrep("colour").json["value"], "#f00")
        told = self.call("POST", "/v1/flags/colour:explain", {"context": {}}).json
        self.assertEqual((told["value"], told["from"]), ("#f00", base))
        self.put("size", dict(COLOUR, defaultVariant="blue"))
        flags = {f["key"]: f["value"] for f in self.ofrep().json["flags"]}
        self.assertEqual(flags, {"colour": "#f00", "size": "#00f"})
        listed = [(f["name"], f.get("from")) for f in self.call("GET", "/v1/flags").json["flags"]]
        self.assertEqual(listed, [("colour", base), ("size", None)])
        listed = self.call("GET", "/v1/flags?own=true").json["flags"]
        self.assertEqual([f["name"] for f in listed], ["size"])
        self.assertEqual(self.call("GET", "/v1/flags/colour?own=true").status, 404)
        got = self.call("GET", "/v1/flags/colour")
        self.assertEqual((got.json["from"], got.headers["etag"]), (base, '"%s:1"' % base))
        # Its own, made from the inherited one, hides it, and goes.
        cli = [os.path.join(ROOT, confman_bin()), "flag"]
        more = ["--environment", heir, "--endpoint", self.node.endpoint]
        subprocess.run(cli + ["disable", "colour"] + more, check=True, capture_output=True)
        self.assertNotIn("value", self.ofrep("colour").json)
        out = subprocess.run(cli + ["delete", "colour"] + more, check=True, capture_output=True)
        out = subprocess.run(cli + ["list"] + more, check=True, capture_output=True, text=True)
        self.assertRegex(out.stdout, "colour .*\\(from %s\\)" % base)
        self.assertEqual(self.ofrep("colour").json["value"], "#f00")
        # Streams hear of the parent's flags, and end when there is another parent.
        before = self.call("GET", "/v1/flags").json["revision"]
        self.environment = base
        now = self.put("colour", dict(COLOUR, defaultVariant="blue")).json["revision"]
        self.environment = heir
        stream = curl(self.node.url + "/ofrep/v1/events?environment=" + heir,
                      "-H", "Last-Event-ID: %d" % before, "--http1.1", seconds=1, partial=True)
        self.assertIn(b"id: %d\n" % now, stream.body)
        with urllib.request.urlopen(self.node.url + "/ofrep/v1/events?environment=" + heir,
                                    timeout=20) as stream:
            stream.readline()
            self.inherits(base, base + "-2") # what its parent inherits from
            stream.read()
        self.inherits(heir, "nobody")
        self.assertEqual(self.ofrep("colour").status, 404)

    def counted(self, name):
        body = curl(self.node.url + "/metrics").body.decode()
        return next(int(line.split()[1]) for line in body.splitlines()
                    if line.startswith(name + " "))

    def test_compiled_once(self):
        self.put("colour", COLOUR)
        self.ofrep("colour")
        before = [self.counted("confman_flags_%s_total" % w) for w in ("compiled", "evaluated")]
        for _ in range(3):
            self.ofrep("colour")
            self.ofrep()
        after = [self.counted("confman_flags_%s_total" % w) for w in ("compiled", "evaluated")]
        self.assertEqual([b - a for a, b in zip(before, after)], [0, 6])
        self.assertGreater(self.counted("confman_flag_cache_bytes"), 0)

    def test_explain_prerequisites_schedule_and_kill(self):
        self.put("base", {"variants": {"on": True, "off": False}, "defaultVariant": "off"})
        need = {"variants": {"on": 1, "off": 0}, "defaultVariant": "on",
                "prerequisites": [{"flag": "base", "variant": "on"}]}
        self.put("top", dict(need, defaultVariant="off", targeting={"if": [True, "on"]}))
        told = self.call("POST", "/v1/flags/top:explain", {}).json
        self.assertEqual((told["value"], told["trace"][-1]),
                         (0, "the prerequisite base is not met"))
        self.put("base", {"target_users": ["u"]})
        met = self.call("POST", "/v1/flags/top:evaluate", {"context": {"targetingKey": "u"}}).json
        self.assertEqual((met["value"], met["variant"]), (1, "on"))
        self.put("base", {"target_users": ["u"], "kill": True})
        killed = self.call("POST", "/v1/flags/base:evaluate", {"context": {"targetingKey": "u"}})
        self.assertEqual((killed.json["value"], killed.json["reason"]), (False, "DISABLED"))
        later = {"target_users": ["u"], "schedule": {"from": "2999-01-01T00:00:00Z"}}
        self.put("base", later)
        told = self.call("POST", "/v1/flags/base:explain", {"context": {"targetingKey": "u"}}).json
        self.assertEqual((told["value"], told["trace"]),
                         (False, ["outside of the schedule: the default variant"]))
        self.put("a", dict(need, prerequisites=[{"flag": "a", "variant": "on"}]))
        circle = self.ofrep("a")
        self.assertEqual((circle.status, circle.json["errorCode"]), (400, "GENERAL"))


if __name__ == "__main__":
    main()
