"""etcd's JSON door: curl and http.client over HTTP/1.1 and 2, python3-websockets, and protobuf's
own JSON as the judge of what messages look like."""
import asyncio
import base64
import hashlib
import http.client
import json
import random
import threading

import websockets
from google.protobuf import json_format

from etcd_api import Api, pb, prefix_end
from node import Node, ServerTest, confman_only, main, target
from web import curl

SECONDS = 10


def b64(data):
    return base64.b64encode(data if isinstance(data, bytes) else data.encode()).decode()


class Lines:
    """An answer that comes in lines, each a JSON object."""

    def __init__(self, port, path, *messages):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        body = "".join(json.dumps(m) for m in messages)
        self.connection.request("POST", path, body)
        self.answer = self.connection.getresponse()

    def next(self):
        return json.loads(self.answer.readline())

    def close(self):
        self.connection.close()


class GatewayTest(ServerTest):
    flags = ("--http1.1",)

    def post(self, path, message, *args, prefix="/v3"):
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return curl(self.node.url + prefix + path, *self.flags, *args, body=body)

    def ok(self, path, message, **more):
        answer = self.post(path, message, **more)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["content-type"], "application/json")
        return answer.json

    def test_put_and_range(self):
        key = b64(self.name("a"))
        put = self.ok("/kv/put", {"key": key, "value": b64(b"\xff\0v")})
        self.assertEqual(list(put), ["header"])
        self.assertIsInstance(put["header"]["revision"], str)
        again = self.ok("/kv/put", {"key": key, "value": b64("w"), "prevKv": True})
        self.assertEqual(again["prev_kv"]["value"], b64(b"\xff\0v"))
        found = self.ok("/kv/range", {"key": key})
        self.assertEqual(found["count"], "1")
        self.assertEqual(found["kvs"], [{
            "key": key, "value": b64("w"), "version": "2",
            "create_revision": put["header"]["revision"],
            "mod_revision": again["header"]["revision"]}])
        self.assertNotIn("more", found)

    def test_names_of_the_past(self):
        key = b64(self.name("b"))
        for prefix in ("/v3beta",) + (("/v3alpha",) if target() == "confman" else ()):
            self.ok("/kv/put", {"key": key}, prefix=prefix)
        self.assertEqual(self.ok("/kv/range", {"key": key}, prefix="/v3beta")["count"], "1")

    def test_aliases(self):
        lease = self.ok("/lease/grant", {"TTL": 60})["ID"]
        for path in ("/lease/timetolive", "/kv/lease/timetolive"):
            self.assertEqual(self.ok(path, {"ID": lease})["grantedTTL"], "60")
        for path in ("/lease/leases", "/kv/lease/leases"):
            self.assertIn({"ID": lease}, self.ok(path, {})["leases"])
        self.ok("/kv/lease/revoke", {"ID": lease})

    def test_transaction(self):
        key = b64(self.name("c"))
        answer = self.ok("/kv/txn", {
            "compare": [{"key": key, "target": "CREATE", "create_revision": "0"}],
            "success": [{"request_put": {"key": key, "value": b64("1")}},
                        {"requestRange": {"key": key}}],
            "failure": [{"request_delete_range": {"key": key}}]})
        self.assertIs(answer["succeeded"], True)
        self.assertEqual(answer["responses"][1]["response_range"]["kvs"][0]["value"], b64("1"))
        refused = self.ok("/kv/txn", {"compare": [{"key": key, "target": 0, "result": "LESS",
                                                   "version": 1}]})
        self.assertNotIn("succeeded", refused)

    def test_errors(self):
        codes = (("/kv/range", {}, 400, 3, "etcdserver: key is not provided"),
                 ("/kv/range", {"key": "YQ==", "revision": "999999999"}, 400, 11,
                  "etcdserver: mvcc: required revision is a future revision"),
                 ("/lease/revoke", {"ID": "99"}, 404, 5, "etcdserver: requested lease not found"))
        for path, message, status, code, text in codes:
            answer = self.post(path, message)
            self.assertEqual((answer.status, answer.json["code"]), (status, code))
            self.assertEqual((answer.json["error"], answer.json["message"]), (text, text))

    def test_what_is_not_json(self):
        for body in (b"{", b"{]", b"nonsense", b'{"key":"***"}', b'{"key":1}', b"[]", b"\0",
                     b'{"limit":"x","key":"YQ=="}', b'{"kvs":' * 3000):
            answer = self.post("/kv/range", body)
            self.assertEqual((answer.status, answer.json["code"]), (400, 3), answer)
            self.assertTrue(answer.json["error"])

    def test_unknown_path_and_method(self):
        self.assertEqual(self.post("/kv/nothing", {}).status, 404)
        answer = curl(self.node.url + "/v3/kv/range", *self.flags)
        self.assertEqual(answer.status, 405)

    @confman_only
    def test_every_method_answers(self):
        """No path but those of the table; what is not built says so."""
        for path in ("/maintenance/status", "/maintenance/hashkv", "/cluster/member/list",
                     "/lease/leases"):
            self.assertIn("header", self.ok(path, {}))
        for path in ("/auth/user/list", "/lock/lock", "/election/leader", "/maintenance/alarm"):
            self.assertIn(self.post(path, {}).status, (200, 400, 501))

    def test_keep_alive(self):
        lease = self.ok("/lease/grant", {"TTL": "60"})["ID"]
        answer = self.post("/lease/keepalive", b'{"ID":%s}\n{"ID":"12345"} ' % lease.encode())
        self.assertEqual(answer.status, 200)
        first, second = [json.loads(line)["result"] for line in answer.body.splitlines()]
        self.assertEqual((first["ID"], first["TTL"]), (lease, "60"))
        self.assertEqual((second["ID"], second.get("TTL")), ("12345", None))

    @confman_only
    def test_snapshot(self):
        """The blobs are one file and its sum; each says how much of the file is behind it."""
        told = [json.loads(line)["result"] for line in
                self.post("/maintenance/snapshot", b"").body.splitlines()]
        *blobs, digest = [base64.b64decode(t["blob"]) for t in told]
        self.assertEqual(hashlib.sha256(b"".join(blobs)).digest(), digest)
        left = sum(len(b) for b in blobs)
        for blob, part in zip(blobs, told):
            left -= len(blob)
            self.assertEqual(int(part.get("remaining_bytes", "0")), left)

    @confman_only
    def test_too_many_messages(self):
        self.assertEqual(len(self.post("/lease/keepalive", b"{}" * 1000).body.splitlines()), 1000)
        answer = self.post("/lease/keepalive", b"{}" * 1001)
        self.assertEqual((answer.status, answer.json["code"]), (400, 3))

    def test_large_value(self):
        key, value = b64(self.name("l")), b64(b"v" * 1500000)
        self.ok("/kv/put", {"key": key, "value": value})
        self.assertEqual(self.ok("/kv/range", {"key": key})["kvs"][0]["value"], value)

    @confman_only
    def test_too_large(self):
        answer = self.post("/kv/put", {"key": "YQ==", "value": b64(b"v" * 1600000)})
        self.assertEqual(answer.json["error"], "etcdserver: request is too large")
        self.assertEqual(self.post("/kv/put", b" " * 4000000).status, 413)

    def test_options(self):
        answer = curl(self.node.url + "/v3/kv/put", *self.flags, "-X", "OPTIONS")
        self.assertEqual((answer.status, answer.body), (200, b""))


@confman_only
class Gateway2Test(GatewayTest):
    flags = ("--http2-prior-knowledge",)

    def test_watch_in_lines(self):
        """curl writes what has come when its time is over."""
        key = self.name("w")
        put = self.ok("/kv/put", {"key": b64(key), "value": b64("1")})
        message = {"create_request": {"key": b64(key),
                                      "start_revision": put["header"]["revision"]}}
        answer = curl(self.node.url + "/v3/watch", *self.flags, "-N", "-m", "1",
                      body=json.dumps(message).encode(), partial=True)
        created, events = [json.loads(line)["result"] for line in answer.body.splitlines()]
        self.assertIs(created["created"], True)
        self.assertEqual(events["events"][0]["kv"]["key"], b64(key))


class StreamTest(ServerTest):
    def put(self, key, value="v"):
        answer = curl(self.node.url + "/v3/kv/put",
                      body=json.dumps({"key": b64(key), "value": b64(value)}).encode())
        return answer.json["header"]["revision"]

    def test_watch(self):
        lines = Lines(self.node.port, "/v3/watch", {"create_request": {
            "key": b64(self.name("")), "range_end": b64(prefix_end(self.name("").encode()))}})
        self.assertEqual(lines.answer.getheader("content-type"), "application/json")
        self.assertIs(lines.next()["result"]["created"], True)
        first = self.put(self.name("1"))
        event = lines.next()["result"]["events"][0]
        self.assertEqual(event["kv"]["mod_revision"], first)
        self.assertNotIn("type", event)         # PUT is zero
        curl(self.node.url + "/v3/kv/deleterange",
             body=json.dumps({"key": b64(self.name("1"))}).encode())
        self.assertEqual(lines.next()["result"]["events"][0]["type"], "DELETE")
        lines.close()

    def test_two_watchers_of_one_body(self):
        lines = Lines(self.node.port, "/v3/watch",
                      {"create_request": {"key": b64(self.name("1"))}},
                      {"create_request": {"key": b64(self.name("2")), "watch_id": "7"}})
        ids = [lines.next()["result"].get("watch_id", "0") for _ in range(2)]
        self.assertEqual(ids, ["0", "7"])
        self.put(self.name("2"))
        self.assertEqual(lines.next()["result"]["watch_id"], "7")
        lines.close()

    def test_compacted(self):
        revision = int(self.put(self.name("c")))
        self.put(self.name("c"))
        curl(self.node.url + "/v3/kv/compaction", body=b'{"revision":%d}' % (revision + 1))
        lines = Lines(self.node.port, "/v3/watch", {"create_request": {
            "key": b64(self.name("c")), "start_revision": revision}})
        self.assertIs(lines.next()["result"]["created"], True)
        last = lines.next()["result"]
        self.assertEqual((last["canceled"], last["compact_revision"]), (True, str(revision + 1)))
        lines.close()

    async def over_websocket(self):
        url = "ws://%s/v3/watch" % self.node.endpoint
        async with websockets.connect(url) as socket:
            for n in ("1", "2"):
                await socket.send(json.dumps({"create_request": {"key": b64(self.name(n))}}))
                created = json.loads(await socket.recv())["result"]
                self.assertIs(created["created"], True)
            await asyncio.to_thread(self.put, self.name("2"), "over")
            told = json.loads(await socket.recv())["result"]
            self.assertEqual((told["watch_id"], told["events"][0]["kv"]["value"]),
                             ("1", b64("over")))
            await socket.send(json.dumps({"cancel_request": {"watch_id": "1"}}))
            self.assertIs(json.loads(await socket.recv())["result"]["canceled"], True)

    def test_websocket(self):
        asyncio.run(asyncio.wait_for(self.over_websocket(), SECONDS))

    async def unary_over_websocket(self):
        url = "ws://%s/v3/kv/range" % self.node.endpoint
        async with websockets.connect(url, max_size=None) as socket:
            await socket.send(json.dumps({"key": b64(self.name("none"))}))
            self.assertIn("header", json.loads(await socket.recv()))
            with self.assertRaises(websockets.ConnectionClosed):
                await socket.recv()
        async with websockets.connect("ws://%s/v3/watch" % self.node.endpoint) as socket:
            await socket.send("nonsense")
            self.assertEqual(json.loads(await socket.recv())["error"]["code"], 3)
            with self.assertRaises(websockets.ConnectionClosed):
                await socket.recv()

    @confman_only
    def test_unary_over_websocket(self):
        asyncio.run(asyncio.wait_for(self.unary_over_websocket(), SECONDS))

    @confman_only
    def test_the_server_stops(self):
        """What stands open is ended with an error that says so."""
        with Node() as node:
            lines = Lines(node.port, "/v3/watch", {"create_request": {"key": "YQ=="}})
            self.assertIn("result", lines.next())
            stopping = threading.Thread(target=node.stop)
            stopping.start()
            last = lines.next()["error"]
            self.assertEqual((last["code"], last["message"]), (14, "etcdserver: server stopped"))
            self.assertEqual(lines.answer.readline(), b"")
            stopping.join()
            lines.close()


class AuthTest(ServerTest):
    """Tokens, which come in a header or, from a page's WebSocket, as its protocols."""

    def post(self, path, message, *args):
        return curl(self.node.url + "/v3" + path, *args, body=json.dumps(message).encode())

    async def over_websocket(self, token):
        """The first answer."""
        async with websockets.connect("ws://%s/v3/kv/range" % self.node.endpoint,
                                      subprotocols=["Bearer", token]) as socket:
            self.assertEqual(socket.subprotocol, "Bearer")
            await socket.send('{"key":"YQ=="}')
            return json.loads(await socket.recv())

    def test_tokens(self):
        root = {"name": "root", "password": "secret"}
        for path, message in (("user/add", root), ("role/add", {"name": "root"}),
                              ("user/grant", {"user": "root", "role": "root"}), ("enable", {})):
            answer = self.post("/auth/" + path, message)
            self.assertEqual(answer.status, 200, answer)
        refused = self.post("/kv/range", {"key": "YQ=="})
        self.assertEqual((refused.status, refused.json["error"]),
                         (400, "etcdserver: user name is empty"))
        wrong = self.post("/kv/range", {"key": "YQ=="}, "-H", "Authorization: nobody.1")
        self.assertEqual((wrong.status, wrong.json["code"]), (401, 16))
        token = self.post("/auth/authenticate", root).json["token"]
        for value in (token,) + (("Bearer " + token,) if target() == "confman" else ()):
            answer = self.post("/kv/range", {"key": "YQ=="}, "-H", "Authorization: " + value)
            self.assertEqual(answer.status, 200)
        if target() == "confman":
            told = asyncio.run(asyncio.wait_for(self.over_websocket(token), SECONDS))
            self.assertIn("header", told)
            told = asyncio.run(asyncio.wait_for(self.over_websocket("nobody.1"), SECONDS))
            self.assertEqual(told["code"], 16)
        self.post("/auth/disable", {}, "-H", "Authorization: " + token)


class JudgeTest(ServerTest):
    """The same requests over both doors; protobuf's own JSON says what each message is."""

    def both(self, api, path, method, request):
        try:
            expected = getattr(api, method)(request)
        except Exception as e:  # pylint: disable=broad-except
            expected = e.details()
        names = random.random() < 0.5
        text = json_format.MessageToJson(request, preserving_proto_field_name=names)
        answer = curl(self.node.url + "/v3" + path, body=text.encode())
        if isinstance(expected, str):
            self.assertEqual(answer.json["error"], expected, text)
            return
        self.assertEqual(answer.status, 200, text)
        got = json_format.Parse(answer.body, type(expected)())
        got.header.Clear()
        expected.header.Clear()
        self.assertEqual(got, expected, text)
        said = json_format.MessageToDict(expected, preserving_proto_field_name=True)
        told = answer.json
        self.assertEqual(dict(told, header={}), dict(said, header={}))

    def test_random_requests(self):
        random.seed(4)
        api = Api(self.node.endpoint)
        for i in range(40):
            api.Put(pb.PutRequest(key=b"k%d" % (i % 9), value=random.randbytes(random.choice(
                (0, 1, 2, 3, 50)))))
        for _ in range(60):
            key = b"k%d" % random.randrange(12)
            self.both(api, "/kv/range", "Range", pb.RangeRequest(
                key=key, range_end=random.choice((b"", b"l", b"\0")),
                limit=random.choice((0, 2)), revision=random.choice((0, 0, 30, 9999)),
                sort_order=random.randrange(3), sort_target=random.randrange(5),
                keys_only=random.random() < 0.2, count_only=random.random() < 0.2,
                min_mod_revision=random.choice((0, 20))))
            compare = pb.Compare(key=key, target="VERSION", result=random.randrange(4),
                                 version=random.randrange(6))
            op = pb.RequestOp(request_range=pb.RangeRequest(key=b"k", range_end=b"k5"))
            self.both(api, "/kv/txn", "Txn", pb.TxnRequest(compare=[compare], success=[op, op],
                                                           failure=[op]))
        api.close()


@confman_only
class BrowserTest(ServerTest):
    """What a page in a browser sends."""

    def test_page_of_another_place(self):
        url = self.node.url + "/v3/kv/put"
        for origin in ("http://evil.example", "null", "https://" + self.node.endpoint):
            answer = curl(url, "-H", "Origin: " + origin, body=b'{"key":"ZXZpbA=="}')
            self.assertEqual((answer.status, answer.json["code"]), (403, "origin"))
        answer = curl(url, "-H", "Origin: http://" + self.node.endpoint, body=b'{"key":"YQ=="}')
        self.assertEqual(answer.status, 200)
        found = curl(self.node.url + "/v3/kv/range", body=b'{"key":"ZXZpbA=="}')
        self.assertNotIn("count", found.json)

    def test_name_that_was_made_to_lead_here(self):
        for path in ("/v3/kv/range", "/v1/config", "/metrics"):
            answer = curl(self.node.url + path, "-H", "Host: evil.example:2379")
            self.assertEqual((answer.status, answer.json["code"]), (421, "host"))
        answer = curl(self.node.url + "/version", "-H", "Host: localhost:2379")
        self.assertEqual(answer.status, 200)

    def test_listed(self):
        args = ("--cors", "http://a.example,http://b.example", "--host-whitelist", "my.example")
        with Node(args=args) as node:
            answer = curl(node.url + "/v3/kv/put", "-H", "Origin: http://b.example",
                          body=b'{"key":"YQ=="}')
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["access-control-allow-origin"], "http://b.example")
            options = curl(node.url + "/v3/kv/put", "-X", "OPTIONS", "-H",
                           "Origin: http://a.example")
            self.assertEqual((options.status, options.headers["access-control-allow-headers"]),
                             (200, "accept, content-type, authorization"))
            refused = curl(node.url + "/version", "-H", "Origin: http://c.example")
            self.assertEqual(refused.status, 403)
            named = curl(node.url + "/version", "-H", "Host: My.Example:2379")
            self.assertEqual(named.status, 200)

    def test_any(self):
        with Node(args=("--cors", "*", "--host-whitelist", "*")) as node:
            answer = curl(node.url + "/version", "-H", "Host: x.example", "-H",
                          "Origin: http://y.example")
            self.assertEqual(answer.status, 200)
            self.assertEqual(answer.headers["access-control-allow-origin"], "*")


if __name__ == "__main__":
    main()
