"""One server process for a test: confman, or Debian's etcd in its place.

    with Node() as node:            # CONFMAN_TARGET=etcd and CONFMAN_BIN choose another server
        ... node.endpoint, node.url, node.kill(), node.start() ...
"""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
READY_SECONDS = 30
STOP_SECONDS = 30


def target():
    return os.environ.get("CONFMAN_TARGET", "confman")


def confman_bin():
    return os.path.join(ROOT, os.environ.get("CONFMAN_BIN", "confman"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_until(condition, seconds, what):
    """Polls until condition() is true; a bound instead of a sleep."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %s s: %s" % (seconds, what))
        time.sleep(0.01)


def make_certificate(folder):
    """A throw-away certificate for 127.0.0.1 and localhost, its own authority: (cert, key)."""
    cert, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True)
    return cert, key


class Node:
    def __init__(self, kind=None, tls=False, args=()):
        self.kind = kind or target()
        self.args = list(args)
        self.folder = tempfile.mkdtemp(prefix="confman-test-")
        self.data = os.path.join(self.folder, "data")
        self.log_path = os.path.join(self.folder, "log")
        self.cert, self.key = make_certificate(self.folder) if tls else (None, None)
        self.process = None
        self.port = free_port()
        self.peer_port = free_port()

    @property
    def endpoint(self):
        return "127.0.0.1:%d" % self.port

    @property
    def url(self):
        return "%s://%s" % ("https" if self.cert else "http", self.endpoint)

    def command(self):
        if self.kind == "etcd":
            peer = "http://127.0.0.1:%d" % self.peer_port
            command = ["/usr/bin/etcd", "--name", "one", "--data-dir", self.data,
                       "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
                       "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                       "--initial-cluster", "one=" + peer, "--log-level", "error"]
        else:
            command = [confman_bin(), "server", "--data-dir", self.data,
                       "--listen", self.endpoint, "--log-level", "warn"]
        if self.cert:
            command += ["--cert-file", self.cert, "--key-file", self.key]
        return command + self.args

    def start(self):
        assert self.process is None
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL)
        try:
            wait_until(self.ready, READY_SECONDS, "the server is ready")
        except AssertionError as e:
            raise AssertionError("%s\n%s" % (e, self.log_tail())) from None
        return self

    def ready(self):
        if self.process.poll() is not None:
            raise AssertionError("the server ended with %d" % self.process.returncode)
        path = "/health" if self.kind == "etcd" else "/health/ready"
        context = ssl.create_default_context(cafile=self.cert) if self.cert else None
        try:
            with urllib.request.urlopen(self.url + path, timeout=2, context=context) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self):
        """SIGTERM; returns the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("the server did not stop\n" + self.log_tail()) from None
        finally:
            self.process = None
        return code

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log_tail(self):
        with open(self.log_path, "rb") as f:
            return "".join("    log: %s\n" % line for line in
                           f.read().decode("utf-8", "replace").splitlines()[-30:])

    def close(self):
        """Stops it if it runs, deletes its folder, and says whether it ended as it should."""
        try:
            if self.process is not None and self.process.poll() is not None:
                code = self.process.returncode
                self.process = None
                raise AssertionError("the server died, exit code %d\n%s" % (code, self.log_tail()))
            code = self.stop()
            # etcd passes the signal on to itself.
            if code not in ((0, -signal.SIGTERM) if self.kind == "etcd" else (0,)):
                raise AssertionError("exit code %d after SIGTERM\n%s" % (code, self.log_tail()))
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            if self.alive():
                self.kill()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def __exit__(self, *unused):
        self.close()


confman_only = unittest.skipUnless(target() == "confman", "a door that only confman has")


class ServerTest(unittest.TestCase):
    """A test class whose tests share one server; self.name(x) keeps their keys apart."""
    tls = False
    args = ()

    @classmethod
    def setUpClass(cls):
        cls.node = Node(tls=cls.tls, args=cls.args if target() == "confman" else ())
        cls.node.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.node.close()

    def name(self, rest=""):
        return "%s/%s" % (self._testMethodName, rest)


def main():
    """Runs the tests of the calling file and prints their sum."""
    result = unittest.main(exit=False, verbosity=1).result
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    passed = max(0, result.testsRun - failed - len(result.skipped))
    sys.stderr.flush()
    print("%d passed, %d failed" % (passed, failed), flush=True)
    os._exit(1 if failed else 0)    # clients' threads have nothing more to do
