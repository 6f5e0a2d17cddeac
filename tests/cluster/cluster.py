"""Several server processes on loopback that form a cluster: confman, or Debian's etcd in its place.

    with Cluster(3) as c:           # CONFMAN_TARGET=etcd and CONFMAN_BIN choose another server
        ... c.leader(), c.members[1].kill(), c.members[1].start(), c.cut([1], [2, 3]) ...

Members have numbers from 1. With proxied=True peers talk through proxy.py, and the network can be
broken; without it they talk directly, as measurements want it.
"""
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "server"))
import grpc

from etcd_api import Api, pb
from node import ROOT, Node, confman_bin, target, wait_until
from proxy import Proxy

READY_SECONDS = 60
# A client that finds a node dead must look again soon; the least back-off is also the time that a
# busy node has to greet.
EAGER = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 2000),
         ("grpc.max_reconnect_backoff_ms", 300))
# Below what Linux takes for outgoing connections: a dead member's port must stay its own. Each
# process of tests has a block for itself, as long as there are few.
PORTS_FIRST, PORTS_BLOCK, PORTS_BLOCKS = 10000, 100, 220
TMPFS_BYTES = 3 << 30       # half an hour of load, uncompacted, in checkpoints and logs
TOKEN = "tests-cluster"

_ports = (PORTS_FIRST + os.getpid() % PORTS_BLOCKS * PORTS_BLOCK + i
          for i in itertools.cycle(range(PORTS_BLOCK)))


def free_port():
    for port in _ports:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class EtcdKind:
    """How Debian's etcd is started."""
    name = "etcd"
    peers_sent = "etcd_network_peer_sent_bytes_total"

    @staticmethod
    def command(m):
        url, peer = m.url, "http://127.0.0.1:%d" % m.peer_port
        return ["/usr/bin/etcd", "--name", m.name, "--data-dir", m.data,
                "--listen-client-urls", url, "--advertise-client-urls", url,
                "--listen-peer-urls", peer, "--initial-advertise-peer-urls", "http://" + m.peer,
                "--initial-cluster", ",".join("%s=http://%s" % p for p in m.first_members),
                "--initial-cluster-token", TOKEN,
                "--initial-cluster-state", "existing" if m.joins else "new",
                "--quota-backend-bytes", str(8 << 30), "--log-level", "error"] + m.args


class ConfmanKind:
    name = "confman"
    peers_sent = "etcd_network_peer_sent_bytes_total"

    @staticmethod
    def command(m):
        command = [confman_bin(), "server", "--name", m.name, "--data-dir", m.data,
                   "--listen", m.endpoint, "--listen-peers", "127.0.0.1:%d" % m.peer_port,
                   "--initial-cluster-token", TOKEN, "--log-level", "info"]
        if m.known_port != m.peer_port:
            command += ["--advertise-peer", m.peer]
        if m.joins:
            command += ["--join", m.joins]
        else:
            command += ["--initial-cluster", ",".join("%s=%s" % p for p in m.first_members)]
        return command + m.args


KINDS = {"etcd": EtcdKind, "confman": ConfmanKind}


class Member(Node):
    """One process of the cluster. peer: the address that the others know it by."""

    def __init__(self, kind, number, proxied=False, small_disk=False, args=()):
        super().__init__(kind, args=args)
        self.number, self.name = number, "n%d" % number
        self.port, self.peer_port = free_port(), free_port()
        self.known_port = free_port() if proxied else self.peer_port
        self.proxy = None
        self.first_members = []
        self.joins = None
        self.id = 0
        self.paused = False
        self.small_disk = small_disk
        if small_disk:
            os.mkdir(self.folder + "/disk")
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%d" % TMPFS_BYTES, "tmpfs",
                            self.folder + "/disk"], check=True)
            self.data = self.folder + "/disk/data"

    @property
    def peer(self):
        return "127.0.0.1:%d" % self.known_port

    def command(self):
        return KINDS[self.kind].command(self)

    def start(self):
        """Without waiting until it is ready, which takes a majority."""
        assert self.process is None
        if self.proxy:
            self.proxy.tell("up", self.number)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)
        if self.proxy:
            self.proxy.tell("pid", self.number, self.process.pid)
        return self

    def wait_ready(self, seconds=READY_SECONDS):
        try:
            wait_until(self.ready, seconds, "member %d is ready" % self.number)
        except AssertionError as e:
            raise AssertionError("%s\n%s" % (e, self.log_tail())) from None

    def kill(self):
        if self.proxy:
            self.proxy.tell("down", self.number)
        self.resume()
        super().kill()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        if self.paused and self.process is not None:
            self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def fill_disk(self):
        """Until nothing more fits; needs small_disk."""
        with open(self.folder + "/disk/ballast", "wb", buffering=0) as f:
            try:
                while f.write(bytes(1 << 20)):
                    pass
            except OSError:
                pass

    def free_disk(self):
        try:
            os.remove(self.folder + "/disk/ballast")
        except FileNotFoundError:
            pass

    def api(self):
        return Api(self.endpoint, EAGER)

    def status(self, seconds=1):
        """StatusResponse, or None when it does not answer."""
        if self.process is None or self.paused:
            return None
        api = self.api()
        try:
            return api.Status(pb.StatusRequest(), timeout=seconds)
        except grpc.RpcError:
            return None
        finally:
            api.close()

    def revision(self):
        """What this member itself has applied; 0 when it does not answer."""
        api = self.api()
        try:
            return api.Range(pb.RangeRequest(key=b"x", serializable=True),
                             timeout=2).header.revision
        except grpc.RpcError:
            return 0
        finally:
            api.close()

    def metrics(self):
        """name{labels}: value"""
        with urllib.request.urlopen(self.url + "/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def memory_kib(self, field="VmRSS"):
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as f:
            return next((int(line.split()[1]) for line in f if line.startswith(field)), 0)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def wipe(self):
        shutil.rmtree(self.data)

    def remove_folder(self):
        if self.small_disk:
            subprocess.run(["umount", "-l", self.folder + "/disk"], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Cluster:
    def __init__(self, n, kind=None, proxied=False, small_disks=False, args=()):
        self.kind = kind or target()
        self.proxy = Proxy() if proxied else None
        self.small_disks, self.args = small_disks, args
        self.members = {}
        for number in range(1, n + 1):
            self.add(number)
        first = [(m.name, m.peer) for m in self.members.values()]
        for m in self.members.values():
            m.first_members = first

    def add(self, number):
        """A member that is not started yet and that nobody else knows."""
        m = Member(self.kind, number, self.proxy is not None, self.small_disks, self.args)
        if self.proxy:
            self.proxy.tell("route", number, m.known_port, m.peer_port)
            m.proxy = self.proxy
        self.members[number] = m
        return m

    def start(self):
        for m in self.members.values():
            m.start()
        for m in self.members.values():
            m.wait_ready()
            m.id = wait_until(m.status, 10, "member %d answers" % m.number).header.member_id
        return self

    def running(self):
        return [m for m in self.members.values() if m.process is not None and not m.paused]

    @property
    def endpoints(self):
        return ",".join(m.endpoint for m in self.running())

    def find_leader(self):
        """The member that leads, as the newest term knows it; None while there is none."""
        told = [(s.raftTerm, s.leader) for s in (m.status() for m in self.running()) if s]
        leader = max(told)[1] if told else 0
        return next((m for m in self.running() if m.id == leader and leader), None)

    def leader(self, seconds=30):
        return wait_until(self.find_leader, seconds, "there is a leader")

    def followers(self):
        leader = self.leader()
        return [m for m in self.running() if m is not leader]

    # ---- the network, for proxied ones ----

    def cut(self, from_some, to_some):
        for a in from_some:
            for b in to_some:
                if a != b:
                    self.proxy.tell("cut", a, b)

    def separate(self, some, others):
        self.cut(some, others)
        self.cut(others, some)

    def delay(self, some, milliseconds):
        for a in some:
            for b in self.members:
                if a != b:
                    self.proxy.tell("delay", a, b, milliseconds)
                    self.proxy.tell("delay", b, a, milliseconds)

    # ---- the membership ----

    def etcdctl(self, *words):
        command = ["/usr/bin/etcdctl", "--endpoints", self.endpoints, *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise AssertionError("%s: %s%s" % (" ".join(command), done.stdout, done.stderr))
        return done.stdout

    def remove_member(self, m):
        """Takes it out of the membership; its process is dead or will be told."""
        self.etcdctl("member", "remove", "%x" % m.id)
        del self.members[m.number]

    def join_member(self, number):
        """A new member with an empty disk, added and started."""
        via = self.leader()
        known = [(o.name, o.peer) for o in self.members.values()]
        m = self.add(number)
        m.first_members = known + [(m.name, m.peer)]
        m.joins = via.peer
        self.etcdctl("member", "add", m.name, "--peer-urls", "http://" + m.peer)
        return m.start()

    def log_tails(self):
        return "\n".join("  member %d:\n%s" % (m.number, m.log_tail())
                         for m in self.members.values())

    # ---- agreement ----

    def settle(self, seconds=60):
        """All heal: every member runs, has the same revision and the same content; that revision.
        Says what differs."""
        for m in self.members.values():
            m.resume()
            m.free_disk()
        if self.proxy:
            self.proxy.tell("heal")
        for m in self.members.values():
            if not m.alive():
                m.process = None
                m.start()
        for m in self.members.values():
            m.wait_ready(seconds)
        revisions = {}

        def same():
            revisions.update({n: m.revision() for n, m in self.members.items()})
            return len(set(revisions.values())) == 1 and revisions[m.number]
        try:
            revision = wait_until(same, seconds, "all have the same revision")
        except AssertionError as e:
            raise AssertionError("%s: %s" % (e, revisions)) from None
        hashes = {}
        for m in self.members.values():
            api = m.api()
            done = api.HashKV(pb.HashKVRequest(revision=revision), timeout=30)
            hashes[m.number] = (done.hash, done.compact_revision)
            api.close()
        if len(set(hashes.values())) != 1:
            raise AssertionError("contents differ at revision %d: %s" % (revision, hashes))
        return revision

    def close(self):
        """Stops all and says which did not end as they should."""
        faults = []
        for m in self.members.values():
            m.resume()
            try:
                m.close()
            except AssertionError as e:
                faults.append("member %d: %s" % (m.number, e))
            m.remove_folder()
        if self.proxy:
            self.proxy.close()
        if faults:
            raise AssertionError("\n".join(faults))

    def abandon(self):
        """Without asking how they ended."""
        for m in self.members.values():
            m.resume()
            if m.process is not None:
                m.process.kill()
                m.process.wait()
            m.remove_folder()
        if self.proxy:
            self.proxy.close()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.abandon()
            raise

    def __exit__(self, error, *unused):
        if error:
            self.abandon()
        else:
            self.close()
