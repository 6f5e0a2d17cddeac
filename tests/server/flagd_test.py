"""flagd's gRPC doors: messages made by Debian's protoc, calls by Debian's grpc."""
import base64
import json
import os
import unittest

import grpc

from etcd_api import load
from node import ROOT, Node, ServerTest, main, target
from web import curl


pb = load(os.path.join(ROOT, "proto", "flagd.proto"))
FLAGS = {
    "yes": {"variants": {"on": True, "off": False}, "defaultVariant": "on",
            "metadata": {"owner": "shop", "n": 2, "b": True}},
    "text": {"variants": {"a": "A"}, "defaultVariant": "a"},
    "half": {"variants": {"a": 0.5, "b": 3}, "defaultVariant": "a",
             "targeting": {"if": [{"==": [{"var": "plan.name"}, "gold"]}, "b"]}},
    "tree": {"variants": {"a": {"l": [1, "x", None, {"deep": True}]}}, "defaultVariant": "a"},
    "none": {"variants": {"on": True}, "defaultVariant": None},
    "zero": {"variants": {"off": False}, "defaultVariant": "off"},
}


def struct(value):
    def one(v):
        if v is None:
            return pb.Value(null_value=0)
        if isinstance(v, bool):
            return pb.Value(bool_value=v)
        if isinstance(v, (int, float)):
            return pb.Value(number_value=v)
        if isinstance(v, str):
            return pb.Value(string_value=v)
        if isinstance(v, list):
            return pb.Value(list_value=pb.ListValue(values=[one(x) for x in v]))
        return pb.Value(struct_value=struct(v))
    out = pb.Struct()
    for k, v in value.items():
        out.fields[k].CopyFrom(one(v))
    return out


def plain(s):
    def one(v):
        kind = v.WhichOneof("kind")
        if kind == "null_value":
            return None
        if kind == "list_value":
            return [one(x) for x in v.list_value.values]
        return plain(v.struct_value) if kind == "struct_value" else getattr(v, kind)
    return {k: one(v) for k, v in s.fields.items()}


@unittest.skipIf(target() != "confman", "a door that only confman has")
class FlagdTest(ServerTest):
    def setUp(self):
        super().setUp()
        self.environment = self.name("e").replace("/", "-")
        self.channel = grpc.insecure_channel(self.node.endpoint)
        self.addCleanup(self.channel.close)
        for name, flag in FLAGS.items():
            self.put(name, flag)

    def put(self, name, flag):
        answer = curl("%s/v1/flags/%s?environment=%s" % (self.node.url, name, self.environment),
                      "-X", "PUT", "-H", "Content-Type: application/json",
                      body=json.dumps(flag).encode())
        self.assertIn(answer.status, (200, 201), answer)

    def put_key(self, key, value):
        body = {"key": base64.b64encode(key.encode()).decode(),
                "value": base64.b64encode(value.encode()).decode()}
        answer = curl(self.node.url + "/v3/kv/put", body=json.dumps(body).encode())
        self.assertEqual(answer.status, 200, answer)

    def evaluate(self, kind, name, version=2, selector="flagSetId=%s", **context):
        prefix = "V2" if version == 2 else ""
        request = getattr(pb, "%sResolve%sRequest" % (prefix, kind))
        response = getattr(pb, "%sResolve%sResponse" % (prefix, kind))
        call = self.channel.unary_unary(
            "/flagd.evaluation.v%d.Service/Resolve%s" % (version, kind),
            request_serializer=request.SerializeToString,
            response_deserializer=response.FromString)
        metadata = [("flagd-selector", selector % self.environment)]
        return call(request(flag_key=name, context=struct(context)), timeout=20,
                    metadata=metadata)

    def refused(self, *args, **context):
        with self.assertRaises(grpc.RpcError) as caught:
            self.evaluate(*args, **context)
        return caught.exception.code().name

    def test_types(self):
        for version in (1, 2):
            yes = self.evaluate("Boolean", "yes", version)
            self.assertEqual((yes.value, yes.variant, yes.reason), (True, "on", "STATIC"))
            self.assertEqual(plain(yes.metadata), {"owner": "shop", "n": 2, "b": True})
            self.assertEqual(self.evaluate("String", "text", version).value, "A")
            self.assertEqual(self.evaluate("Float", "half", version, "%s").value, 0.5)
            gold = self.evaluate("Int", "half", version, plan={"name": "gold"})
            self.assertEqual((gold.value, gold.reason), (3, "TARGETING_MATCH"))
            self.assertEqual(plain(self.evaluate("Object", "tree", version).value),
                             FLAGS["tree"]["variants"]["a"])
            none = self.evaluate("Boolean", "none", version)
            self.assertEqual((none.value, none.variant, none.reason), (False, "", "DEFAULT"))
        zero = self.evaluate("Boolean", "zero")
        self.assertTrue(zero.HasField("value") and zero.HasField("variant"))
        self.assertFalse(none.HasField("value") or none.HasField("variant"))

    def test_refused(self):
        self.assertEqual(self.refused("Boolean", "nothing"), "NOT_FOUND")
        self.assertEqual(self.refused("Boolean", ""), "NOT_FOUND")
        self.assertEqual(self.refused("Boolean", "text"), "INVALID_ARGUMENT")
        self.assertEqual(self.refused("Int", "half"), "INVALID_ARGUMENT")
        self.assertEqual(self.refused("Boolean", "yes", 2, "source=%s"), "INVALID_ARGUMENT")
        self.assertEqual(self.refused("Boolean", "yes", big="x" * 300000), "RESOURCE_EXHAUSTED")
        self.put("bad", {"variants": {"a": True}, "targeting": {"if": [True, "b"]}})
        self.assertEqual(self.refused("Boolean", "bad"), "UNKNOWN")
        self.put_key("confman/flag/%s/broken" % self.environment, "{")
        self.assertEqual(self.refused("Boolean", "broken"), "DATA_LOSS")

    def test_all(self):
        call = self.channel.unary_unary(
            "/flagd.evaluation.v1.Service/ResolveAll",
            request_serializer=pb.ResolveAllRequest.SerializeToString,
            response_deserializer=pb.ResolveAllResponse.FromString)
        flags = call(pb.ResolveAllRequest(context=struct({"plan": {"name": "gold"}})), timeout=20,
                     metadata=[("x-confman-environment", self.environment)]).flags
        self.assertEqual(set(flags), set(FLAGS))
        self.assertEqual((flags["half"].double_value, flags["text"].string_value), (3, "A"))
        self.assertTrue(flags["yes"].bool_value and "deep" in str(flags["tree"].object_value))
        self.assertIsNone(flags["none"].WhichOneof("value"))

    def test_event_stream(self):
        for version in (1, 2):
            prefix = "V2" if version == 2 else ""
            call = self.channel.unary_stream(
                "/flagd.evaluation.v%d.Service/EventStream" % version,
                request_serializer=getattr(pb, prefix + "EventStreamRequest").SerializeToString,
                response_deserializer=getattr(pb, prefix + "EventStreamResponse").FromString)
            stream = call(getattr(pb, prefix + "EventStreamRequest")(), timeout=20,
                          metadata=[("flagd-selector", self.environment)])
            self.assertEqual(next(stream).type, "provider_ready")
            self.put("text", FLAGS["text"])
            change = next(stream)
            self.assertEqual((change.type, plain(change.data)),
                             ("configuration_change",
                              {"flags": {"text": {"type": "write", "source": "confman",
                                                  "flagKey": "text"}}}))
            stream.cancel()

    def sync(self, name, response, **more):
        path = "/flagd.sync.v1.FlagSyncService/" + name
        kind = self.channel.unary_stream if name == "SyncFlags" else self.channel.unary_unary
        call = kind(path, request_serializer=pb.SyncFlagsRequest.SerializeToString,
                    response_deserializer=response.FromString)
        return call(pb.SyncFlagsRequest(selector=self.environment), timeout=20, **more)

    def test_sync(self):
        stream = self.sync("SyncFlags", pb.SyncFlagsResponse)
        first = json.loads(next(stream).flag_configuration)
        self.assertEqual(set(first["flags"]), set(FLAGS))
        self.assertEqual(first["flags"]["text"], dict(FLAGS["text"], state="ENABLED"))
        self.assertEqual(first["metadata"]["flagSetId"], self.environment)
        self.put("new", {"percentage": 10})
        then = json.loads(next(stream).flag_configuration)
        self.assertEqual(then["flags"]["new"]["targeting"],
                         {"fractional": [["on", 1000], ["off", 9000]]})
        self.put_key("confman/flagset/" + self.environment,
                     json.dumps({"$evaluators": {"staff": {"==": [1, 1]}}}))
        self.assertEqual(json.loads(next(stream).flag_configuration)["$evaluators"],
                         {"staff": {"==": [1, 1]}})
        all_flags = self.sync("FetchAllFlags", pb.FetchAllFlagsResponse)
        self.assertIn("new", json.loads(all_flags.flag_configuration)["flags"])
        stream.cancel()

    def test_inherited(self):
        heir = self.environment + "-heir"
        record = self.node.url + "/v1/environments/" + heir
        for parent in (self.environment, self.environment + "-none"):
            answer = curl(record, "-X", "PUT", "-H", "Content-Type: application/json",
                          body=json.dumps({"parent": parent}).encode())
            self.assertIn(answer.status, (200, 201), answer)
            if parent == self.environment:
                base, self.environment = self.environment, heir
                name = next(n for n, f in FLAGS.items() if True in f["variants"].values())
                self.assertIs(type(self.evaluate("Boolean", name, now="x").value), bool)
                stream = self.sync("SyncFlags", pb.SyncFlagsResponse)
                self.assertIn(name, json.loads(next(stream).flag_configuration)["flags"])
                self.environment = base
                self.put("of-parent", FLAGS[name])
                self.assertIn("of-parent", json.loads(next(stream).flag_configuration)["flags"])
                self.environment = heir
        # Another parent: the stream ends, to be opened anew.
        with self.assertRaises(grpc.RpcError) as caught:
            while next(stream):
                pass
        self.assertEqual(caught.exception.code().name, "UNAVAILABLE")
        self.assertEqual(self.refused("Boolean", name), "NOT_FOUND")

    def test_sync_too_much(self):
        for i in range(18):
            self.put("long%d" % i, {"variants": {"a": "x" * 240000}})
        with self.assertRaises(grpc.RpcError) as caught:
            next(self.sync("SyncFlags", pb.SyncFlagsResponse))
        self.assertEqual(caught.exception.code().name, "RESOURCE_EXHAUSTED")


@unittest.skipIf(target() != "confman", "a door that only confman has")
class FlagdRightsTest(unittest.TestCase):
    """With authentication: who may read the keys, and nobody else; streams end with the right."""

    def setUp(self):
        self.node = Node()
        self.node.start()
        self.addCleanup(self.node.close)
        self.channel = grpc.insecure_channel(self.node.endpoint)
        self.addCleanup(self.channel.close)
        self.root = None
        for environment in ("ours", "theirs"):
            self.ask("/v3/kv/put", key=self.text("confman/flag/%s/f" % environment),
                     value=self.text('{"variants": {"on": true}, "defaultVariant": "on"}'))
        for user, role in (("root", "root"), ("app", "app")):
            self.ask("/v3/auth/user/add", name=user, password="secret")
            self.ask("/v3/auth/role/add", name=role)
            self.ask("/v3/auth/user/grant", user=user, role=role)
        self.grant("confman/flag/ours/", "confman/flag/ours0")
        self.ask("/v3/auth/enable")
        self.root, self.app = self.login("root"), self.login("app")

    @staticmethod
    def text(s):
        return base64.b64encode(s.encode()).decode()

    def ask(self, path, **body):
        token = ("-H", "Authorization: " + self.root) if self.root else ()
        answer = curl(self.node.url + path, *token, body=json.dumps(body).encode())
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def login(self, user):
        return self.ask("/v3/auth/authenticate", name=user, password="secret")["token"]

    def grant(self, key, end):
        self.ask("/v3/auth/role/grant", name="app", perm={
            "permType": "READ", "key": self.text(key), "range_end": self.text(end)})

    def call(self, name, environment, token, version=2):
        service = "flagd.sync.v1.FlagSyncService" if "Flags" in name else (
            "flagd.evaluation.v%d.Service" % version)
        kind = self.channel.unary_stream if name in ("SyncFlags", "EventStream") else (
            self.channel.unary_unary)
        metadata = [("flagd-selector", environment)] + ([("token", token)] if token else [])
        message = pb.ResolveBooleanRequest(flag_key="f") if "Boolean" in name else (
            pb.EventStreamRequest())
        return kind("/%s/%s" % (service, name),
                    request_serializer=lambda m: m.SerializeToString(),
                    response_deserializer=lambda b: b)(message, metadata=metadata, timeout=20)

    def code(self, *args):
        try:
            answer = self.call(*args)
            if not isinstance(answer, bytes):
                next(answer)
            return "OK"
        except grpc.RpcError as e:
            return e.code().name

    def test_rights(self):
        for name, version in (("ResolveBoolean", 2), ("ResolveBoolean", 1), ("ResolveAll", 1),
                              ("EventStream", 1), ("EventStream", 2), ("SyncFlags", 1),
                              ("FetchAllFlags", 1)):
            self.assertEqual(self.code(name, "ours", self.app, version), "OK", name)
            self.assertEqual(self.code(name, "theirs", self.app, version), "PERMISSION_DENIED",
                             name)
            self.assertEqual(self.code(name, "ours", "x.1", version), "UNAUTHENTICATED", name)
            self.assertEqual(self.code(name, "ours", None, version), "INVALID_ARGUMENT", name)
            self.assertEqual(self.code(name, "theirs", self.root, version), "OK", name)

    def test_a_right_that_is_taken_ends_streams(self):
        streams = [self.call(name, "ours", self.app) for name in ("SyncFlags", "EventStream")]
        for stream in streams:
            next(stream)
        self.ask("/v3/auth/role/revoke", role="app", key=self.text("confman/flag/ours/"),
                 range_end=self.text("confman/flag/ours0"))
        for stream in streams:
            with self.assertRaises(grpc.RpcError) as caught:
                next(stream)
            self.assertEqual(caught.exception.code().name, "PERMISSION_DENIED")


if __name__ == "__main__":
    main()
