"""/v1/subscribe and /v1/deliveries, by python3-websockets, python3-aiohttp and curl."""
import asyncio
import http.client
import json
import os
import subprocess
import unittest

import aiohttp
import websockets

from node import Node, ServerTest, confman_bin, main, target, wait_until
from stream_test import Events
from web import curl

SECONDS = 20


async def blocking(call, *args):
    return await asyncio.get_running_loop().run_in_executor(None, call, *args)


def run(coroutine):
    asyncio.run(asyncio.wait_for(coroutine, 2 * SECONDS))


class Client:
    """One connection; what it was told is told once by next()."""

    def __init__(self, socket):
        self.socket = socket

    async def say(self, kind, **members):
        await self.socket.send(json.dumps(dict(members, type=kind)))

    async def next(self):
        return json.loads(await asyncio.wait_for(self.socket.recv(), SECONDS))

    async def hear(self, test, kind, **members):
        told = await self.next()
        test.assertEqual(told["type"], kind, told)
        test.assertEqual({k: told.get(k) for k in members}, members, told)
        return told

    async def subscribe(self, test, **members):
        await self.say("subscribe", **members)
        return await self.hear(test, "subscribed", id=members["id"])


@unittest.skipIf(target() != "confman", "a door that only confman has")
class Pushing(ServerTest):
    def ask(self, method, path, body=None):
        """(status, the body as bytes)"""
        connection = http.client.HTTPConnection("127.0.0.1", self.node.port, timeout=SECONDS)
        try:
            connection.request(method, path, None if body is None else json.dumps(body),
                               {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def done(self, method, path, body=None):
        status, answer = self.ask(method, path, body)
        self.assertIn(status, (200, 201), answer)
        return json.loads(answer)

    def set(self, rest, value, environment="default"):
        return self.done("PUT", "/v1/config/%s?environment=%s" % (self.name(rest), environment),
                         {"value": value})

    def delete(self, rest, environment="default"):
        return self.done("DELETE", "/v1/config/%s?environment=%s" % (
            self.name(rest), environment))["revision"]

    def inherit(self, environment, parent):
        self.done("PUT", "/v1/environments/" + environment, {"parent": parent} if parent else {})

    def deliveries(self, query=""):
        return self.done("GET", "/v1/deliveries?" + query)

    def metric(self, name):
        text = self.ask("GET", "/metrics")[1].decode()
        return next(float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                    if line.startswith(name + " "))

    def compact(self, revision):
        subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, "compaction", str(revision)],
                       check=True, env=dict(os.environ, ETCDCTL_API="3"), capture_output=True)

    async def connect(self, stack):
        socket = await websockets.connect("ws://%s/v1/subscribe" % self.node.endpoint,
                                          max_size=None)
        stack.append(socket)
        client = Client(socket)
        client.welcome = await client.hear(self, "welcome")
        return client

    def play(self, scene, clients=1):
        async def whole():
            sockets = []
            try:
                await scene(*[await self.connect(sockets) for _ in range(clients)])
            finally:
                for socket in sockets:
                    await socket.close()
        run(whole())


class SubscribingTest(Pushing):
    def test_changes(self):
        async def scene(a):
            self.assertGreater(a.welcome["reconnect_ms"], 0)
            await a.subscribe(self, id=7, prefix=self.name("a/"))
            await a.subscribe(self, id=8, key=self.name("b"))
            first = await blocking(self.set, "a/x", {"n": 1})
            second = await blocking(self.set, "b", "two")
            await blocking(self.set, "c", "nobody hears")
            gone = await blocking(self.delete, "a/x")
            await a.hear(self, "changes", id=7, revision=first["revision"], changes=[first])
            await a.hear(self, "changes", id=8, revision=second["revision"], changes=[second])
            told = await a.hear(self, "changes", id=7, revision=gone)
            self.assertEqual(told["changes"], [{"key": self.name("a/x"), "environment": "default",
                                                "deleted": True}])
            await a.say("unsubscribe", id=7)
            await a.hear(self, "unsubscribed", id=7)
            await blocking(self.set, "a/x", 2)
            await a.say("ping", id=5)
            await a.hear(self, "pong", id=5)
        self.play(scene)

    def test_one_revision_is_one_message(self):
        async def scene(a):
            await a.subscribe(self, id=1, prefix=self.name())
            root = "confman/config/default/" + self.name()
            text = "\nput %sx 1\nput %sy 2\n\n\n" % (root, root)
            await blocking(lambda: subprocess.run(
                ["etcdctl", "--endpoints", self.node.endpoint, "txn"], input=text.encode(),
                check=True, env=dict(os.environ, ETCDCTL_API="3"), capture_output=True))
            told = await a.hear(self, "changes")
            self.assertEqual([c["key"][-1] for c in told["changes"]], ["x", "y"])
        self.play(scene)

    def test_flags(self):
        flag = {"variants": {"on": True, "off": False}, "defaultVariant": "on"}

        async def scene(a):
            await a.subscribe(self, id=1, flags="flag-", environment="flagged")
            item = await blocking(self.done, "PUT", "/v1/flags/flag-one?environment=flagged", flag)
            told = await a.hear(self, "changes", revision=item["revision"])
            self.assertEqual((told["changes"][0]["flag"], told["changes"][0]["definition"]),
                             ("flag-one", flag))
        self.play(scene)

    def test_inheritance(self):
        self.inherit("leaf", "root")

        async def scene(a, b):
            await a.subscribe(self, id=1, prefix=self.name(), environment="leaf")
            await b.subscribe(self, id=1, prefix=self.name(), environment="leaf", own=True)
            base = await blocking(self.set, "k", 1, "root")
            told = await a.hear(self, "changes", revision=base["revision"])
            self.assertEqual((told["changes"][0]["value"], told["changes"][0]["from"]), (1, "root"))
            leaf = await blocking(self.set, "k", 2, "leaf")
            told = await a.hear(self, "changes", revision=leaf["revision"])
            self.assertEqual(told["changes"][0]["value"], 2)
            await b.hear(self, "changes", revision=leaf["revision"])
            await blocking(self.set, "k", 3, "root")        # leaf's own hides it
            gone = await blocking(self.delete, "k", "leaf")
            told = await a.hear(self, "changes", revision=gone)
            self.assertEqual((told["changes"][0]["value"], told["changes"][0]["from"]), (3, "root"))
            told = await b.hear(self, "changes", revision=gone)
            self.assertTrue(told["changes"][0]["deleted"])
            await blocking(self.inherit, "leaf", None)
            told = await a.hear(self, "environment", id=1)
            self.assertGreater(told["revision"], gone)
            await blocking(self.set, "k", 4, "root")        # it is none of theirs any more
            last = await blocking(self.set, "k", 5, "leaf")
            await a.hear(self, "changes", revision=last["revision"])
        self.play(scene, clients=2)

    def test_resume(self):
        self.inherit("child", "parent")
        items = [self.set("k", i) for i in range(4)]
        others = [self.set("k", i, "parent" if i % 2 else "child") for i in range(4)]

        async def scene(a):
            await a.subscribe(self, id=1, key=self.name("k"), revision=items[1]["revision"])
            for item in items[2:]:
                await a.hear(self, "changes", id=1, changes=[item])
            await a.hear(self, "progress", id=1)
            await a.subscribe(self, id=2, prefix=self.name(), environment="child",
                              revision=others[0]["revision"])
            told = await a.hear(self, "changes", id=2)      # of the parent all are hidden
            self.assertEqual(told["changes"][0]["revision"], others[2]["revision"])
            done = await a.hear(self, "progress", id=2)
            self.assertGreaterEqual(done["revision"], others[3]["revision"])
            last = await blocking(self.set, "k", 9)
            await a.hear(self, "changes", id=1, changes=[last])
            await a.subscribe(self, id=3, prefix=self.name(), revision=last["revision"] + 1)
            await blocking(self.set, "k", 10)               # it has seen that elsewhere
            await a.hear(self, "changes", id=1)
            after = await blocking(self.set, "k", 11)
            told = [await a.next(), await a.next()]
            self.assertEqual({t["id"] for t in told}, {1, 3})
            self.assertEqual({t["revision"] for t in told}, {after["revision"]})
        self.play(scene)

    def test_compacted(self):
        items = [self.set("k", i) for i in range(4)]
        self.compact(items[2]["revision"])

        async def scene(a):
            await a.subscribe(self, id=1, key=self.name("k"), revision=items[0]["revision"])
            told = await a.hear(self, "compacted", id=1)
            self.assertGreaterEqual(told["revision"], items[3]["revision"])
            item = await blocking(self.set, "k", 5)
            await a.hear(self, "changes", id=1, changes=[item])
        self.play(scene)

    def test_what_is_wrong_is_told(self):
        wrong = [
            ("{", "body_not_json"), ("[]", "bad_request"), ('{"type":"jump"}', "bad_request"),
            ('{"type":"subscribe","id":1}', "bad_request"),
            ('{"type":"subscribe","id":1,"key":"a","prefix":"b"}', "bad_request"),
            ('{"type":"subscribe","prefix":"a"}', "bad_request"),
            ('{"type":"subscribe","id":-1,"prefix":"a"}', "bad_request"),
            ('{"type":"subscribe","id":1,"prefix":"a","environment":"a/b"}', "bad_request"),
            ('{"type":"subscribe","id":1,"prefix":"a","more":1}', "bad_request"),
            ('{"type":"subscribe","id":1,"key":"%s"}' % ("k" * 257), "bad_request"),
            ('{"type":"hello","client":""}', "bad_request"),
            ('{"type":"hello","client":"a","labels":{"a":1}}', "bad_request"),
            ('{"type":"hello","client":"%s"}' % ("c" * 129), "bad_request"),
            ('{"type":"ack","revision":1}', "not_found"),
            ('{"type":"unsubscribe","id":9}', "not_found"),
        ]

        async def scene(a):
            for text, code in wrong:
                await a.socket.send(text)
                told = await a.hear(self, "error")
                self.assertEqual(told["code"], code, (text, told))
                self.assertTrue(told["detail"])
            await a.subscribe(self, id=1, prefix="")
            await a.say("subscribe", id=1, prefix="x")
            await a.hear(self, "error", id=1)
            for i in range(2, 257):
                await a.subscribe(self, id=i, prefix="x%d" % i)
            await a.say("subscribe", id=999, prefix="x")
            await a.hear(self, "error", id=999)
        self.play(scene)

    def test_too_large_a_message_ends_it(self):
        async def scene(a):
            await a.socket.send("x" * 5000)
            with self.assertRaises(websockets.exceptions.ConnectionClosed) as e:
                await a.next()
            self.assertEqual(e.exception.code, 1009)
        self.play(scene)

    def test_aiohttp(self):
        async def scene():
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(self.node.url + "/v1/subscribe") as ws:
                    self.assertEqual((await ws.receive_json(timeout=SECONDS))["type"], "welcome")
                    await ws.send_json({"type": "subscribe", "id": 1, "prefix": self.name()})
                    self.assertEqual((await ws.receive_json(timeout=SECONDS))["type"],
                                     "subscribed")
                    item = await blocking(self.set, "k", "v")
                    self.assertEqual((await ws.receive_json(timeout=SECONDS))["changes"], [item])
        run(scene())

    def test_events(self):
        first = self.set("k", 1)
        path = "/v1/subscribe?prefix=%s&client=c&instance=sse" % self.name()
        events = Events(self.node.port, path + "&revision=%d" % (first["revision"] - 1))
        self.addCleanup(events.close)
        self.assertEqual(events.next()["event"], "welcome")
        self.assertEqual(events.next()["event"], "subscribed")
        event = events.next()
        self.assertEqual((event["event"], event["id"]), ("changes", str(first["revision"])))
        self.assertEqual(json.loads(event["data"])["changes"], [first])
        self.assertEqual(events.next()["event"], "progress")
        second = self.set("k", 2)
        self.assertEqual(events.next()["id"], str(second["revision"]))
        told = self.deliveries("client=c")["clients"]
        self.assertEqual([c["instance"] for c in told], ["sse"])
        for query in ("", "prefix=a&key=b", "prefix=a&revision=x", "prefix=a&nothing=1"):
            self.assertEqual(self.ask("GET", "/v1/subscribe?" + query)[0], 400, query)

    def test_events_are_acknowledged(self):
        """What the client of a stream says comes by POST, from curl as well."""
        events = Events(self.node.port, "/v1/subscribe?prefix=%s&client=%s&instance=sse" % (
            self.name(), self._testMethodName))
        self.addCleanup(events.close)
        path = "/v1/subscribe/" + json.loads(events.next()["data"])["stream"]
        self.assertEqual(json.loads(events.next()["data"])["type"], "subscribed")

        def runs():
            one = self.deliveries("client=" + self._testMethodName)["clients"][0]
            return one["subscriptions"][0]

        def say(**message):
            return curl(self.node.url + path, "-H", "Content-Type: application/json",
                        body=json.dumps(message).encode()).status
        first = self.set("k", 1)["revision"]
        self.assertEqual(events.next()["id"], str(first))
        self.assertEqual(say(type="ack", revision=first), 204)
        self.assertEqual((runs()["state"], runs()["revision"]), ("running", first))
        self.assertEqual(say(type="ack", revision=first, error="k is odd"), 204)
        self.assertEqual((runs()["state"], runs()["error"]), ("failed", "k is odd"))
        self.assertEqual(say(type="subscribe", id=7, key=self.name("k")), 204)
        self.assertEqual(json.loads(events.next()["data"])["type"], "subscribed")
        second = self.set("k", 2)["revision"]
        told = [events.next(), events.next()]
        # Whoever comes back goes on with what the query asked for.
        self.assertEqual({(json.loads(e["data"])["id"], e.get("id")) for e in told},
                         {(0, str(second)), (7, None)})
        for status, message in ((400, {"type": "jump"}), (404, {"type": "unsubscribe", "id": 9}),
                                (409, {"type": "subscribe", "id": 7, "prefix": ""}),
                                (413, {"type": "ack", "revision": 1, "error": "x" * 5000})):
            self.assertEqual(say(**message), status, message)
        for other in ("/v1/subscribe/x", path[:-16] + "0" * 16, "/v1/subscribe/" + "0" * 32):
            self.assertEqual(self.ask("POST", other, {"type": "ping"})[0], 404, other)

    def test_drafts(self):
        def propose():
            return self.done("POST", "/v1/drafts", {"title": "t", "changes": [
                {"key": self.name("k"), "value": 1}]})["id"]

        async def scene(a):
            await a.subscribe(self, id=1, topic="drafts")
            draft = await blocking(propose)
            told = await a.hear(self, "changes", id=1, changes=[{"draft": draft}])
            await blocking(self.done, "POST", "/v1/drafts/%d:comment" % draft, {"text": "why?"})
            later = await a.hear(self, "changes", id=1, changes=[{"draft": draft}])
            await a.subscribe(self, id=2, topic="drafts", revision=told["revision"])
            await a.hear(self, "changes", id=2, revision=later["revision"])
            await a.hear(self, "progress", id=2)
            await blocking(self.ask, "DELETE", "/v1/drafts/%d" % draft)
            for _ in range(2):
                await a.hear(self, "changes", changes=[{"draft": draft, "deleted": True}])
            for wrong in ({"topic": "drafts", "prefix": "a"}, {"topic": "weather"},
                          {"topic": "deliveries", "key": "a", "prefix": "b"},
                          {"prefix": "a", "client": "c"}):
                await a.say("subscribe", id=9, **wrong)
                await a.hear(self, "error", code="bad_request")
        self.play(scene)

    def test_curl_streams(self):
        item = self.set("k", 1)
        answer = curl("%s/v1/subscribe?key=%s&revision=%d" % (
            self.node.url, self.name("k"), item["revision"] - 1), "-N", seconds=1, partial=True)
        self.assertIn(b"event: changes\n", answer.body)


class DeliveriesTest(Pushing):
    async def named(self, client, instance, **labels):
        await client.say("hello", client=self._testMethodName, instance=instance, labels=labels)

    def mine(self, query=""):
        return self.deliveries("client=%s&%s" % (self._testMethodName, query))

    async def until(self, condition, query=""):
        """Acknowledgements are not answered: asks until the condition holds."""
        return await blocking(wait_until, lambda: condition(self.mine(query)), SECONDS, query)

    def test_who_runs_what(self):
        async def scene(a, b):
            await self.named(a, "1", zone="x")
            await self.named(b, "2")
            for client in (a, b):
                await client.subscribe(self, id=1, prefix=self.name())
            silent = await blocking(self.mine)
            self.assertEqual(silent["counts"]["silent"], 2)
            self.assertEqual(silent["clients"][0]["labels"], {"zone": "x"})
            first = (await blocking(self.set, "k", 1))["revision"]
            await a.say("ack", revision=first)
            await b.say("ack", revision=first, id=1)
            await self.until(lambda d: d["counts"]["running"] == 2)
            second = (await blocking(self.set, "k", 2))["revision"]
            await a.say("ack", revision=second, error="k is too small")
            told = await self.until(lambda d: d["counts"]["failed"] == 1 and d)
            self.assertEqual(told["counts"]["behind"], 1)
            one = told["clients"][0]["subscriptions"][0]
            self.assertEqual((one["state"], one["revision"], one["failed_revision"], one["error"],
                              one["wanted_revision"]),
                             ("failed", first, second, "k is too small", second))
            self.assertEqual([c["instance"] for c in self.mine("state=behind")["clients"]], ["2"])
            await a.say("ack", revision=second)
            await self.until(lambda d: d["counts"] == {"silent": 0, "running": 1, "behind": 1,
                                                       "failed": 0})
            for query, n in (("key=" + self.name("k"), 2), ("limit=1&key=" + self.name("k"), 1),
                             ("prefix=" + self.name("k/x"), 2), ("key=nobody", 0),
                             ("prefix=", 2), ("flags=", 0), ("environment=other", 0)):
                self.assertEqual(len(self.mine(query)["clients"]), n, query)
            page = self.mine("limit=1")
            rest = self.mine("limit=1&page_token=" + page["next_page_token"])
            self.assertEqual([rest["clients"][0]["instance"], "next_page_token" in rest],
                             ["2", False])
            await b.socket.close()
            told = await self.until(lambda d: not d["clients"][1]["connected"] and d)
            self.assertIn("gone_at", told["clients"][1])
            self.assertEqual(told["clients"][1]["subscriptions"][0]["state"], "gone")
        self.play(scene, clients=2)

    def test_deliveries_are_told_of(self):
        """At most one message a second, and only when something has changed."""
        async def scene(a, b):
            await a.subscribe(self, id=1, topic="deliveries", prefix=self.name())
            none = {"silent": 0, "running": 0, "behind": 0, "failed": 0}
            told = await a.hear(self, "deliveries", id=1, complete=True, counts=none)
            self.assertEqual(len(told["members"]), 1)
            await self.named(b, "1")
            await b.subscribe(self, id=1, prefix=self.name())
            await a.hear(self, "deliveries", counts=dict(none, silent=1))
            item = await blocking(self.set, "k", 1)
            await b.say("ack", revision=item["revision"])
            await a.hear(self, "deliveries", counts=dict(none, running=1))
            await b.say("ack", revision=item["revision"], error="no")
            await a.hear(self, "deliveries", counts=dict(none, failed=1))
            await a.subscribe(self, id=2, topic="deliveries", client="nobody")
            await a.hear(self, "deliveries", id=2, counts=none)
            self.assertEqual(self.metric("confman_push_summaries"), 2)
            await a.say("unsubscribe", id=1)
            await a.hear(self, "unsubscribed", id=1)
            await a.say("unsubscribe", id=2)
            await a.hear(self, "unsubscribed", id=2)
            self.assertEqual(self.metric("confman_push_summaries"), 0)
            for i in range(65):
                await a.say("subscribe", id=i, topic="deliveries", client="c%d" % i)
            told = [await a.next() for _ in range(129)]
            self.assertEqual([(t["id"], t["code"]) for t in told if t["type"] == "error"],
                             [(64, "overloaded")])
        self.play(scene, clients=2)

    def confman(self, *words):
        done = subprocess.run([confman_bin(), "deliveries", "--endpoint", self.node.endpoint,
                               "--client", self._testMethodName, *words], capture_output=True,
                              text=True, check=False, timeout=SECONDS)
        return done.returncode, done.stdout.splitlines(), done.stderr

    def test_command_line(self):
        async def scene(a, b):
            for i, client in enumerate((a, b)):
                await self.named(client, str(i))
                await client.subscribe(self, id=1, prefix=self.name())
            item = await blocking(self.set, "k", 1)
            await a.say("ack", revision=item["revision"])
            await b.say("ack", revision=item["revision"], error="no port is free")
            await self.until(lambda d: d["counts"]["failed"] == d["counts"]["running"] == 1)
            status, lines, _ = await blocking(self.confman, self.name(), "--prefix")
            self.assertEqual((status, len(lines)), (0, 3), lines)
            one = await blocking(self.confman, self.name(), "--prefix", "--limit", "1")
            self.assertEqual(one, (0, lines[:2], ""))
            self.assertEqual(lines[1].split()[1:4], ["0", "running", str(item["revision"])])
            self.assertIn("no port is free", lines[2])
            self.assertEqual(len(self.confman("--state", "failed")[1]), 2)
            self.assertEqual(len(self.confman("elsewhere", "--environment", "none")[1]), 1)
            self.assertEqual(json.loads(self.confman("--output", "json")[1][0])["complete"], True)
            self.assertEqual(self.confman("--state", "odd")[0], 1)
        self.play(scene, clients=2)

    def test_resuming_says_what_runs(self):
        item = self.set("k", 1)

        async def scene(a):
            await self.named(a, "")
            await a.subscribe(self, id=1, key=self.name("k"), revision=item["revision"])
            told = await blocking(self.mine)
            self.assertEqual(told["clients"][0]["subscriptions"][0]["revision"], item["revision"])
        self.play(scene)

    def test_a_name_is_the_newest_connections(self):
        async def scene(a, b):
            await self.named(a, "same")
            await a.subscribe(self, id=1, prefix=self.name("a"))
            await self.named(b, "same")
            await a.hear(self, "error")
            await b.subscribe(self, id=1, prefix=self.name("b"))
            told = await blocking(self.mine)
            self.assertEqual([s["prefix"] for c in told["clients"] for s in c["subscriptions"]],
                             [self.name("b")])
            item = await blocking(self.set, "a", 1)          # it hears all the same
            await a.hear(self, "changes", revision=item["revision"])
            await a.socket.close()
            await b.say("ping")
            await b.hear(self, "pong")
            self.assertTrue(self.mine()["clients"][0]["connected"])
        self.play(scene, clients=2)

    def test_bad_questions(self):
        for query in ("state=odd", "limit=0", "limit=1001", "page_token=%21", "key=", "key=a&key=b",
                      "key=a&prefix=b", "environment=a%2Fb", "client=" + "c" * 129, "what=1"):
            status, answer = self.ask("GET", "/v1/deliveries?" + query)
            self.assertEqual((status, json.loads(answer)["code"]), (400, "bad_request"), query)


class RightsTest(Pushing):
    def etcdctl(self, *words):
        command = ["etcdctl", "--endpoints", self.node.endpoint, *words]
        if self.enabled:
            command += ["--user", "root:secret"]
        subprocess.run(command, check=True, env=dict(os.environ, ETCDCTL_API="3"),
                       capture_output=True)

    def stream_is_its_owners(self, head):
        events = Events(self.node.port, "/v1/subscribe?prefix=app/&client=e", head)
        self.addCleanup(events.close)
        stream = json.loads(events.next()["data"])["stream"]
        for who, status in (("root:secret", 403), ("ann:ann", 204)):
            self.assertEqual(curl(self.node.url + "/v1/subscribe/" + stream, "-u", who, "-H",
                                  "Content-Type: application/json",
                                  body=b'{"type":"ack","revision":1}').status, status)

    def test_rights(self):
        self.enabled = False
        for words in (("user", "add", "root:secret"), ("user", "add", "ann:ann"),
                      ("role", "add", "app"), ("user", "grant-role", "ann", "app"),
                      ("role", "grant-permission", "app", "readwrite", "--prefix",
                       "confman/config/default/app/"), ("user", "grant-role", "root", "root"),
                      ("auth", "enable")):
            self.etcdctl(*words)
        self.enabled = True
        head = {"Authorization": aiohttp.BasicAuth("ann", "ann").encode()}
        url = "ws://%s/v1/subscribe" % self.node.endpoint

        async def scene():
            for headers in ({}, {"Authorization": "Bearer nonsense"}):
                with self.assertRaises(websockets.exceptions.InvalidStatusCode) as e:
                    await websockets.connect(url, extra_headers=headers)
                self.assertEqual(e.exception.status_code, 401)
            async with websockets.connect(url, extra_headers=head) as socket:
                a = Client(socket)
                await a.hear(self, "welcome")
                await a.subscribe(self, id=1, prefix="app/")
                await a.say("subscribe", id=2, prefix="other/")
                await a.hear(self, "denied", id=2)
                await a.say("subscribe", id=3, prefix="app/", environment="prod")
                await a.hear(self, "denied", id=3)
                await blocking(self.etcdctl, "put", "confman/config/default/app/k", "1")
                await a.hear(self, "changes", id=1)
                for query, status in (("prefix=app/", "200"), ("prefix=other/", "403"),
                                      ("client=x", "403")):
                    answer = await blocking(lambda q=query: curl(
                        "%s/v1/deliveries?%s" % (self.node.url, q), "-u", "ann:ann"))
                    self.assertEqual(str(answer.status), status, query)
                await blocking(self.stream_is_its_owners, head)
                await a.say("subscribe", id=4, topic="drafts")
                await a.hear(self, "denied", id=4)
                await a.say("subscribe", id=5, topic="deliveries")
                await a.hear(self, "denied", id=5)
                await a.subscribe(self, id=6, topic="deliveries", prefix="app/")
                await a.hear(self, "deliveries", id=6)
                await blocking(self.etcdctl, "user", "revoke-role", "ann", "app")
                ended = [await a.hear(self, "denied"), await a.hear(self, "denied")]
                self.assertEqual({e["id"] for e in ended}, {1, 6})
                await blocking(self.etcdctl, "put", "confman/config/default/app/k", "2")
                await a.say("ping")
                await a.hear(self, "pong")      # and nothing before it
        run(scene())


@unittest.skipIf(target() != "confman", "a door that only confman has")
class BoundsTest(Pushing):
    args = ("--subscribe-rate", "10", "--deliveries-max", "3", "--deliveries-keep-ms", "0",
            "--watch-queue-bytes", "4096")

    def test_storm(self):
        """What comes too fast is told when to come again, each at another time."""
        async def scene():
            sockets, waits = [], []
            for _ in range(30):
                try:
                    sockets.append(await websockets.connect(
                        "ws://%s/v1/subscribe" % self.node.endpoint))
                except websockets.exceptions.InvalidStatusCode as e:
                    self.assertEqual(e.status_code, 503)
                    waits.append(int(e.headers["retry-after"]))
            self.assertGreaterEqual(len(sockets), 10)
            self.assertGreater(len(waits), 5)
            self.assertGreater(len(set(waits)), 1)
            for socket in sockets:
                await socket.close()
        run(scene())
        self.assertGreater(self.metric("confman_push_refused_total"), 5)

    def test_table_and_slow_client(self):
        async def scene():
            sockets = []
            while len(sockets) < 4:
                try:
                    await self.connect(sockets)
                except websockets.exceptions.InvalidStatusCode:
                    await asyncio.sleep(0.1)
            clients = [Client(s) for s in sockets]
            for i, client in enumerate(clients):
                await client.say("hello", client=self._testMethodName, instance=str(i))
            await clients[3].hear(self, "error", code="overloaded")
            slow = clients[0]
            await slow.subscribe(self, id=1, prefix=self.name())
            sockets[0].transport.pause_reading()
            n = 0
            while not self.metric("confman_push_fell_behind_total") and n < 400:
                await blocking(self.set, "k", "%d " % n + "x" * 1_000_000)
                n += 1
            self.assertLess(n, 400)
            sockets[0].transport.resume_reading()
            told = [int((await slow.hear(self, "changes"))["changes"][0]["value"].split()[0])
                    for _ in range(n)]
            self.assertEqual(told, list(range(n)))
            for socket in sockets:
                await socket.close()
        run(scene())


@unittest.skipIf(target() != "confman", "a door that only confman has")
class StoppingTest(unittest.TestCase):
    def test_goodbye(self):
        async def scene(node):
            socket = await websockets.connect("ws://%s/v1/subscribe" % node.endpoint)
            client = Client(socket)
            await client.hear(self, "welcome")
            await client.say("hello", client="c", instance="i")
            await client.subscribe(self, id=1, prefix="")
            stopped = asyncio.ensure_future(blocking(node.stop))
            told = await client.hear(self, "goodbye", endpoints=[])
            self.assertGreater(told["reconnect_ms"], 0)
            with self.assertRaises(websockets.exceptions.ConnectionClosed) as e:
                await client.next()
            self.assertEqual(e.exception.code, 1001)
            self.assertEqual(await stopped, 0)
        with Node() as node:
            run(scene(node))


if __name__ == "__main__":
    main()
