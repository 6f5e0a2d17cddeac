"""TLS with ALPN on the one port: curl by both HTTP versions, etcdctl, python3-etcd3."""
import os
import socket
import ssl
import subprocess

import etcd3

from node import ServerTest, confman_bin, confman_only, main, target
from web import curl


class TlsTest(ServerTest):
    tls = True

    def get(self, *args):
        path = "/health" if target() == "etcd" else "/health/ready"
        return curl(self.node.url + path, "--cacert", self.node.cert, *args)

    @confman_only
    def test_files_that_cannot_be_used(self):
        for cert, why in (("/nowhere.pem", "No such file or directory"),
                          (__file__, "no start line")):
            done = subprocess.run(
                [confman_bin(), "server", "--data-dir", os.path.join(self.node.folder, "none"),
                 "--listen", "127.0.0.1:0", "--cert-file", cert, "--key-file", cert],
                capture_output=True, text=True, timeout=20)
            self.assertEqual(done.returncode, 1)
            self.assertIn("certificate %s: %s" % (cert, why), done.stderr)

    def test_alpn(self):
        for flag, version in (("--http1.1", "1.1"), ("--http2", "2")):
            answer = self.get(flag)
            self.assertEqual((answer.status, answer.version), (200, version))

    def negotiated(self, **versions):
        context = ssl.create_default_context(cafile=self.node.cert)
        context.set_alpn_protocols(["h2", "http/1.1"])
        for name, value in versions.items():
            setattr(context, name, value)
        with socket.create_connection(("127.0.0.1", self.node.port), 10) as raw:
            with context.wrap_socket(raw, server_hostname="localhost") as s:
                return s.selected_alpn_protocol(), s.version()

    def test_versions(self):
        self.assertEqual(self.negotiated(), ("h2", "TLSv1.3"))
        self.assertEqual(self.negotiated(maximum_version=ssl.TLSVersion.TLSv1_2),
                         ("h2", "TLSv1.2"))
        if target() == "confman":   # Debian's etcd still takes it
            old = subprocess.run(["openssl", "s_client", "-connect", self.node.endpoint,
                                  "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"],
                                 stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
            self.assertNotEqual(old.returncode, 0)

    def test_plain_text_is_refused(self):
        with socket.create_connection(("127.0.0.1", self.node.port), 10) as s:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            s.settimeout(10)
            answer = s.recv(4096)
        self.assertNotIn(b" 200 ", answer[:20])

    def test_wrong_authority(self):
        with self.assertRaises(subprocess.CalledProcessError):
            curl(self.node.url + "/health")

    def test_half_a_handshake(self):
        """A client that never finishes does not keep others out."""
        silent = [socket.create_connection(("127.0.0.1", self.node.port)) for _ in range(20)]
        for s in silent:
            s.sendall(b"\x16\x03\x01\x02\x00\x01")
        self.assertEqual(self.get().status, 200)
        for s in silent:
            s.close()

    def test_etcdctl(self):
        def ctl(*args):
            return subprocess.run(
                ["etcdctl", "--endpoints", self.node.url, "--cacert", self.node.cert, *args],
                env=dict(os.environ, ETCDCTL_API="3"), check=True, capture_output=True, text=True,
                timeout=20).stdout
        self.assertEqual(ctl("put", self.name("k"), "v"), "OK\n")
        self.assertEqual(ctl("get", "--print-value-only", self.name("k")), "v\n")
        self.assertIn("version", ctl("endpoint", "status", "-w", "json"))

    def test_python(self):
        client = etcd3.client(host="127.0.0.1", port=self.node.port, ca_cert=self.node.cert,
                              timeout=10)
        client.put(self.name("k"), b"x" * 1_000_000)
        self.assertEqual(len(client.get(self.name("k"))[0]), 1_000_000)


if __name__ == "__main__":
    main()
