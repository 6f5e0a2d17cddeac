"""Started as etcd is: its flags, variables and file, its lines, its listeners and its TLS.

With CONFMAN_TARGET=etcd what both have is asked of Debian's etcd: so it is etcd's own behaviour.
"""
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

from node import confman_bin, confman_only, free_port, main, target, wait_until

ETCD = target() == "etcd"
READY = "ready to serve client requests"


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, timeout=20, **more)


class Authority:
    """Certificates that one authority has signed, and its list of what it has revoked."""

    def __init__(self, folder):
        self.folder = folder
        self.ca, self.ca_key = self.path("ca.pem"), self.path("ca.key")
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", self.ca_key, "-out", self.ca, "-days", "2", "-subj", "/CN=ca")
        with open(self.path("ca.conf"), "w", encoding="ascii") as f:
            f.write("[ca]\ndefault_ca=a\n[a]\ndatabase=%s\ndefault_md=sha256\n"
                    "default_crl_days=2\n" % self.path("index"))
        open(self.path("index"), "w", encoding="ascii").close()
        self.crl = self.path("crl.pem")

    def path(self, name):
        return os.path.join(self.folder, name)

    def issue(self, name, san="DNS:localhost,IP:127.0.0.1", into=None):
        """(certificate, key)"""
        cert, key, request = (self.path(name + end) for end in (".pem", ".key", ".csr"))
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", key, "-out", request, "-subj", "/CN=" + name)
        with open(self.path("san"), "w", encoding="ascii") as f:
            f.write("subjectAltName=%s\n" % san)
        run("openssl", "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.ca_key,
            "-CAcreateserial", "-days", "2", "-out", cert, "-extfile", self.path("san"))
        if into:
            os.replace(cert, into[0])
            os.replace(key, into[1])
            return into
        return cert, key

    def revoke(self, *certs, out=None):
        conf = ("-config", self.path("ca.conf"), "-cert", self.ca, "-keyfile", self.ca_key)
        for cert in certs:
            run("openssl", "ca", *conf, "-revoke", cert)
        run("openssl", "ca", *conf, "-gencrl", "-out", self.path("crl.new"))
        os.replace(self.path("crl.new"), out or self.crl)


class Etcd:
    """One process, started by whatever flags; its lines can be waited for."""

    def __init__(self, *flags, env=None, cwd=None, name=None):
        command = ["/usr/bin/etcd", "--logger=zap"] if ETCD else [name] if name else \
            [confman_bin(), "etcd"]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
        self.process = subprocess.Popen(command + list(flags), env=dict(clean, **(env or {})),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True, cwd=cwd)
        self.lines = []
        self.thread = threading.Thread(target=self.pump, daemon=True)
        self.thread.start()

    def pump(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def text(self):
        return "\n".join(self.lines)

    def messages(self):
        return [json.loads(line) for line in list(self.lines) if line.startswith("{")]

    def wait_for(self, message, seconds=20):
        def there():
            for line in self.messages():
                if message in line["msg"]:
                    return line
            if self.process.poll() is not None:
                raise AssertionError("it ended:\n" + self.text())
            return None
        return wait_until(there, seconds, message)

    def serving(self):
        self.wait_for("published local member" if ETCD else READY)
        return self

    def ended(self):
        code = self.process.wait(20)
        self.thread.join(5)
        return code

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        try:
            self.stop()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process.stderr.close()


def etcdctl(*args, endpoint, check=True):
    env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD")}
    return subprocess.run(["etcdctl", "--endpoints", endpoint, "--dial-timeout=3s", *args],
                          env=dict(env, ETCDCTL_API="3"), check=check, capture_output=True,
                          text=True, timeout=30)


def get(port, path, scheme=http.client.HTTPConnection, **more):
    with contextlib.closing(scheme("127.0.0.1", port, timeout=10, **more)) as c:
        c.request("GET", path)
        answer = c.getresponse()
        return answer.status, answer.read()


class StartTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="confman-etcd-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.port, self.peer_port = free_port(), free_port()
        self.url = "http://127.0.0.1:%d" % self.port
        self.peer_url = "http://127.0.0.1:%d" % self.peer_port

    def path(self, name):
        return os.path.join(self.folder, name)

    def flags(self, *more, client=None):
        return ["--data-dir", self.path("data"), "--listen-client-urls", client or self.url,
                "--advertise-client-urls", client or self.url,
                "--listen-peer-urls", "http://127.0.0.1:0", *more]

    def start(self, *flags, **more):
        e = Etcd(*flags, **more)
        self.addCleanup(e.__exit__)
        return e

    def refused(self, *flags, **more):
        """What it says when it does not start."""
        e = self.start(*flags, cwd=self.folder, **more)
        self.assertNotEqual(e.ended(), 0)
        return e.text()

    def works(self, endpoint, *args):
        self.assertEqual(etcdctl("put", "k", "v", *args, endpoint=endpoint).stdout, "OK\n")
        found = etcdctl("get", "--print-value-only", "k", *args, endpoint=endpoint)
        self.assertEqual(found.stdout, "v\n")


class FlagsTest(StartTest):
    def test_one_or_two_dashes_equals_or_next_word(self):
        """As Kubernetes' test tools start it."""
        self.start("-listen-client-urls", self.url, "--advertise-client-urls=" + self.url,
                   "-listen-peer-urls=http://127.0.0.1:0", "--data-dir", self.path("data"),
                   "-snapshot-count=10000", "--quota-backend-bytes", "8589934592").serving()
        self.works(self.url)
        self.assertEqual(json.loads(get(self.port, "/health")[1])["health"], "true")

    def test_variables(self):
        """As Debian's etcd.service does; a flag that is given too is stronger."""
        env = {"ETCD_NAME": "host1", "ETCD_DATA_DIR": self.path("data"),
               "ETCD_LISTEN_CLIENT_URLS": self.url, "ETCD_ADVERTISE_CLIENT_URLS": self.url,
               "ETCD_INITIAL_ADVERTISE_PEER_URLS": self.peer_url,
               "ETCD_LISTEN_PEER_URLS": self.peer_url,
               "ETCD_INITIAL_CLUSTER": "host1=" + self.peer_url, "ETCD_NO_SUCH": "x"}
        e = self.start("--max-wals=3", env=env).serving()
        if not ETCD:    # 3.4 says it otherwise
            e.wait_for("unrecognized environment variable")
        self.works(self.url)
        found = json.loads(etcdctl("member", "list", "-w", "json", endpoint=self.url).stdout)
        member = found["members"][0]
        self.assertEqual((member["name"], member["peerURLs"], member["clientURLs"]),
                         ("host1", [self.peer_url], [self.url]))

    def test_file(self):
        """Nothing else counts when there is a file; null, lists, blocks and nanoseconds."""
        with open(self.path("etcd.yml"), "w", encoding="ascii") as f:
            f.write("name: 'from-file'\ndata-dir: %s\nwal-dir:\nlisten-client-urls: %s\n"
                    "advertise-client-urls: %s\nlisten-peer-urls: %s\n"
                    "initial-advertise-peer-urls: %s\ninitial-cluster: from-file=%s\n"
                    "client-transport-security:\n  cert-file:\n  client-cert-auth: false\n"
                    "peer-transport-security:\n  auto-tls: false\nlog-outputs: [stderr]\n"
                    "discovery-fallback: 'proxy'\nunknown-to-both: 7\nlogger: zap\n"
                    % (self.path("data"), self.url, self.url, self.peer_url, self.peer_url,
                       self.peer_url))
        e = self.start("--config-file", self.path("etcd.yml"), "--name", "x").serving()
        self.works(self.url)
        self.assertIn("from-file", etcdctl("member", "list", endpoint=self.url).stdout)
        self.assertIn("loaded server configuration", e.text())

    def test_defaults(self):
        """The directory is named after the member; several URLs are advertised."""
        two = "%s,http://localhost:%d" % (self.url, self.port)
        self.start("--name", "m1", "--listen-client-urls", self.url,
                   "--advertise-client-urls", two, "--listen-peer-urls", self.peer_url,
                   "--initial-advertise-peer-urls", self.peer_url,
                   "--initial-cluster", "m1=" + self.peer_url, cwd=self.folder).serving()
        self.assertTrue(os.path.isdir(self.path("m1.etcd")))
        found = json.loads(etcdctl("member", "list", "-w", "json", endpoint=self.url).stdout)
        self.assertEqual(sorted(found["members"][0]["clientURLs"]), sorted(two.split(",")))

    def test_refused(self):
        self.assertIn("advertise-client-urls is required",
                      self.refused("--listen-client-urls", self.url))
        self.assertIn("no-such-flag", self.refused("--no-such-flag=1"))
        self.assertIn("m9", self.refused("--name", "m9",
                                         "--initial-cluster", "m1=" + self.peer_url))
        self.assertIn("missing" if ETCD else "must be the same",
                      self.refused("--name", "m1", "--initial-cluster", "m1=" + self.peer_url,
                                   "--initial-advertise-peer-urls", "http://127.0.0.1:1"))
        self.assertIn("not a valid flag", self.refused("word"))
        self.assertIn("snapshot-count", self.refused("--snapshot-count=many"))

    @confman_only
    def test_refused_with_a_reason(self):
        for flags, why in ((["--wal-dir=/x"], "mount the faster disk"),
                           (["--discovery=http://x"], "initial-cluster"),
                           (["--force-new-cluster"], "snapshot restore"),
                           (["--enable-v2=true"], "v2 API"),
                           (["--max-txn-ops=1000"], "128"),
                           (["--initial-cluster-state=old"], "new or existing"),
                           (["--listen-client-urls=tcp://x:1",
                             "--advertise-client-urls=" + self.url], "is not http://"),
                           (["--data-dri=x"], "did you mean --data-dir"),
                           (["--tls-min-version=TLS1.0", "--auto-tls"], "TLS1.2 and TLS1.3"),
                           (["--auto-compaction-retention=soon"], "12h")):
            with self.subTest(flags):
                self.assertIn(why, self.refused(*flags))
        e = self.start(*self.flags("--enable-v2=false", "--proxy=off", "--experimental-"
                                   "watch-progress-notify-interval=5s")).serving()
        self.assertNotIn("experimental", e.text())

    @confman_only
    def test_directory_of_etcd(self):
        """Nobody starts empty beside the data that he believes to serve."""
        os.makedirs(self.path("data/member/wal"))
        self.assertIn("etcd's own", self.refused(*self.flags()))
        self.assertEqual(os.listdir(self.path("data")), ["member"])

    @confman_only
    def test_called_etcd(self):
        """A link of that name is enough; whoever started us is told when we serve."""
        os.symlink(confman_bin(), self.path("etcd"))
        said = run(self.path("etcd"), "--version").stdout.decode()
        self.assertRegex(said, r"^etcd Version: 3\.\d+\.\d+\n")
        self.assertIn("--listen-client-urls", run(self.path("etcd"), "--help").stdout.decode())
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(self.path("notify"))
            notify.settimeout(20)
            e = self.start(*self.flags(), name=self.path("etcd"),
                           env={"NOTIFY_SOCKET": self.path("notify")})
            self.assertEqual(notify.recv(100), b"READY=1")
            self.works(self.url)
            self.assertEqual(e.stop(), 0)
            self.assertEqual(notify.recv(100), b"STOPPING=1")

    def test_lines(self):
        e = self.start(*self.flags()).serving()
        line = e.wait_for("published local member to cluster through raft")
        self.assertTrue(line["level"] == "info" and line["caller"] and line["ts"].endswith("Z"))
        self.assertIn("local-member-id", line)
        self.assertIn("cluster-version", e.wait_for("enabled capabilities for version"))
        if not ETCD:
            self.assertTrue(all(line.startswith("{") for line in e.lines))

    @confman_only
    def test_log_to_files(self):
        e = self.start(*self.flags("--log-outputs", "stderr,%s" % self.path("log"),
                                   "--log-level=warn"))
        wait_until(lambda: etcdctl("endpoint", "health", endpoint=self.url,
                                   check=False).returncode == 0, 20, "it serves")
        self.assertEqual(e.lines, [])
        self.assertTrue(os.path.exists(self.path("log")))
        e.stop()
        e = self.start(*self.flags("--log-outputs=" + self.path("log"), "--log-format=console"))

        def said():
            with open(self.path("log"), encoding="utf-8") as f:
                return READY in f.read()
        wait_until(said, 20, "the line")

    def test_compacts_by_itself(self):
        if ETCD:
            self.skipTest("etcd looks every five minutes")
        self.start(*self.flags("--auto-compaction-mode=revision",
                               "--auto-compaction-retention=10")).serving()
        for i in range(15):
            etcdctl("put", "k", str(i), endpoint=self.url)

        def compacted():
            old = etcdctl("get", "k", "--rev=3", endpoint=self.url, check=False)
            return "has been compacted" in old.stderr
        wait_until(compacted, 10, "the past is gone")
        etcdctl("get", "k", "--rev=7", endpoint=self.url)   # the last ten are there

    @confman_only
    def test_compacts_after_a_time(self):
        self.start(*self.flags("--auto-compaction-retention=1s")).serving()
        etcdctl("put", "k", "1", endpoint=self.url)
        etcdctl("put", "k", "2", endpoint=self.url)

        def compacted():
            old = etcdctl("get", "k", "--rev=2", endpoint=self.url, check=False)
            return "has been compacted" in old.stderr
        wait_until(compacted, 10, "the past is gone")
        self.assertEqual(etcdctl("get", "k", "--print-value-only", endpoint=self.url).stdout, "2\n")


class ListenTest(StartTest):
    @confman_only
    def test_unix_socket_beside_http(self):
        sock = self.path("s.sock")
        e = self.start(*self.flags(client="%s,unix://%s" % (self.url, sock)))
        e.serving()
        self.works("unix://" + sock)
        self.works(self.url)
        got = run(confman_bin(), "get", "k", "--endpoint", "unix:" + sock).stdout
        self.assertIn(b"v", got)
        body = run("curl", "-s", "--unix-socket", sock, "http://x/health").stdout
        self.assertEqual(json.loads(body)["health"], "true")
        run("curl", "-s", "--http2-prior-knowledge", "--unix-socket", sock, "http://x/health")
        e.process.kill()
        e.process.wait()
        self.assertTrue(os.path.exists(sock))
        e = self.start(*self.flags(client="%s,unix://%s" % (self.url, sock))).serving()
        self.works("unix://" + sock)    # what the dead one left was taken over
        e.stop()
        self.assertFalse(os.path.exists(sock))

    def test_metrics_apart(self):
        port = free_port()
        self.start(*self.flags("--listen-metrics-urls", "http://127.0.0.1:%d" % port)).serving()
        self.assertIn(b"etcd_server_has_leader", get(port, "/metrics")[1])
        self.assertEqual(json.loads(get(port, "/health")[1])["health"], "true")
        self.assertEqual(get(port, "/v3/kv/range")[0], 404)
        self.assertIn("no gRPC at this address" if not ETCD else "",
                      etcdctl("get", "x", "--command-timeout=2s", endpoint="127.0.0.1:%d" % port,
                              check=False).stderr)

    @confman_only
    def test_http_apart(self):
        port = free_port()
        self.start(*self.flags("--listen-client-http-urls",
                               "http://127.0.0.1:%d" % port)).serving()
        self.assertEqual(get(port, "/v1/config")[0], 200)
        self.assertEqual(get(self.port, "/v1/config")[0], 404)
        self.works(self.url)
        self.assertIn("no gRPC at this address",
                      etcdctl("get", "x", "--command-timeout=2s", endpoint="127.0.0.1:%d" % port,
                              check=False).stderr)


class TlsTest(StartTest):
    @classmethod
    def setUpClass(cls):
        cls.keys = tempfile.mkdtemp(prefix="confman-keys-")
        cls.authority = Authority(cls.keys)
        cls.server = cls.authority.issue("server")
        cls.alice = cls.authority.issue("alice")
        cls.bob = cls.authority.issue("bob")

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.keys, ignore_errors=True)

    def setUp(self):
        super().setUp()
        self.url = "https://127.0.0.1:%d" % self.port

    def secure(self, *more):
        return self.flags("--cert-file", self.server[0], "--key-file", self.server[1],
                          "--trusted-ca-file", self.authority.ca, "--client-cert-auth", *more)

    def let_in(self, who):
        context = ssl.create_default_context(cafile=self.authority.ca)
        if who:
            context.load_cert_chain(*who)
        try:
            return get(self.port, "/health", http.client.HTTPSConnection, context=context)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    def test_client_certificates(self):
        self.start(*self.secure()).serving()
        self.assertTrue(self.let_in(self.alice))
        self.assertFalse(self.let_in(None))
        self.works(self.url, "--cacert", self.authority.ca, "--cert", self.alice[0], "--key",
                   self.alice[1])

    def test_revoked(self):
        """And read again when the list changes, without a restart (etcd: at every handshake)."""
        crl = self.path("crl.pem")
        self.authority.revoke(self.alice[0], out=crl)
        self.start(*self.secure("--client-crl-file", crl)).serving()
        self.assertTrue(self.let_in(self.bob))
        self.assertFalse(self.let_in(self.alice))
        if ETCD:
            return
        carol = self.authority.issue("carol")
        self.assertTrue(self.let_in(carol))
        self.authority.revoke(carol[0], out=crl)
        wait_until(lambda: not self.let_in(carol), 10, "the list was read again")
        self.assertTrue(self.let_in(self.bob))

    @confman_only
    def test_allowed_names(self):
        self.start(*self.secure("--client-cert-allowed-cn", "alice,x")).serving()
        self.assertTrue(self.let_in(self.alice))
        self.assertFalse(self.let_in(self.bob))

    def test_allowed_hosts(self):
        if ETCD:
            self.skipTest("not in 3.4")
        away = self.authority.issue("away", san="DNS:away.example")
        self.start(*self.secure("--client-cert-allowed-hostname", "away.example")).serving()
        self.assertTrue(self.let_in(away))
        self.assertFalse(self.let_in(self.alice))

    def served(self):
        c = ssl.create_default_context(cafile=self.authority.ca)
        c.load_cert_chain(*self.alice)
        with socket.create_connection(("127.0.0.1", self.port), 10) as raw, \
                c.wrap_socket(raw, server_hostname="localhost") as s:
            return s.getpeercert()["serialNumber"], s.version(), s.cipher()[0]

    def test_changed_certificate(self):
        mine = (self.path("cert.pem"), self.path("key.pem"))
        self.authority.issue("first", into=mine)
        self.start(*self.flags("--cert-file", mine[0], "--key-file", mine[1])).serving()
        before = self.served()[0]
        self.authority.issue("second", into=mine)
        wait_until(lambda: self.served()[0] != before, 10, "the new certificate is shown")
        if not ETCD:
            with open(mine[0], "w", encoding="ascii") as f:
                f.write("nonsense")
            after = self.served()[0]
            metrics = ssl.create_default_context(cafile=self.authority.ca)

            def told():
                return get(self.port, "/metrics", http.client.HTTPSConnection, context=metrics)[1]
            wait_until(lambda: b"confman_tls_reload_errors_total 1" in told(), 10,
                       "the change was refused")
            end = re.search(rb"^confman_certificate_end_seconds (\S+)$", told(), re.M)
            self.assertGreater(float(end[1]), time.time())
            self.assertEqual(self.served()[0], after)

    @confman_only
    def test_versions_and_ciphers(self):
        e = self.start(*self.secure("--tls-max-version=TLS1.2", "--cipher-suites",
                                    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")).serving()
        self.assertEqual(self.served()[1:], ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"))
        e.stop()
        self.start(*self.secure("--tls-min-version=TLS1.3")).serving()
        self.assertEqual(self.served()[1], "TLSv1.3")

    def test_auto_tls(self):
        self.start(*self.flags("--auto-tls")).serving()
        made = self.path("data/fixtures/client/" + ("key.pem" if ETCD else "cert.pem"))
        self.assertTrue(os.path.exists(made))
        self.works(self.url, "--insecure-skip-tls-verify", "--insecure-transport=false")
        if not ETCD:
            self.assertEqual(os.stat(self.path("data/fixtures/client/key.pem")).st_mode & 0o77, 0)
            self.works(self.url, "--cacert", made)
            for trust in (("--cacert", made), ("--insecure-skip-tls-verify",)):
                got = run(confman_bin(), "get", "k", "--endpoint", self.url, *trust).stdout
                self.assertIn(b"v", got)

    @confman_only
    def test_handshake_that_hangs(self):
        """GHSA-6vch-q96h-7gc3: it is cut off, and meanwhile others are served."""
        self.start(*self.secure(), env={"CONFMAN_HEAD_TIMEOUT_MS": "300"}).serving()
        with socket.create_connection(("127.0.0.1", self.port), 10) as silent:
            silent.sendall(b"\x16\x03\x01\x02\x00\x01")
            self.assertTrue(self.let_in(self.alice))
            silent.settimeout(10)
            self.assertEqual(silent.recv(100), b"")

    def test_http_and_https_side_by_side(self):
        plain = "http://127.0.0.1:%d" % free_port()
        self.start(*self.secure()[:-1], "--listen-client-urls", "%s,%s" % (self.url, plain),
                   "--client-cert-auth").serving()
        self.assertTrue(self.let_in(self.alice))
        self.assertFalse(self.let_in(None))
        self.works(plain)


class ClusterTest(StartTest):
    """Three members as etcd's documentation starts them (op-guide/clustering, static)."""

    def member(self, name, urls, peers, *more, state="new"):
        return self.start("--name", name, "--data-dir", self.path(name),
                          "--initial-advertise-peer-urls", peers[name],
                          "--listen-peer-urls", peers[name],
                          "--listen-client-urls", urls[name],
                          "--advertise-client-urls", urls[name],
                          "--initial-cluster-token", "etcd-cluster-1",
                          "--initial-cluster", ",".join("%s=%s" % p for p in peers.items()),
                          "--initial-cluster-state", state, *more)

    def places(self, scheme="http"):
        names = ("infra0", "infra1", "infra2")
        return ({n: "http://127.0.0.1:%d" % free_port() for n in names},
                {n: "%s://127.0.0.1:%d" % (scheme, free_port()) for n in names})

    def test_static_then_one_more(self):
        urls, peers = self.places()
        all_of_them = [self.member(n, urls, peers) for n in urls]
        for e in all_of_them:
            e.serving()
        self.works(",".join(urls.values()))
        listed = json.loads(etcdctl("member", "list", "-w", "json", endpoint=urls["infra1"]).stdout)
        self.assertEqual(sorted((m["name"], m["peerURLs"], m["clientURLs"])
                                for m in listed["members"]),
                         [(n, [peers[n]], [urls[n]]) for n in sorted(urls)])
        # One more, by what etcdctl prints: variables to start it with.
        peer, url = "http://127.0.0.1:%d" % free_port(), "http://127.0.0.1:%d" % free_port()

        def added():    # etcd wants its members to have been connected for five seconds
            return etcdctl("member", "add", "infra3", "--peer-urls=" + peer,
                           endpoint=urls["infra0"], check=False).stdout
        printed = wait_until(added, 20, "a member is added")
        env = dict(line.split("=", 1) for line in printed.splitlines() if line.startswith("ETCD_"))
        env = {name: value.strip('"') for name, value in env.items()}
        self.assertEqual(env["ETCD_INITIAL_CLUSTER_STATE"], "existing")
        flags = ("--data-dir", self.path("infra3"), "--listen-client-urls", url,
                 "--advertise-client-urls", url, "--listen-peer-urls", peer)
        more = self.start(*flags, env=env).serving()
        self.assertEqual(etcdctl("get", "--print-value-only", "k", endpoint=url).stdout, "v\n")
        # Started again with the flags of the beginning, which are not read any more.
        more.stop()
        self.start(*flags, "--name", "infra3").serving()
        self.works(url)

    def test_peer_auto_tls(self):
        urls, peers = self.places("https")
        for e in [self.member(n, urls, peers, "--peer-auto-tls") for n in urls]:
            e.serving()
        self.works(",".join(urls.values()))

    def test_peer_certificates(self):
        """Only those that the authority has signed, and have the name, are members."""
        folder = tempfile.mkdtemp(prefix="confman-keys-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        authority = Authority(folder)
        good, bad = authority.issue("member"), authority.issue("stranger")
        urls, peers = self.places("https")

        def of(pair):
            return ("--peer-cert-file", pair[0], "--peer-key-file", pair[1],
                    "--peer-trusted-ca-file", authority.ca, "--peer-client-cert-auth",
                    "--peer-cert-allowed-cn=member")
        for name in ("infra0", "infra1"):
            self.member(name, urls, peers, *of(good))
        stranger = self.member("infra2", urls, peers, *of(bad))
        wait_until(lambda: etcdctl("endpoint", "health", endpoint=urls["infra0"],
                                   check=False).returncode == 0, 20, "two of three serve")
        self.works(urls["infra1"])
        self.assertNotIn("published local member", stranger.text())


if __name__ == "__main__":
    main()
