"""A transit for tests: it answers as it is told to, and remembers what it was asked."""
import base64
import json
import os
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

GOOD = "good"


class Transit:
    def __init__(self, certificate=None):
        self.asked = []             # (method, path, headers, body as JSON)
        self.known = {}             # ciphertext: plaintext
        self.mode = GOOD            # or a function of the operation: (status, body); None: silent
        transit = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *unused):
                pass

            def do_GET(self):
                transit.take(self, None)

            def do_POST(self):
                length = int(self.headers.get("content-length") or 0)
                transit.take(self, json.loads(self.rfile.read(length) or b"null"))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *unused: None     # who asks does not trust us
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.url = "%s://127.0.0.1:%d" % ("https" if certificate else "http",
                                          self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def encrypt(self, body):
        sealed = "vault:v1:" + base64.b64encode(os.urandom(60)).decode()
        self.known[sealed] = body["plaintext"]
        return 200, {"data": {"ciphertext": sealed, "key_version": 1}}

    def decrypt(self, body):
        plain = self.known.get(body["ciphertext"])
        if plain is None:
            return 400, {"errors": ["invalid ciphertext: unable to decrypt"]}
        return 200, {"data": {"plaintext": plain}}

    def answer(self, path, body):
        op = path.split("/")[-2] if "crypt/" in path else path.split("/")[-1]
        if self.mode != GOOD:
            return self.mode(op)
        if op == "encrypt":
            return self.encrypt(body)
        if op == "decrypt":
            return self.decrypt(body)
        if op == "login":
            return 200, {"auth": {"client_token": "hvs.of-login", "lease_duration": 60,
                                  "renewable": True}}
        if op == "lookup-self":
            return 200, {"data": {"ttl": 3600, "renewable": True}}
        if op == "renew-self":
            return 200, {"auth": {"lease_duration": 3600, "renewable": True}}
        return 204, None

    def take(self, request, body):
        self.asked.append((request.command, request.path, dict(request.headers.items()), body))
        said = self.answer(request.path, body)
        if said is None:
            request.close_connection = True
            return
        status, content = said
        content = b"" if content is None else (content if isinstance(content, bytes)
                                               else json.dumps(content).encode())
        try:
            request.send_response(status)
            request.send_header("content-length", str(len(content)))
            request.end_headers()
            request.wfile.write(content)
        except OSError:
            pass    # it did not wait
