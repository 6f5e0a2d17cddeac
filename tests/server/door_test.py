"""What the doors owe a client that is late, old, silent or patient: refusals that say what is
wrong, deadlines that hold, WebSockets that are looked after, health told when it changes."""
import asyncio
import json
import os
import queue
import re
import socket
import struct
import subprocess
import threading
import time

import etcd3
import grpc
import websockets

from etcd_api import Api, pb
from hostile_test import (DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, RST, SETTINGS,
                          call_headers, frame, grpc_message)
from node import Node, ServerTest, confman_only, main, wait_until
from web import curl

SECONDS = 10
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
WATCH = b"GET /v1/watch?prefix=%s HTTP/1.1\r\nHost: x\r\n"
UPGRADE = (b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: " + KEY + b"\r\n\r\n")
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Raw(ServerTest):
    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.node.port), SECONDS)
        self.addCleanup(s.close)
        return s

    def ask(self, data, s=None):
        """(status, headers, body) of one request over a socket of our own."""
        s = s or self.connect()
        try:
            s.sendall(data)
        except OSError:
            pass    # refused before all of it was sent
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += s.recv(65536) or self.fail("no answer: %r" % answer)
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            headers.setdefault(name, []).append(value)
        while len(body) < int(headers.get("content-length", "0")[0]):
            body += s.recv(65536) or self.fail("the body is cut: %r" % body)
        return int(lines[0].split()[1]), headers, body

    def put(self, key, value):
        answer = curl("%s/v1/config/%s" % (self.node.url, key), "-X", "PUT", "-H",
                      "Content-Type: application/json", body=json.dumps(dict(value=value)).encode())
        self.assertIn(answer.status, (200, 201))
        return answer.json


@confman_only
class RefusalTest(Raw):
    args = ("--head-timeout-ms", "1000")

    def test_status_and_body_agree(self):
        host, long = b" HTTP/1.1\r\nHost: x\r\n", b"a" * 70000
        put = b"PUT /v1/config/k" + host
        for status, code, data in (
                (400, "bad_request", b"GET /" + host + b"Host: y\r\n\r\n"),
                (405, "method_not_allowed", b"POST /v1/status" + host + b"\r\n"),
                (408, "head_late", b"GET / HT"),
                (413, "body_too_large", put + b"Content-Length: 999999999\r\n\r\n"),
                (414, "target_too_long", b"GET /" + long + host + b"\r\n"),
                (431, "head_too_large", b"GET /" + host + b"A: " + long + b"\r\n\r\n"),
                (431, "head_too_large", b"GET /" + host + b"A: b\r\n" * 101 + b"\r\n"),
                (501, "not_built", put + b"Transfer-Encoding: gzip\r\n\r\n"),
                (505, "http_version", b"GET / HTTP/1.2\r\nHost: x\r\n\r\n")):
            with self.subTest(status):
                got, headers, body = self.ask(data)
                told = json.loads(body)
                self.assertEqual((got, told["status"], told["code"]), (status, status, code))
                self.assertEqual(headers["content-type"], ["application/problem+json"])

    def test_stream_over_http_1_0(self):
        """It could not be told where one ends; the connection is good for other things."""
        watch = (WATCH % b"x").replace(b"/1.1", b"/1.0")
        s = self.connect()
        for more in (b"Connection: keep-alive\r\n\r\n", b"Connection: keep-alive\r\n" + UPGRADE):
            status, headers, body = self.ask(watch + more, s)
            self.assertEqual((status, headers["upgrade"]), (426, ["HTTP/1.1"]))
            self.assertIn("upgrade", headers["connection"])
            self.assertEqual(json.loads(body)["detail"], "a stream needs HTTP/1.1")
        self.assertEqual(self.ask(b"GET /health/live HTTP/1.0\r\n\r\n", s)[0], 200)
        with self.assertRaises(subprocess.CalledProcessError):  # 426 is beyond curl -f
            curl(self.node.url + "/v1/watch?prefix=x", "--http1.0", "-f")

    def test_stream_has_no_head(self):
        for flags in ((), ("--http2-prior-knowledge",)):
            answer = curl(self.node.url + "/v1/watch?prefix=x", "-I", *flags)
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET"))

    def test_websocket_version(self):
        for version in (b"8", b"12", b"14", b"x"):
            hello = UPGRADE.replace(b"13", version)
            status, headers, body = self.ask(WATCH % b"x" + hello)
            self.assertEqual((status, json.loads(body)["status"]), (426, 426))
            self.assertEqual(headers["sec-websocket-version"], ["13"])
            self.assertEqual(headers["upgrade"], ["websocket"])
        status, headers, _ = self.ask(WATCH % b"x" + UPGRADE.replace(KEY, b"short"))
        self.assertEqual((status, headers.get("sec-websocket-version")), (400, None))


@confman_only
class WebSocket(Raw):
    interval = 1.0      # the sweep that looks at it comes once a second
    args = ("--websocket-ping-interval-ms", "1000")

    def open(self, key):
        """One that has had its 101; frames may be right behind it."""
        s = self.connect()
        s.sendall(WATCH % key.encode() + UPGRADE)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += s.recv(1) or self.fail("no answer: %r" % head)
        self.assertIn(b" 101 ", head[:20])
        return s

    @staticmethod
    def frames(s, seconds):
        """Those that came until the server hung up: [(opcode, payload)], None if it did not."""
        data, found, end = b"", [], time.monotonic() + seconds
        while True:
            s.settimeout(max(0.01, end - time.monotonic()))
            try:
                piece = s.recv(65536)
            except socket.timeout:
                return None
            except ConnectionResetError:
                return found
            if not piece:
                return found
            data += piece
            while len(data) >= 2 and len(data) >= 2 + (data[1] if data[1] < 126 else 999):
                found.append((data[0] & 15, data[2:2 + data[1]]))
                data = data[2 + data[1]:]


class WebSocketTest(WebSocket):
    def test_silent_peer_is_dropped(self):
        s = self.open(self.name())
        started = time.monotonic()
        found = self.frames(s, SECONDS)
        self.assertIsNotNone(found, "it was not dropped")
        self.assertEqual([kind for kind, _ in found].count(PING), 1, found)
        self.assertGreater(time.monotonic() - started, 2 * self.interval)

    def test_answering_peer_is_kept(self):
        asyncio.run(asyncio.wait_for(self.answering(), 30))

    async def answering(self):
        url = "ws://127.0.0.1:%d/v1/watch?prefix=%s" % (self.node.port, self.name())
        async with websockets.connect(url, ping_interval=None) as s:
            await asyncio.sleep(4 * self.interval)
            item = await asyncio.get_running_loop().run_in_executor(
                None, self.put, self.name("k"), 1)
            told = [json.loads(await asyncio.wait_for(s.recv(), SECONDS)) for _ in range(2)]
            self.assertEqual((told[0]["type"], told[1]["item"]), ("ready", item))

    def test_talking_peer_is_kept(self):
        s = self.open(self.name())
        end = time.monotonic() + 4 * self.interval
        while time.monotonic() < end:
            s.sendall(struct.pack(">BB4s", 0x80 | TEXT, 0x80, b"mask"))
            time.sleep(0.2)
        s.settimeout(0.01)
        seen = b""
        try:
            while True:
                seen += s.recv(65536) or self.fail("it was dropped")
        except socket.timeout:
            self.assertNotIn(b"\x89\0", seen)

    def test_deaf_peer_is_dropped(self):
        """One that does not read, with more on its way than its socket holds."""
        s = socket.socket()
        self.addCleanup(s.close)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", self.node.port))
        s.sendall(WATCH % self.name().encode() + UPGRADE)
        for i in range(8):
            self.put(self.name("k"), "x" * 1_000_000)
        wait_until(lambda: self.streams() == 0, SECONDS, "the stream is gone")

    def streams(self):
        text = curl(self.node.url + "/metrics").body.decode()
        return int(re.search(r"^etcd_debugging_mvcc_watch_stream_total (\d+)$", text, re.M)[1])

    def test_large_message_is_refused(self):
        for size, code in ((4096, None), (4097, 1009)):
            s = self.open(self.name())
            s.sendall(struct.pack(">BBH4s", 0x80 | TEXT, 0xfe, size, b"\0" * 4) + b"x" * size)
            found = dict(self.frames(s, SECONDS))
            self.assertEqual(found.get(CLOSE), struct.pack(">H", code) if code else None)


@confman_only
class WebSocketEndTest(WebSocket):
    """The whole store is compacted, so these have a server of their own."""

    def test_close_that_is_not_answered(self):
        """Neither silence nor chatter holds a connection open that has been told goodbye."""
        revisions = [self.put(self.name("k"), i)["revision"] for i in range(3)]
        subprocess.run(["etcdctl", "--endpoints", self.node.endpoint, "compaction",
                        str(revisions[2])], check=True, env=dict(os.environ, ETCDCTL_API="3"),
                       capture_output=True)
        more = self.name() + "&revision=%d" % (revisions[0] - 1)
        silent, chatty = self.open(more), self.open(more)
        started, stop = time.monotonic(), threading.Event()

        def chatter():
            try:
                while not stop.wait(0.1):
                    chatty.sendall(struct.pack(">BB4s", 0x80 | PONG, 0x80, b"mask"))
            except OSError:
                pass

        thread = threading.Thread(target=chatter)
        thread.start()
        for s in (silent, chatty):
            found = self.frames(s, SECONDS)
            self.assertIsNotNone(found, "it was not closed")
            self.assertEqual(found[-1], (CLOSE, struct.pack(">H", 1000)))
        stop.set()
        thread.join()
        self.assertLess(time.monotonic() - started, 2 * self.interval + 2)

    def test_stop_does_not_wait_for_long(self):
        self.open(self.name())
        started = time.monotonic()
        self.node.stop()
        self.assertLess(time.monotonic() - started, 2 * self.interval + 2)
        self.node.start()


@confman_only
class DeadlineTest(Raw):
    def grpc(self, method, timeout, body):
        """([(name, value) of its end], seconds) by curl, which keeps no time itself."""
        started = time.monotonic()
        done = subprocess.run(
            ["curl", "-sS", "--http2-prior-knowledge", "-m", "20", "-D", "-", "-o", "/dev/null",
             "-H", "content-type: application/grpc", "-H", "te: trailers", "-H",
             "grpc-timeout: " + timeout, "--data-binary", "@-", self.node.url + method],
            input=body, capture_output=True, check=True)
        return (re.findall(r"^grpc-(status|message): (.*?)\r?$", done.stdout.decode(), re.M),
                time.monotonic() - started)

    @staticmethod
    def frames(s, until):
        """[(type, flags, stream, payload)] up to the one of which until is true."""
        rest, found = b"", []
        s.settimeout(SECONDS)
        while True:
            piece = s.recv(65536)
            assert piece, found
            rest += piece
            while len(rest) >= 9 and len(rest) >= 9 + int.from_bytes(rest[:3], "big"):
                end = 9 + int.from_bytes(rest[:3], "big")
                found.append((rest[3], rest[4], int.from_bytes(rest[5:9], "big"), rest[9:end]))
                rest = rest[end:]
                if until(found[-1]):
                    return found

    def test_stream(self):
        create = etcd3.etcdrpc.WatchRequest()
        create.create_request.key = b"x"
        found, took = self.grpc("/etcdserverpb.Watch/Watch", "400m",
                                grpc_message(create.SerializeToString()))
        self.assertEqual(found, [("status", "4"), ("message", "context deadline exceeded")])
        self.assertTrue(0.3 < took < 5, took)

    def test_message_that_does_not_come(self):
        """The answer comes all the same, and the client is told to send no more."""
        for path in (b"/etcdserverpb.KV/Range", b"/etcdserverpb.Lease/LeaseKeepAlive",
                     b"/grpc.health.v1.Health/Watch"):
            s, started = self.connect(), time.monotonic()
            s.sendall(PREFACE + frame(SETTINGS, 0, 0) + frame(
                HEADERS, END_HEADERS, 1, call_headers(path, (b"grpc-timeout", b"400000u"))))
            found = self.frames(s, lambda f: f[0] == RST)
            took = time.monotonic() - started
            self.assertEqual(found[-1], (RST, 0, 1, b"\0\0\0\0"))
            self.assertEqual(found[-2][:3], (HEADERS, END_HEADERS | END_STREAM, 1))
            self.assertTrue(0.3 < took < 5, took)

    def test_enough_time(self):
        request = etcd3.etcdrpc.PutRequest(key=b"k", value=b"v").SerializeToString()
        for timeout in ("10S", "1H", "99999999H"):
            found, _ = self.grpc("/etcdserverpb.KV/Put", timeout, grpc_message(request))
            self.assertEqual(found, [("status", "0")])

    def test_bad_timeouts(self):
        for timeout in ("", "S", "1", "1x", "-1S", "123456789S", "1.5S"):
            found, _ = self.grpc("/etcdserverpb.KV/Put", timeout, b"")
            if timeout:     # curl leaves an empty header out
                self.assertEqual(found[0], ("status", "13"), timeout)

    def test_writes_in_the_log_go_on(self):
        """Nobody waits any longer, and all of them are there; the connection stays good."""
        count, key = 300, self.name("k").encode()
        request = grpc_message(etcd3.etcdrpc.PutRequest(key=key, value=b"v").SerializeToString())
        head = call_headers(b"/etcdserverpb.KV/Put", (b"grpc-timeout", b"1n"))
        s = self.connect()
        s.sendall(PREFACE + frame(SETTINGS, 0, 0) + b"".join(
            frame(HEADERS, END_HEADERS, 2 * i + 1, head) +
            frame(DATA, END_STREAM, 2 * i + 1, request) for i in range(count)))
        client = etcd3.client(host="127.0.0.1", port=self.node.port, timeout=SECONDS)
        wait_until(lambda: client.get(key)[0] is not None and client.get(key)[1].version == count,
                   SECONDS, "all puts are applied")
        ended = set()

        def all_ended(f):
            if f[0] == HEADERS and f[1] & END_STREAM:
                ended.add(f[2])
            return len(ended) == count

        self.frames(s, all_ended)


class Health(ServerTest):
    def setUp(self):
        self.channel = grpc.insecure_channel(
            self.node.endpoint, options=[("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(self.channel.close)

    def follow(self, service=b""):
        """A queue of the statuses told, then of the error that ended it."""
        told = queue.Queue()
        watch = self.channel.unary_stream("/grpc.health.v1.Health/Watch")
        call = watch(b"\x0a" + bytes([len(service)]) + service if service else b"")
        self.addCleanup(call.cancel)

        def read():
            try:
                for answer in call:
                    told.put(answer)
            except grpc.RpcError as e:
                told.put(e.code().name)

        threading.Thread(target=read, daemon=True).start()
        return told

class HealthTest(Health):
    def test_unknown_service(self):
        self.assertEqual(self.follow(b"no.such").get(timeout=SECONDS), b"\x08\x03")
        with self.assertRaises(grpc.RpcError) as e:
            self.channel.unary_unary("/grpc.health.v1.Health/Check")(b"\x0a\x01x", timeout=SECONDS)
        self.assertEqual(e.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_many_come_and_go(self):
        check = self.channel.unary_unary("/grpc.health.v1.Health/Check")
        for _ in range(3):
            calls = [self.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
                     for _ in range(50)]
            for call in calls:
                self.assertEqual(next(call), b"\x08\x01")
            for call in calls[::2] + calls[1::2]:
                call.cancel()
        self.assertEqual(check(b"", timeout=SECONDS), b"\x08\x01")


@confman_only
class HealthChangeTest(Health):
    def test_change_is_told(self):
        """A server that is told to stop says so to all who watch, and does not wait for them."""
        told = [self.follow() for _ in range(20)] + [self.follow(b"no.such")]
        for one in told:
            self.assertIn(one.get(timeout=SECONDS), (b"\x08\x01", b"\x08\x03"))
        started = time.monotonic()
        self.node.stop()
        for one in told[:20]:
            self.assertEqual(one.get(timeout=SECONDS), b"\x08\x02")
            self.assertEqual(one.get(timeout=SECONDS), "UNAVAILABLE")
        self.assertLess(time.monotonic() - started, 5)
        self.node.start()


class LimitedNode(Node):
    """One that the system gives few descriptors."""

    def command(self):
        return ["prlimit", "--nofile=200:300", *super().command()]


@confman_only
class DescriptorsTest(Raw):
    """Clients that take all there is take nothing from the log, nor the processor."""

    @classmethod
    def setUpClass(cls):
        cls.node = LimitedNode(args=("--checkpoint-log-bytes", "1048576",
                                    "--checkpoint-log-percent", "0"))
        cls.node.__enter__()

    def busy_seconds(self):
        with open("/proc/%d/stat" % self.node.process.pid, encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def test_too_many_connections(self):
        witness = self.connect()
        get = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        self.assertEqual(self.ask(get, witness)[0], 200)
        many = [self.connect() for _ in range(400)]
        wait_until(lambda: self.refused_so_far(witness) > 100, SECONDS, "some are refused")
        before = self.busy_seconds()
        time.sleep(1)
        self.assertLess(self.busy_seconds() - before, 0.2)
        put = (b"PUT /v1/config/%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
               b'{"value":"%s"}' % (self.name("k").encode(), b"x" * 99988))
        for _ in range(40):     # through several checkpoints
            self.assertIn(self.ask(put, witness)[0], (200, 201))
        for s in many:
            s.close()
        wait_until(lambda: self.let_in(get), SECONDS, "new ones are let in again")

    def test_none_left(self):
        """Fewer than we were promised: who comes has to wait, and nobody spins."""
        witness = self.connect()
        get = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n"
        self.ask(get, witness)
        pid = str(self.node.process.pid)
        used = len(os.listdir("/proc/%s/fd" % pid))
        subprocess.run(["prlimit", "--pid", pid, "--nofile=%d:300" % (used + 3)], check=True)
        waiting = [self.connect() for _ in range(20)]
        self.ask(get, witness)
        before = self.busy_seconds()
        time.sleep(1.5)
        self.assertLess(self.busy_seconds() - before, 0.2)
        subprocess.run(["prlimit", "--pid", pid, "--nofile=300:300"], check=True)
        for s in waiting:
            self.assertEqual(self.ask(get, s)[0], 200)

    def refused_so_far(self, s):
        _, _, body = self.ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", s)
        return int(re.search(rb"^confman_connections_refused_total (\d+)$", body, re.M)[1])

    def let_in(self, get):
        try:
            return self.ask(get)[0] == 200
        except (OSError, AssertionError):
            return False


@confman_only
class OneByOneTest(Raw):
    """HTTP/1.1 as its peer may use it: much at once, or a body only when asked for it."""
    args = ("--idle-timeout-ms", "1000", "--stop-timeout-ms", "700")

    def put_bytes(self, rest, value, more=b""):
        body = b'{"value":%s}' % value
        return (b"PUT /v1/config/%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n" %
                (self.name(rest).encode(), len(body), more), body)

    def test_pipelined_writes(self):
        """Each waits for the disk; the next is taken when the one before is answered."""
        count, s = 50, self.connect()
        for i in range(count):
            head, body = self.put_bytes("k%d" % (i % 5), b"%d" % i)
            s.sendall(head + body)
        s.sendall(b"GET /v1/config?prefix=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" %
                  self.name().encode())
        answers = b"".join(iter(lambda: s.recv(65536), b""))
        self.assertEqual(answers.count(b"HTTP/1.1 201 "), 5)
        self.assertEqual(answers.count(b"HTTP/1.1 200 "), count - 5 + 1)
        items = json.loads(answers[answers.rindex(b"\r\n\r\n"):])["items"]
        self.assertEqual([i["value"] for i in items], list(range(count - 5, count)))

    def test_expect_continue(self):
        s = self.connect()
        head, body = self.put_bytes("k", b"1", b"Expect: 100-continue\r\n")
        s.sendall(head)
        self.assertEqual(s.recv(4096), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.assertEqual(self.ask(body, s)[0], 201)

    def test_answer_that_is_not_taken(self):
        """More than the socket holds, for one who does not read and said it would send no more."""
        for i in range(20):
            self.put(self.name("k%d" % i), "x" * 1_000_000)
        s = socket.socket()
        self.addCleanup(s.close)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", self.node.port))
        s.sendall(b"GET /v1/config?prefix=%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" %
                  self.name().encode())
        wait_until(lambda: self.sent_to(s) == 0, SECONDS, "the connection is given up")

    @staticmethod
    def sent_to(s):
        """How many sockets there are whose peer is s."""
        port = ":%04X " % s.getsockname()[1]
        with open("/proc/net/tcp", encoding="ascii") as f:
            return sum(port in line.split(None, 3)[2] + " " and line.split()[3] == "01"
                       for line in f.readlines()[1:])

    def test_stop_with_calls_open(self):
        """What never becomes whole is given up when its time is over."""
        s = self.connect()
        s.sendall(PREFACE + frame(SETTINGS, 0, 0) +
                  frame(HEADERS, END_HEADERS, 1, call_headers(b"/etcdserverpb.KV/Put")))
        half = self.connect()
        half.sendall(self.put_bytes("k", b"1")[0])
        time.sleep(0.2)
        started = time.monotonic()
        self.node.stop()
        self.assertTrue(0.5 < time.monotonic() - started < 5)
        self.node.start()

    def test_small_answers(self):
        health, version = (curl(self.node.url + path) for path in ("/health", "/version"))
        self.assertEqual((health.status, health.json), (200, dict(health="true", reason="")))
        self.assertRegex(version.json["etcdserver"], r"^3\.6\.")
        self.assertEqual(curl(self.node.url + "/health", "-X", "POST").status, 405)


@confman_only
class ProgressTest(Raw):
    """Quiet watchers that asked for it are told how far things are."""
    args = ("--watch-progress-interval-ms", "200")

    def revision(self):
        return curl(self.node.url + "/v1/status").json["revision"]

    def test_events(self):
        s = self.connect()
        s.sendall(WATCH % self.name().encode() + b"\r\n")
        s.settimeout(SECONDS)
        told = b""
        while told.count(b"event: progress\n") < 2:
            told += s.recv(65536) or self.fail(told)
        self.assertIn(b'event: progress\ndata: {"revision":%d}\n\n' % self.revision(), told)

    def test_websocket(self):
        asyncio.run(asyncio.wait_for(self.over_websocket(), 30))

    async def over_websocket(self):
        url = "ws://127.0.0.1:%d/v1/watch?prefix=%s" % (self.node.port, self.name())
        async with websockets.connect(url) as s:
            told = [json.loads(await asyncio.wait_for(s.recv(), SECONDS)) for _ in range(3)]
            self.assertEqual([t["type"] for t in told], ["ready", "progress", "progress"])

    def test_grpc(self):
        """Those who asked hear of it one by one; by hand it is said once for the whole stream."""
        asked = queue.Queue()
        api = Api(self.node.endpoint)
        self.addCleanup(api.close)
        told = api.Watch(iter(asked.get, None))
        self.addCleanup(asked.put, None)
        for watch_id, progress in ((1, True), (2, False), (3, True)):
            asked.put(pb.WatchRequest(create_request=pb.WatchCreateRequest(
                key=self.name().encode(), watch_id=watch_id, progress_notify=progress)))
            self.assertTrue(next(told).created)
        heard = {next(told).watch_id for _ in range(6)}
        self.assertEqual(heard, {1, 3})
        asked.put(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))
        while heard == {1, 3}:
            heard.add(next(told).watch_id)
        self.assertEqual(heard, {1, 3, -1})


@confman_only    # as etcd 3.6 does; Debian has an older one
class WatchTest(ServerTest):
    def test_refusals(self):
        """A create that is refused leaves the stream and its other watchers as they were."""
        asked, api = queue.Queue(), Api(self.node.endpoint)
        self.addCleanup(api.close)
        self.addCleanup(asked.put, None)
        told = api.Watch(iter(asked.get, None))
        key = self.name().encode()

        def create(**more):
            asked.put(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=key, **more)))
            return next(told)

        self.assertEqual((create(watch_id=1).watch_id, create(watch_id=2).watch_id), (1, 2))
        for reason, more in (("duplicate watch ID", dict(watch_id=1)),
                             ("watcher range is empty", dict(range_end=key)),
                             ("compacted", dict(start_revision=-1))):
            answer = create(**more)
            self.assertEqual((answer.watch_id, answer.canceled, answer.created), (-1, True, True))
            self.assertIn(reason, answer.cancel_reason)
        # The server's own names go around those that are taken.
        self.assertEqual([create().watch_id for _ in range(2)], [0, 3])
        api.Put(pb.PutRequest(key=key), timeout=SECONDS)
        self.assertEqual({next(told).watch_id for _ in range(4)}, {0, 1, 2, 3})


@confman_only    # etcd does not know gzip
class CompressedTest(ServerTest):
    def test_gzip(self):
        """Messages may come compressed, each for itself."""
        value = b"x" * 100_000
        for compression in (grpc.Compression.Gzip, grpc.Compression.NoCompression):
            channel = grpc.insecure_channel(self.node.endpoint, compression=compression)
            self.addCleanup(channel.close)
            kv = etcd3.etcdrpc.KVStub(channel)
            key = self.name(compression.name).encode()
            kv.Put(etcd3.etcdrpc.PutRequest(key=key, value=value), timeout=SECONDS)
            got = kv.Range(etcd3.etcdrpc.RangeRequest(key=key), timeout=SECONDS)
            self.assertEqual(got.kvs[0].value, value)


if __name__ == "__main__":
    main()
