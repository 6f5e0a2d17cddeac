"""/v1/watch as server-sent events and over WebSocket; the latter by python3-websockets."""
import asyncio
import http.client
import json
import os
import queue
import subprocess
import threading
import unittest

import websockets

from node import ServerTest, main, target
from web import curl

SECONDS = 10


async def told_next(socket):
    """The next message but the first, which only says from where on there are events."""
    while True:
        told = json.loads(await socket.recv())
        if told["type"] != "ready":
            return told


class Events:
    """An open stream of server-sent events over HTTP/1.1, read in a thread."""

    def __init__(self, port, path, headers=()):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.request("GET", path, headers=dict(headers, Accept="text/event-stream"))
        self.answer = self.connection.getresponse()
        self.queue = queue.Queue()
        if self.answer.status == 200:
            threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        event = {}
        try:
            while True:
                line = self.answer.readline()
                if not line:
                    break
                line = line.decode().rstrip("\n")
                if not line:
                    if event and event.get("event") != "ready":
                        self.queue.put(event)
                    event = {}
                elif not line.startswith(":"):
                    name, _, value = line.partition(": ")
                    event[name] = value
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        self.queue.put(None)

    def next(self):
        return self.queue.get(timeout=SECONDS)

    def close(self):
        sock = self.connection.sock
        if sock:
            sock.shutdown(2)
        self.connection.close()


@unittest.skipIf(target() != "confman", "a door that only confman has")
class Watching(ServerTest):
    def put(self, rest, value):
        answer = curl(self.node.url + "/v1/config/" + self.name(rest), "-X", "PUT", "-H",
                      "Content-Type: application/json", body=json.dumps(dict(value=value)).encode())
        self.assertEqual(answer.status in (200, 201), True, answer)
        return answer.json

    def delete(self, rest):
        answer = curl(self.node.url + "/v1/config/" + self.name(rest), "-X", "DELETE")
        self.assertEqual(answer.status in (200, 201), True, answer)
        return answer.json

    def path(self, more=""):
        return "/v1/watch?prefix=%s%s" % (self.name(), more)

    def compact(self, revision):
        subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, "compaction", str(revision)],
                       check=True, env=dict(os.environ, ETCDCTL_API="3"), capture_output=True)


class EventsTest(Watching):
    def follow(self, more="", headers=()):
        events = Events(self.node.port, self.path(more), headers)
        self.addCleanup(events.close)
        self.assertEqual(events.answer.status, 200)
        self.assertTrue(events.answer.headers["content-type"].startswith("text/event-stream"))
        return events

    def heard(self, events, item, kind="put"):
        event = events.next()
        self.assertEqual((event["event"], event["id"]), (kind, str(item["revision"])))
        told = json.loads(event["data"])
        if kind == "put":
            self.assertEqual(told, item)
        else:
            self.assertEqual(told["key"], item["key"])

    def test_events(self):
        events = self.follow()
        first = self.put("a/b", {"x": "line\nbreak"})
        self.put_beside()
        second = self.put("a/b", "two")
        gone = self.delete("a/b")
        self.heard(events, first)
        self.heard(events, second)
        self.heard(events, gone, "delete")

    def put_beside(self):
        curl(self.node.url + "/v1/config/beside", "-X", "PUT", "-H",
             "Content-Type: application/json", body=b'{"value":1}')

    def test_resume(self):
        items = [self.put("k", i) for i in range(4)]
        events = self.follow("&revision=%d" % items[0]["revision"])
        for item in items[1:]:
            self.heard(events, item)
        again = self.follow("&revision=%d" % items[0]["revision"],
                            {"Last-Event-ID": str(items[2]["revision"])})
        self.heard(again, items[3])

    def test_many_at_once(self):
        streams = [self.follow() for _ in range(30)]
        item = self.put("k", 1)
        for events in streams:
            self.heard(events, item)

    def test_bad_requests(self):
        for more in ("&revision=x", "&revision=-1"):
            answer = curl(self.node.url + self.path(more), "-H", "Accept: text/event-stream")
            self.assertEqual(answer.status, 400)
            self.assertEqual(answer.headers["content-type"], "application/problem+json")

    def test_over_http2(self):
        first = self.put("k", 0)
        process = subprocess.Popen(
            ["curl", "-sSN", "--http2-prior-knowledge", "-m", "20", "-H",
             "Accept: text/event-stream",
             self.node.url + self.path("&revision=%d" % (first["revision"] - 1))],
            stdout=subprocess.PIPE, text=True)
        try:
            for item in (None, first, self.put("k", 1)):
                event = {}
                while "data" not in event:
                    name, _, value = process.stdout.readline().rstrip("\n").partition(": ")
                    event[name] = value
                if item is None:
                    self.assertEqual(event["event"], "ready")
                    continue
                self.assertEqual((event["id"], json.loads(event["data"])),
                                 (str(item["revision"]), item))
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class CompactedEventsTest(Watching):
    def test_compacted(self):
        revisions = [self.put("k", i)["revision"] for i in range(4)]
        self.compact(revisions[2])
        events = Events(self.node.port, self.path("&revision=%d" % revisions[0]))
        self.addCleanup(events.close)
        if events.answer.status == 200:
            self.assertEqual(events.next()["event"], "compacted")
            self.assertIsNone(events.next())
        else:
            self.assertEqual(events.answer.status, 410)
        events = Events(self.node.port, self.path("&revision=%d" % revisions[2]))
        self.addCleanup(events.close)
        self.assertEqual(events.next()["id"], str(revisions[3]))


class WebSocketTest(Watching):
    def url(self, more=""):
        return "ws://127.0.0.1:%d%s" % (self.node.port, self.path(more))

    def test_messages(self):
        asyncio.run(asyncio.wait_for(self.messages(), 30))

    async def blocking(self, call, *args):
        return await asyncio.get_running_loop().run_in_executor(None, call, *args)

    async def messages(self):
        async with websockets.connect(self.url()) as socket:
            item = await self.blocking(self.put, "k", {"a": 1})
            self.assertEqual(await told_next(socket),
                             dict(type="put", revision=item["revision"], item=item))
            gone = await self.blocking(self.delete, "k")
            told = await told_next(socket)
            self.assertEqual((told["type"], told["revision"]), ("delete", gone["revision"]))
            await asyncio.wait_for(await socket.ping(), SECONDS)
        async with websockets.connect(self.url("&revision=%d" % (item["revision"] - 1))) as socket:
            revisions = [(await told_next(socket))["revision"] for _ in range(2)]
            self.assertEqual(revisions, [item["revision"], gone["revision"]])

    def test_large_message(self):
        asyncio.run(asyncio.wait_for(self.large_message(), 30))

    async def large_message(self):
        async with websockets.connect(self.url(), max_size=None) as socket:
            await self.blocking(self.put, "k", "x" * 300_000)
            self.assertEqual(len((await told_next(socket))["item"]["value"]), 300_000)

    def test_close_is_answered(self):
        asyncio.run(asyncio.wait_for(self.close_is_answered(), 30))

    async def close_is_answered(self):
        socket = await websockets.connect(self.url())
        await socket.close(code=1000)
        self.assertEqual(socket.close_code, 1000)

    def test_refused(self):
        asyncio.run(asyncio.wait_for(self.refused(), 30))

    async def refused(self):
        for path in ("/v1/config/x", "/nothing"):
            with self.assertRaises(websockets.exceptions.InvalidStatusCode):
                await websockets.connect("ws://127.0.0.1:%d%s" % (self.node.port, path))


if __name__ == "__main__":
    main()
