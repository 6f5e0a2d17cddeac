"""A proxy between peers that breaks the network: its own process, told what to do line by line.

Every member's peers reach it by one port of ours (all members must know it by the same address).
Who dialled is read off /proc: the process that owns the other end of the connection. So every byte
has a pair (from, to), whichever of the two dialled, and faults are of ordered pairs: `cut 1 2`
holds what 1 says to 2 (as TCP would: nothing is lost in the middle of a stream, it comes when the
cut is mended or never, if a side gives up), while what 2 says to 1 goes through.

    route MEMBER PORT TARGET_PORT   listen on PORT for MEMBER, which really listens on TARGET_PORT
    pid MEMBER PID                  its process now
    down MEMBER | up MEMBER         whether dialling it is refused, as when its process has ended
    cut FROM TO | mend FROM TO      hold bytes; let them go
    delay FROM TO MS
    reset A B                       break every connection between the two, and those of unknowns
    heal                            mend all, no delays, all up
    bytes                           answers FROM TO COUNT ... of all that was said so far
"""
import asyncio
import collections
import os
import socket
import struct
import subprocess
import sys
import threading

CHUNK = 64 << 10
QUEUE_CHUNKS = 64       # of one direction of one connection; then its sender has to wait
OWNER_TRIES = 40
OWNER_WAIT_S = 0.025


def owner(port, other_port, pids):
    """The member whose process has the socket 127.0.0.1:port connected to other_port, or 0."""
    here, there = "0100007F:%04X" % port, "0100007F:%04X" % other_port
    with open("/proc/net/tcp", encoding="ascii") as f:
        inode = next((w[9] for w in map(str.split, f) if w[1] == here and w[2] == there), "0")
    if inode == "0":
        return 0
    want = "socket:[%s]" % inode
    for member, pid in pids.items():
        folder = "/proc/%d/fd" % pid
        try:
            for fd in os.listdir(folder):
                try:
                    if os.readlink(os.path.join(folder, fd)) == want:
                        return member
                except OSError:
                    pass    # closed meanwhile
        except OSError:
            pass            # the process is gone
    return 0


def break_off(writer):
    """Closes with a reset."""
    raw = writer.get_extra_info("socket")
    if raw is not None and not writer.is_closing():
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
    writer.transport.abort()


class Connection:
    """Two directions between members a (who dialled) and b."""

    def __init__(self, world, a, b, near, far):
        self.world, self.pair = world, (a, b)
        self.sides = [near, far]
        self.tasks = [asyncio.ensure_future(t) for t in
                      self.direction((a, b), near[0], far[1]) +
                      self.direction((b, a), far[0], near[1])]

    def direction(self, pair, reader, writer):
        queue = asyncio.Queue(QUEUE_CHUNKS)
        return [self.read(pair, reader, queue), self.write(pair, queue, writer)]

    async def read(self, pair, reader, queue):
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await reader.read(CHUNK)
            except OSError:
                data = None
            await queue.put((loop.time() + self.world.delays[pair], data))
            if not data:
                return

    async def write(self, pair, queue, writer):
        loop = asyncio.get_running_loop()
        while True:
            due, data = await queue.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            while pair in self.world.cuts:
                await self.world.changed.wait()
            try:
                if data is None:
                    break_off(writer)
                    return
                if not data:
                    writer.write_eof()
                    return
                self.world.bytes[pair] += len(data)
                writer.write(data)
                await writer.drain()
            except OSError:
                self.break_off()
                return

    async def wait(self):
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for _, writer in self.sides:
            writer.close()

    def break_off(self):
        for task in self.tasks:
            task.cancel()
        for _, writer in self.sides:
            break_off(writer)


class World:
    def __init__(self):
        self.routes = {}        # member: (port, target port)
        self.servers = {}       # member: what listens for it
        self.pids = {}
        self.cuts = set()       # (from, to)
        self.delays = collections.defaultdict(float)
        self.bytes = collections.Counter()
        self.connections = set()
        self.changed = asyncio.Event()      # renewed whenever a cut is mended

    async def accept(self, member, reader, writer):
        port, target = self.routes[member]
        dialler = 0
        for _ in range(OWNER_TRIES):
            dialler = owner(writer.get_extra_info("peername")[1], port, self.pids)
            if dialler:
                break
            await asyncio.sleep(OWNER_WAIT_S)
        while {(dialler, member), (member, dialler)} & self.cuts:   # SYN or its answer is lost
            await self.changed.wait()
        try:
            far = await asyncio.open_connection("127.0.0.1", target)
        except OSError:
            break_off(writer)
            return
        for w in (writer, far[1]):
            w.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(self, dialler, member, (reader, writer), far)
        self.connections.add(connection)
        try:
            await connection.wait()
        finally:
            self.connections.discard(connection)

    async def up(self, member):
        if member not in self.servers:
            self.servers[member] = await asyncio.start_server(
                lambda r, w: self.accept(member, r, w), "127.0.0.1", self.routes[member][0],
                reuse_address=True)

    def mended(self):
        self.changed.set()
        self.changed = asyncio.Event()

    async def command(self, word, *arguments):
        numbers = [int(a) for a in arguments]
        pair = tuple(numbers[:2])
        if word == "route":
            self.routes[numbers[0]] = tuple(numbers[1:])
            await self.up(numbers[0])
        elif word == "pid":
            self.pids[numbers[0]] = numbers[1]
        elif word == "up":
            await self.up(numbers[0])
        elif word == "down":
            server = self.servers.pop(numbers[0], None)
            if server:
                server.close()
        elif word == "cut":
            self.cuts.add(pair)
        elif word == "mend":
            self.cuts.discard(pair)
            self.mended()
        elif word == "delay":
            self.delays[pair] = numbers[2] / 1000
        elif word == "reset":
            for c in list(self.connections):
                if set(c.pair) == set(pair) or 0 in c.pair:
                    c.break_off()
        elif word == "heal":
            self.cuts.clear()
            self.delays.clear()
            self.mended()
            for member in self.routes:
                await self.up(member)
        elif word == "bytes":
            return " ".join("%d %d %d" % (*p, n) for p, n in sorted(self.bytes.items()))
        else:
            return "what is %s?" % word
        return "ok"


async def serve():
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    world = World()
    while True:
        line = await lines.readline()
        if not line:
            return
        try:
            answer = await world.command(*line.decode().split())
        except (OSError, ValueError, TypeError) as e:
            answer = "failed: %s" % e
        print(answer, flush=True)


class Proxy:
    """The proxy's process, from the test's side: proxy.tell("cut", 1, 2)."""

    def __init__(self):
        self.lock = threading.Lock()
        self.process = subprocess.Popen([sys.executable, os.path.abspath(__file__)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, line):
        with self.lock:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return self.process.stdout.readline().strip()

    def tell(self, *words):
        line = " ".join(map(str, words))
        answer = self.ask(line)
        if answer != "ok":
            raise RuntimeError("proxy: %s: %s" % (line, answer or "it ended"))

    def bytes(self):
        """(from, to): bytes"""
        numbers = [int(n) for n in self.ask("bytes").split()]
        return {(a, b): n for a, b, n in zip(*[iter(numbers)] * 3)}

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


if __name__ == "__main__":
    asyncio.run(serve())
