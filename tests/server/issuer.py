"""An issuer of OpenID Connect for tests: discovery, keys, the code flow with PKCE; and what a bad
or a slow one does. Tokens are signed by python3-jwt and python3-cryptography.

    issuer = Issuer(); issuer.url, issuer.token(sub="ann"), issuer.rotate("two"), issuer.close()
"""
import base64
import hashlib
import json
import secrets
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import RSAAlgorithm


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk_of(kid, key):
    if isinstance(key, rsa.RSAPrivateKey):
        out = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        out.pop("key_ops", None)
        return dict(out, kid=kid, use="sig")
    if isinstance(key, ec.EllipticCurvePrivateKey):
        n = key.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256",
                "x": b64(n.x.to_bytes(32, "big")), "y": b64(n.y.to_bytes(32, "big"))}
    raw = key.public_key().public_bytes(serialization.Encoding.Raw,
                                        serialization.PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": b64(raw)}


class Issuer:
    def __init__(self):
        self.keys = {"one": rsa.generate_private_key(65537, 2048)}
        self.current = "one"
        self.codes = {}     # code -> (challenge, redirect_uri, claims)
        self.gate = threading.Event()   # cleared: no request is answered
        self.gate.set()
        self.waiting = 0
        self.asked = []     # paths
        self.huge = False
        self.claims = {}    # of who logs in next
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *unused):
                pass

            def do_GET(self):
                issuer.answer(self, None)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                issuer.answer(self, dict(urllib.parse.parse_qsl(body)))

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = "http://127.0.0.1:%d/realm" % self.server.server_address[1]
        self.name = self.url
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    def rotate(self, kid, key=None):
        self.keys = {kid: key or rsa.generate_private_key(65537, 2048)}
        self.current = kid

    def count(self, end):
        return sum(path.endswith(end) for path in self.asked)

    # ---- tokens ----

    def all_claims(self, claims):
        now = int(time.time())
        out = {"iss": self.name, "aud": "confman", "sub": "ann", "iat": now, "exp": now + 300}
        out.update(claims)
        return {k: v for k, v in out.items() if v is not None}

    def token(self, kid=None, alg="RS256", key=None, headers=None, **claims):
        kid = kid or self.current
        heads = {"kid": kid} if headers is None else headers
        return jwt.encode(self.all_claims(claims), key or self.keys[kid], alg, headers=heads)

    def by_hand(self, head, sign=lambda data: b"", **claims):
        data = "%s.%s" % (b64(json.dumps(head).encode()),
                          b64(json.dumps(self.all_claims(claims)).encode()))
        return "%s.%s" % (data, b64(sign(data.encode())))

    # ---- answers ----

    def answer(self, request, form):
        path, _, query = request.path.partition("?")
        self.asked.append(path)
        self.waiting += 1
        self.gate.wait(60)
        self.waiting -= 1
        query = dict(urllib.parse.parse_qsl(query))
        status, headers, body = 404, {}, {}
        if path.endswith("/.well-known/openid-configuration"):
            status, body = 200, {"issuer": self.name, "jwks_uri": self.url + "/keys",
                                 "authorization_endpoint": self.url + "/authorize?x=1",
                                 "token_endpoint": self.url + "/token"}
        elif path.endswith("/keys"):
            status = 200
            body = {"keys": [jwk_of(*item) for item in self.keys.items()] +
                    [{"kty": "oct", "kid": "s", "k": b64(b"shared")}]}
            if self.huge:
                body["more"] = "x" * (300 << 10)
        elif path.endswith("/authorize"):
            code = secrets.token_urlsafe(16)
            assert query["response_type"] == "code" and query["code_challenge_method"] == "S256"
            self.codes[code] = (query["code_challenge"], query["redirect_uri"],
                                dict(self.claims, nonce=query["nonce"], aud=query["client_id"]))
            back = {"code": code, "state": query["state"]}
            status, headers = 302, {"location": query["redirect_uri"] + "?" +
                                    urllib.parse.urlencode(back)}
        elif path.endswith("/token"):
            status, body = self.exchange(form)
        self.send(request, status, headers, json.dumps(body).encode())

    def exchange(self, form):
        challenge, redirect, claims = self.codes.pop(form.get("code"), (None, None, None))
        proof = b64(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if challenge != proof or redirect != form.get("redirect_uri"):
            return 400, {"error": "invalid_grant"}
        return 200, {"id_token": self.token(**claims), "access_token": "x",
                     "token_type": "Bearer"}

    @staticmethod
    def send(request, status, headers, body):
        try:
            request.send_response(status)
            for name, value in dict(headers, **{"content-type": "application/json",
                                                "content-length": str(len(body))}).items():
                request.send_header(name, value)
            request.end_headers()
            request.wfile.write(body)
        except OSError:
            pass    # it did not wait


def other_keys():
    return {"ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate()}
