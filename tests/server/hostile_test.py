"""Bytes no honest client sends: the server answers with a protocol error or closes that connection,
keeps its other connections, its data and its memory, and lives on."""
import os
import random
import socket
import struct
import time

from node import ServerTest, confman_only, main, target

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 1, 4, 8, 32
SECONDS = 10
MEMORY_MAX_KIB = 600_000


def frame(kind, flags, stream, payload=b"", length=None):
    length = len(payload) if length is None else length
    head = struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream)
    return head + payload


def literal(name, value):
    """One header field, without indexing and without Huffman (RFC 7541, 6.2.2)."""
    def text(s):
        if len(s) < 127:
            return bytes([len(s)]) + s
        n, out = len(s) - 127, b"\x7f"
        while n > 127:
            out, n = out + bytes([n % 128 + 128]), n // 128
        return out + bytes([n]) + s
    return b"\x00" + text(name) + text(value)


def call_headers(path=b"/etcdserverpb.KV/Range", *more):
    fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", path),
              (b":authority", b"x"), (b"content-type", b"application/grpc"), (b"te", b"trailers"))
    return b"".join(literal(*f) for f in fields + more)


def grpc_message(payload, compressed=0, length=None):
    return struct.pack(">BI", compressed, len(payload) if length is None else length) + payload


class Hostile(ServerTest):
    args = ("--head-timeout-ms", "1500")

    def path(self):
        return b"/health" if target() == "etcd" else b"/health/live"

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.node.port), SECONDS)
        self.addCleanup(s.close)
        return s

    def setUp(self):
        self.witness = self.connect()
        if target() != "etcd":
            self.ask(self.witness) # one that has shown itself may be idle for long

    def ask(self, s):
        s.sendall(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % self.path())
        self.assertIn(b" 200 ", s.recv(4096)[:20])

    def tearDown(self):
        """A connection from before still works, a new one too, and memory has a bound."""
        self.assertTrue(self.node.alive(), "the server died\n" + self.node.log_tail())
        for s in (self.witness, self.connect()):
            if s is self.witness and target() == "etcd":
                continue
            self.ask(s)
        with open("/proc/%d/status" % self.node.process.pid, encoding="ascii") as f:
            rss = [int(line.split()[1]) for line in f if line.startswith("VmRSS")][0]
        self.assertLess(rss, MEMORY_MAX_KIB)

    def send(self, s, data):
        """Whether all could be sent; the other side may hang up at any time."""
        try:
            s.sendall(data)
            return True
        except OSError:
            return False

    def drain(self, s, seconds=SECONDS):
        """(what came back, whether the server closed the connection in this time)"""
        out = b""
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(out) < 1 << 24:
            s.settimeout(max(0.01, end - time.monotonic()))
            try:
                piece = s.recv(65536)
            except TimeoutError:
                return out, False
            except OSError:
                return out, True
            if not piece:
                return out, True
            out += piece
        return out, False

    def frames(self, data):
        out = []
        while len(data) >= 9:
            length = int.from_bytes(data[:3], "big")
            out.append((data[3], data[4], int.from_bytes(data[5:9], "big"), data[9:9 + length]))
            data = data[9 + length:]
        return out

    def h2(self, *parts):
        s = self.connect()
        s.sendall(PREFACE + frame(SETTINGS, 0, 0))
        self.send(s, b"".join(parts))
        return s


class Http2Test(Hostile):
    def refused(self, *parts):
        """The whole connection is an error: it must be closed."""
        s = self.h2(*parts)
        answer, closed = self.drain(s)
        self.assertTrue(closed, "still open after %r: %r" % (parts, self.frames(answer)))

    def test_connection_errors(self):
        block = call_headers()
        for parts in (
                (frame(SETTINGS, 0, 0, b"\0" * 5),),
                (frame(SETTINGS, 0, 1, b""),),
                (frame(SETTINGS, 1, 0, b"\0" * 6),),
                (frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31)),),
                (frame(PING, 0, 0, b"short"),),
                (frame(PING, 0, 7, b"12345678"),),
                (frame(DATA, 0, 0, b"x"),),
                (frame(HEADERS, END_HEADERS, 0, block),),
                (frame(HEADERS, END_HEADERS, 2, block),),
                (frame(CONTINUATION, END_HEADERS, 1, block),),
                (frame(HEADERS, 0, 1, block), frame(PING, 0, 0, b"12345678")),
                (frame(HEADERS, 0, 1, block), frame(CONTINUATION, END_HEADERS, 3, block)),
                (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff\xff\xff"),),
                (frame(HEADERS, END_HEADERS, 1, b"\x80"),),
                (frame(WINDOW, 0, 0, b"\0\0\0\0"),),
                (frame(DATA, 0, 1, b"", length=0xffffff), b"x" * 200000)):
            with self.subTest(parts=[p[:40] for p in parts]):
                self.refused(*parts)

    @confman_only
    def test_more_connection_errors(self):
        """RFC 9113 asks for them as well; etcd's library lets them pass."""
        block = call_headers()
        for parts in (
                (frame(HEADERS, END_HEADERS | PADDED, 1, b"\xff" + block),),
                (frame(WINDOW, 0, 0, struct.pack(">I", 0x7fffffff)),),
                (frame(RST, 0, 1, b"\0\0\0\0"),),
                (frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + block),)):
            with self.subTest(parts=[p[:40] for p in parts]):
                self.refused(*parts)

    def test_truncated(self):
        """Cut at every place: nothing is answered that was not asked, and nothing hangs on."""
        whole = (PREFACE + frame(SETTINGS, 0, 0) +
                 frame(HEADERS, END_HEADERS, 1, call_headers()) +
                 frame(DATA, END_STREAM, 1, grpc_message(b"\x0a\x01k")))
        for cut in range(0, len(whole), 3):
            s = self.connect()
            s.sendall(whole[:cut])
            s.shutdown(socket.SHUT_WR)
            s.close()

    def test_garbage(self):
        r = random.Random(7)
        for _ in range(150):
            s = self.connect()
            start = r.choice((b"", PREFACE, PREFACE + frame(SETTINGS, 0, 0)))
            self.send(s, start + r.randbytes(r.randrange(1, 3000)))
            s.close()

    def test_mutated(self):
        whole = (frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, call_headers()) +
                 frame(DATA, END_STREAM, 1, grpc_message(b"\x0a\x01k")) +
                 frame(HEADERS, END_HEADERS, 3, call_headers(b"/etcdserverpb.Watch/Watch")) +
                 frame(DATA, 0, 3, grpc_message(b"\x0a\x06\x0a\x01\x00\x12\x01\x00")))
        r = random.Random(8)
        for _ in range(300):
            bad = bytearray(whole)
            for _ in range(r.randrange(1, 6)):
                bad[r.randrange(len(bad))] = r.randrange(256)
            s = self.connect()
            self.send(s, PREFACE + bytes(bad))
            s.close()

    def test_floods(self):
        """Each is cheap to send; none may cost the server more than it costs the sender."""
        block = call_headers()
        for name, piece, times in (
                ("ping", frame(PING, 0, 0, b"12345678"), 20000),
                ("settings", frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)), 20000),
                ("empty data", frame(DATA, 0, 1), 20000),
                ("priority", frame(PRIORITY, 0, 5, b"\0\0\0\0\1"), 20000),
                ("window", frame(WINDOW, 0, 0, b"\0\0\0\1"), 20000)):
            with self.subTest(name):
                s = self.h2(frame(HEADERS, END_HEADERS, 1, block))
                s.settimeout(SECONDS)
                self.send(s, piece * times)
                s.close()

    def test_rapid_reset(self):
        block = call_headers()
        s = self.h2()
        s.settimeout(SECONDS)
        for first in range(0, 20000, 500):
            piece = b"".join(frame(HEADERS, END_HEADERS, 2 * n + 1, block) +
                             frame(RST, 0, 2 * n + 1, b"\0\0\0\x08")
                             for n in range(first, first + 500))
            if not self.send(s, piece):
                break

    @confman_only
    def test_endless_headers(self):
        """CONTINUATION without an end must not be gathered without a bound."""
        s = self.h2(frame(HEADERS, 0, 1, call_headers()))
        s.settimeout(SECONDS)
        piece = frame(CONTINUATION, 0, 1, literal(b"x-filler", b"y" * 16000))
        sent = 0
        while sent < 4000 and self.send(s, piece):
            sent += 1
        self.assertLess(sent, 4000)

    def test_huge_header(self):
        s = self.h2(*[frame(HEADERS if i == 0 else CONTINUATION, END_HEADERS if i == 9 else 0, 1,
                            (call_headers() if i == 0 else b"") + literal(b"x", b"y" * 16000))
                      for i in range(10)])
        self.send(s, frame(PING, 0, 0, b"12345678"))
        self.drain(s, 0.5)

    def test_unread_answers(self):
        """A client that asks much and reads nothing."""
        ask = b"".join(frame(HEADERS, END_HEADERS, 2 * n + 1, call_headers()) +
                       frame(DATA, END_STREAM, 2 * n + 1, grpc_message(b"\x0a\x01\x00\x12\x01\x00"))
                       for n in range(3000))
        s = self.h2()
        s.settimeout(2)
        self.send(s, ask)
        time.sleep(0.3)


class GrpcTest(Hostile):
    def status(self, *data, path=b"/etcdserverpb.KV/Range", more=()):
        """What the server says at the end of one call: the bytes of its answer."""
        s = self.h2(frame(HEADERS, END_HEADERS, 1, call_headers(path, *more)), *data)
        seen = b""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            piece, closed = self.drain(s, 0.1)
            seen += piece
            kinds = {(kind, flags & 1) for kind, flags, stream, _ in self.frames(seen) if stream}
            if closed or (HEADERS, 1) in kinds or (RST, 0) in kinds or (DATA, 1) in kinds or any(
                    kind == RST for kind, _ in kinds):
                return seen
        raise AssertionError("no end of the call: %r" % self.frames(seen))

    def test_messages(self):
        for data in (
                frame(DATA, END_STREAM, 1, b""),
                frame(DATA, END_STREAM, 1, b"\0\0\0"),
                frame(DATA, END_STREAM, 1, grpc_message(b"\x0a\x01k", length=100)),
                frame(DATA, END_STREAM, 1, grpc_message(b"\x0a\x7fk")),
                frame(DATA, END_STREAM, 1, grpc_message(b"\x0a\x01k", compressed=1)),
                frame(DATA, END_STREAM, 1, grpc_message(b"\x0a\x01k", compressed=77)),
                frame(DATA, END_STREAM, 1, grpc_message(b"\xff" * 20)),
                frame(DATA, END_STREAM, 1, grpc_message(b"\x0a\x01k") * 2)):
            with self.subTest(data[9:40]):
                self.status(data)

    def test_length_that_lies(self):
        """4 GiB announced: refused at once, not waited or reserved for."""
        self.status(frame(DATA, 0, 1, grpc_message(b"", length=0xffffffff)))

    def test_too_large(self):
        s = self.h2(frame(HEADERS, END_HEADERS, 1, call_headers()))
        s.settimeout(SECONDS)
        self.send(s, frame(DATA, 0, 1, grpc_message(b"", length=200_000_000)))
        for _ in range(1000):
            if not self.send(s, frame(DATA, 0, 1, b"x" * 16000)):
                break

    def test_content_types(self):
        block = call_headers().replace(b"application/grpc", b"application/nope")
        s = self.h2(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
        answer, _ = self.drain(s, 0.5)
        self.assertTrue(self.frames(answer))

    def test_deep_txn(self):
        """A transaction nested far deeper than anyone needs."""
        def nest(depth):
            inner = b""
            for _ in range(depth):      # TxnRequest.success = RequestOp{ request_txn }
                inner = self.field(2, self.field(4, inner))
            return inner
        for depth in (20, 1000, 5000):
            data = grpc_message(nest(depth))
            pieces = [frame(DATA, 0, 1, data[i:i + 16000]) for i in range(0, len(data), 16000)]
            self.status(*pieces, frame(DATA, END_STREAM, 1), path=b"/etcdserverpb.KV/Txn")

    @staticmethod
    def field(number, payload):
        n, length = len(payload), b""
        while n > 127:
            length, n = length + bytes([n % 128 + 128]), n // 128
        return bytes([number * 8 + 2]) + length + bytes([n]) + payload


@confman_only
class Http1Test(Hostile):
    def answer(self, data, seconds=SECONDS):
        s = self.connect()
        self.send(s, data)
        return self.drain(s, seconds)

    def test_malformed(self):
        """Refused with 4xx (or 5xx), the connection closed, and nothing behind it is served."""
        get = b"GET " + self.path() + b" HTTP/1.1\r\n"
        behind = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
        put = b"PUT /v1/config/smuggle HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for data in (
                b"NONSENSE\r\n\r\n",
                b"\0\0\0\0\r\n\r\n",
                b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
                b"GET / http/1.1\r\nHost: x\r\n\r\n",
                b"G\x01T / HTTP/1.1\r\nHost: x\r\n\r\n",
                b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
                get + b"\r\n",
                get + b"Host: x\r\nHost: y\r\n\r\n",
                get + b"Host : x\r\n\r\n",
                get + b"Host: x\r\n folded\r\n\r\n",
                get + b"Host: x\r\nno colon\r\n\r\n",
                get + b"Host: x\r\n: empty\r\n\r\n",
                get + b"Host: x\r\nA: b\0c\r\n\r\n",
                get + b"Host: x\r\nA: b\rc\r\n\r\n",
                get + b"Host: x\r\nA: " + b"b" * 200000 + b"\r\n\r\n",
                get + b"Host: x\r\n" + b"A: b\r\n" * 20000 + b"\r\n",
                b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                put + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc" + behind,
                put + b"Content-Length: 3, 4\r\n\r\nabc" + behind,
                put + b"Content-Length: -1\r\n\r\n" + behind,
                put + b"Content-Length: +3\r\n\r\nabc" + behind,
                put + b"Content-Length: 0x3\r\n\r\nabc" + behind,
                put + b"Content-Length: 99999999999999999999999\r\n\r\n" + behind,
                put + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + behind,
                put + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + behind,
                put + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + behind,
                put + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + behind,
                put + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + behind,
                put + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + behind,
                put + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n" + behind,
                put + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc" + behind):
            with self.subTest(data[:100] + data[-60:]):
                answer, closed = self.answer(data)
                self.assertTrue(closed, answer)
                self.assertLessEqual(answer.count(b"HTTP/1.1 "), 1)
                if answer:
                    self.assertRegex(answer[:12], rb"^HTTP/1\.[01] [45]")

    def test_bodies_too_large(self):
        head = b"PUT /v1/config/big HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        answer, _ = self.answer(head + b"Content-Length: 1000000000\r\n\r\n{", 2)
        self.assertIn(b" 413 ", answer[:20])
        s = self.connect()
        self.send(s, head + b"Transfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while sent < 2000 and self.send(s, b"10000\r\n" + b"x" * 65536 + b"\r\n"):
            sent += 1
        self.assertLess(sent, 2000)

    def test_slow_loris(self):
        """A request head that comes drop by drop is cut off; the others never notice."""
        slow = [self.connect() for _ in range(100)]
        end = time.monotonic() + 6
        open_ones = list(slow)
        while open_ones and time.monotonic() < end:
            open_ones = [s for s in open_ones if self.send(s, b"G") and not self.hung_up(s)]
            time.sleep(0.1)
        self.assertEqual(open_ones, [])

    @staticmethod
    def hung_up(s):
        s.setblocking(False)
        try:
            return s.recv(4096) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            s.setblocking(True)

    def test_slow_preface(self):
        s = self.connect()
        self.send(s, PREFACE[:10])
        self.assertTrue(self.drain(s, 6)[1])

    def test_websocket_frames(self):
        key = b"dGhlIHNhbXBsZSBub25jZQ=="
        hello = (b"GET /v1/watch?prefix=x HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                 b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key +
                 b"\r\n\r\n")
        mask = b"\0\0\0\0"
        for bad in (b"\x81\x02hi",                               # not masked
                    b"\xf1\x80" + mask,                          # reserved bits
                    b"\x83\x80" + mask,                          # unknown opcode
                    b"\x09\x80" + mask,                          # control frame in pieces
                    b"\x89\xfe\x01\x00" + mask + b"x" * 256,     # control frame too long
                    b"\x80\x80" + mask,                          # continuation of nothing
                    b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff" + mask,
                    b"\x82\xff\x00\x00\x00\x7f\x00\x00\x00\x00" + mask + b"x" * 1000):
            with self.subTest(bad[:16]):
                answer, closed = self.answer(hello + bad, 5)
                self.assertIn(b" 101 ", answer[:20])
                self.assertIn(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", answer)
                self.assertTrue(closed, answer)
        for head in (hello.replace(b"13", b"12"), hello.replace(key, b"short"),
                     hello.replace(b"Sec-WebSocket-Key: " + key + b"\r\n", b"")):
            answer, _ = self.answer(head, 2)
            self.assertRegex(answer[:12], rb"^HTTP/1\.1 4")


class ManyTest(Hostile):
    def test_idle_connections(self):
        many = [self.connect() for _ in range(400)]
        for s in many[::2]:
            self.send(s, PREFACE + frame(SETTINGS, 0, 0))
        self.tearDown()

    def test_open_and_close(self):
        for _ in range(1000):
            with socket.create_connection(("127.0.0.1", self.node.port), SECONDS):
                pass
        opened = len(os.listdir("/proc/%d/fd" % self.node.process.pid))
        self.assertLess(opened, 600)


if __name__ == "__main__":
    main()
