"""Who may do what: every RPC of the contract, asked by nobody, by a user with another role, by one
with the right role, and by one whose role is taken while its call or stream is open. Prints the
table.

Against etcd (--target etcd) what it does otherwise than the newest API is listed in ETCD_34.
"""
import contextlib
import itertools
import json
import os
import queue
import subprocess
import unittest
import urllib.error
import urllib.request

import grpc

from etcd_api import pb
from node import Node, ServerTest, confman_only, main, target

SECONDS = 10
PASSWORD = "pass word/\u00e4"
NOBODY, DENIED, OK = "unknown", "denied", "ok"
KINDS = {"unary": "unary_unary", "stream": "unary_stream", "both": "stream_stream"}
REFUSALS = (("user name is empty", NOBODY), ("permission denied", DENIED),
            ("invalid auth token", "token"), ("revision of auth store is old", "old"))

# What Debian's etcd 3.4.23 answers where the newest etcd, and confman, are stricter, or looser
# (AuthStatus). Rows that it does not have at all are passed over.
ANYBODY = {"nobody": OK, "wrong": OK, "revoked": OK}
ETCD_34 = {
    "LeaseGrant": {"nobody": OK}, "LeaseTimeToLive": ANYBODY, "LeaseLeases": ANYBODY,
    "LeaseKeepAlive": ANYBODY, "MemberList": {"nobody": OK}, "Status": {"nobody": OK},
    "AlarmGet": {"nobody": OK}, "AlarmOff": ANYBODY, "Compact": ANYBODY, "MoveLeader": ANYBODY,
    "MemberAdd": ANYBODY,       # of every version: it reads the addresses first
    "Watch": {"revoked": OK},
    "Observe": {"nobody": "ended", "wrong": "ended", "revoked": "ended"},   # and does not say why
}


def number(field, value):
    return bytes([field << 3, value])


def text(field, value):
    value = value if isinstance(value, bytes) else value.encode()
    return bytes([field << 3 | 2, len(value)]) + value


def outcome(error):
    """What a refused call was refused for; OK: not for who asked."""
    if error.code() == grpc.StatusCode.UNIMPLEMENTED:
        return "not built"
    return next((name for words, name in REFUSALS if words in (error.details() or "")), OK)


class Caller:
    """Messages as bytes in both directions: also of services that our .proto does not have."""

    def __init__(self, endpoint):
        self.channel = grpc.insecure_channel(endpoint, options=[
            ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)])

    def call(self, path, kind="unary"):
        return getattr(self.channel, KINDS[kind])(path, lambda m: m, lambda m: m)

    def auth(self, method, request, token=None):
        """A call of the service Auth, with its own messages."""
        answer = self.call("/etcdserverpb.Auth/" + method)(
            request.SerializeToString(), timeout=SECONDS, metadata=proof(token))
        name = method if method.startswith("Auth") else "Auth" + method
        return getattr(pb, name + "Response").FromString(answer)

    def login(self, user):
        return self.auth("Authenticate", pb.AuthenticateRequest(name=user, password=PASSWORD)).token


def proof(token):
    return [("token", token)] if token else []


READ_WRITE = pb.Permission(permType=2, key=b"m/", range_end=b"m0")


class Users:
    """root; right may m/; wrong may n/; admin has root's role. All with the same password."""

    def __init__(self, endpoint):
        self.led = set()
        self.caller = c = Caller(endpoint)
        for user in ("root", "right", "wrong", "admin"):
            c.auth("UserAdd", pb.AuthUserAddRequest(name=user, password=PASSWORD))
        for role in ("root", "right", "wrong"):
            c.auth("RoleAdd", pb.AuthRoleAddRequest(name=role))
        for user, role in (("root", "root"), ("admin", "root"), ("right", "right"),
                           ("wrong", "wrong")):
            c.auth("UserGrantRole", pb.AuthUserGrantRoleRequest(user=user, role=role))
        c.auth("RoleGrantPermission",
               pb.AuthRoleGrantPermissionRequest(name="right", perm=READ_WRITE))
        c.auth("RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(
            name="wrong", perm=pb.Permission(permType=2, key=b"n/", range_end=b"n0")))
        self.enable()

    def enable(self):
        self.caller.auth("AuthEnable", pb.AuthEnableRequest())
        self.tokens = {u: self.caller.login(u) for u in ("root", "right", "wrong", "admin")}

    @contextlib.contextmanager
    def taken(self, user):
        """The user has lost what it may."""
        root = self.tokens["root"]
        role = "root" if user == "admin" else "right"
        self.caller.auth("UserRevokeRole", pb.AuthUserRevokeRoleRequest(name=user, role=role), root)
        yield
        self.caller.auth("UserGrantRole", pb.AuthUserGrantRoleRequest(user=user, role=role), root)


class Row:
    def __init__(self, name, path, request, user, kind="unary", nobody=NOBODY, wrong=DENIED,
                 revoked=DENIED):
        self.name, self.path, self.request, self.user, self.kind = name, path, request, user, kind
        self.want = {"nobody": nobody, "wrong": wrong, "right": OK, "revoked": revoked}
        if target() == "etcd":
            self.want.update(ETCD_34.get(name, {}))


ids = itertools.count(1)


def leased(users):
    """A lease that hangs on a key of its own below m/."""
    lease, key = 1000000 + next(ids), b"m/leased%d" % next(ids)
    token = users.tokens["root"]
    c = users.caller
    c.call("/etcdserverpb.Lease/LeaseGrant")(
        pb.LeaseGrantRequest(ID=lease, TTL=600).SerializeToString(), metadata=proof(token))
    c.call("/etcdserverpb.KV/Put")(
        pb.PutRequest(key=key, lease=lease).SerializeToString(), metadata=proof(token))
    return lease


def elected(users, name):
    """root leads m/NAME; the key that says so."""
    try:
        answer = users.caller.call("/v3electionpb.Election/Campaign")(
            text(1, "m/" + name) + text(3, "v"), timeout=SECONDS,
            metadata=proof(users.tokens["root"]))
    except grpc.RpcError:
        return b""      # not built
    return leader_key(answer)


def led(users, name):
    """m/NAME, which root leads. Only once: whoever stands too waits for the first to go."""
    if name not in users.led:
        users.led.add(name)
        elected(users, name)
    return text(1, "m/" + name)


def leader_key(answer):
    """The field 2, leader, of a CampaignResponse."""
    at = 0
    while at < len(answer):
        tag, size = answer[at], answer[at + 1]
        if tag == 2 << 3 | 2:
            return answer[at + 2:at + 2 + size]
        at += 2 + size
    return b""


def fresh(prefix):
    return "%s%d" % (prefix, next(ids))


def whole(message):
    return lambda users: message.SerializeToString()


def kv(name, request, kind="unary"):
    return Row(name, "/etcdserverpb.KV/" + name, whole(request), "right", kind)


def root_only(service, name, request, path=None, kind="unary"):
    return Row(name, "/etcdserverpb.%s/%s" % (service, path or name),
               request if callable(request) else lambda users: request, "admin", kind)


def auth(name, request):
    return root_only("Auth", name, lambda users: request().SerializeToString())


TXN = pb.TxnRequest(
    compare=[pb.Compare(key=b"m/a", target=0, version=9)],
    success=[pb.RequestOp(request_put=pb.PutRequest(key=b"m/a", prev_kv=True))],
    failure=[pb.RequestOp(request_txn=pb.TxnRequest(
        success=[pb.RequestOp(request_range=pb.RangeRequest(key=b"m/a"))]))])

ROWS = [
    kv("Range", pb.RangeRequest(key=b"m/a")),
    kv("RangeStream", pb.RangeRequest(key=b"m/", range_end=b"m0"), "stream"),
    kv("Put", pb.PutRequest(key=b"m/a", value=b"1", prev_kv=True)),
    kv("DeleteRange", pb.DeleteRangeRequest(key=b"m/d", range_end=b"m/e", prev_kv=True)),
    kv("Txn", TXN),
    root_only("KV", "Compact", number(1, 1)),
    Row("Watch", "/etcdserverpb.Watch/Watch", None, "right", "both"),
    Row("LeaseGrant", "/etcdserverpb.Lease/LeaseGrant", whole(pb.LeaseGrantRequest(TTL=60)),
        "right", wrong=OK, revoked=OK),
    Row("LeaseRevoke", "/etcdserverpb.Lease/LeaseRevoke",
        lambda u: pb.LeaseRevokeRequest(ID=leased(u)).SerializeToString(), "right"),
    Row("LeaseKeepAlive", "/etcdserverpb.Lease/LeaseKeepAlive", None, "right", "both"),
    Row("LeaseTimeToLive", "/etcdserverpb.Lease/LeaseTimeToLive",
        lambda u: pb.LeaseTimeToLiveRequest(ID=leased(u), keys=True).SerializeToString(), "right"),
    Row("LeaseLeases", "/etcdserverpb.Lease/LeaseLeases",
        lambda u: (leased(u), b"")[1], "right"),
    Row("MemberList", "/etcdserverpb.Cluster/MemberList", lambda u: b"", "right", wrong=OK,
        revoked=OK),
    root_only("Cluster", "MemberAdd", text(1, "no address")),
    root_only("Cluster", "MemberRemove", number(1, 1)),
    root_only("Cluster", "MemberUpdate", number(1, 1) + text(2, "http://127.0.0.1:1")),
    root_only("Cluster", "MemberPromote", number(1, 1)),
    Row("AlarmGet", "/etcdserverpb.Maintenance/Alarm", lambda u: b"", "right", wrong=OK,
        revoked=OK),
    root_only("Maintenance", "AlarmOff", number(1, 2) + number(3, 1), "Alarm"),
    Row("Status", "/etcdserverpb.Maintenance/Status", lambda u: b"", "right", wrong=OK, revoked=OK),
    root_only("Maintenance", "Defragment", b""),
    root_only("Maintenance", "Hash", b""),
    root_only("Maintenance", "HashKV", b""),
    root_only("Maintenance", "Snapshot", b"", kind="stream"),
    root_only("Maintenance", "MoveLeader", number(1, 1)),
    root_only("Maintenance", "Downgrade", text(2, "3.5.0")),
    auth("AuthEnable", pb.AuthEnableRequest),
    Row("AuthStatus", "/etcdserverpb.Auth/AuthStatus", lambda u: b"", "right", nobody=OK, wrong=OK,
        revoked=OK),
    Row("Authenticate", "/etcdserverpb.Auth/Authenticate",
        whole(pb.AuthenticateRequest(name="right", password=PASSWORD)), "right", nobody=OK,
        wrong=OK, revoked=OK),
    auth("UserAdd", lambda: pb.AuthUserAddRequest(name=fresh("u"), password="x")),
    auth("UserGet", lambda: pb.AuthUserGetRequest(name="root")),
    auth("UserList", pb.AuthUserListRequest),
    auth("UserDelete", lambda: pb.AuthUserDeleteRequest(name="nobody here")),
    auth("UserChangePassword",
         lambda: pb.AuthUserChangePasswordRequest(name="nobody here", password="x")),
    auth("UserGrantRole", lambda: pb.AuthUserGrantRoleRequest(user="wrong", role="none")),
    auth("UserRevokeRole", lambda: pb.AuthUserRevokeRoleRequest(name="wrong", role="none")),
    auth("RoleAdd", lambda: pb.AuthRoleAddRequest(name=fresh("r"))),
    auth("RoleGet", lambda: pb.AuthRoleGetRequest(role="right")),
    auth("RoleList", pb.AuthRoleListRequest),
    auth("RoleDelete", lambda: pb.AuthRoleDeleteRequest(role="none")),
    auth("RoleGrantPermission",
         lambda: pb.AuthRoleGrantPermissionRequest(name="none", perm=READ_WRITE)),
    auth("RoleRevokePermission",
         lambda: pb.AuthRoleRevokePermissionRequest(role="none", key=b"k")),
    Row("Lock", "/v3lockpb.Lock/Lock", lambda u: text(1, "m/" + fresh("lock")), "right"),
    Row("Unlock", "/v3lockpb.Lock/Unlock", lambda u: text(1, "m/lock/none"), "right"),
    Row("Campaign", "/v3electionpb.Election/Campaign",
        lambda u: text(1, "m/" + fresh("campaign")) + text(3, "v"), "right"),
    Row("Proclaim", "/v3electionpb.Election/Proclaim",
        lambda u: text(1, elected(u, fresh("proclaim"))) + text(2, "w"), "right"),
    Row("Leader", "/v3electionpb.Election/Leader", lambda u: text(1, "m/none"), "right"),
    Row("Observe", "/v3electionpb.Election/Observe",
        lambda u: led(u, "observe"), "right", "stream"),
    Row("Resign", "/v3electionpb.Election/Resign",
        lambda u: text(1, elected(u, fresh("resign"))), "right"),
    Row("Check", "/grpc.health.v1.Health/Check", lambda u: b"", "right", nobody=OK, wrong=OK,
        revoked=OK),
    # The last: it takes everybody's tokens.
    root_only("Auth", "AuthDisable", b""),
]


class Open:
    """A stream in both directions that stays open: what is sent, and what comes."""

    def __init__(self, users, row, token):
        self.lease = leased(users)
        self.outgoing = queue.Queue()
        self.row = row
        self.answers = users.caller.call(row.path, "both")(
            iter(self.outgoing.get, None), timeout=SECONDS, metadata=proof(token))

    def message(self):
        if self.row.name == "Watch":
            return pb.WatchRequest(create_request=pb.WatchCreateRequest(
                key=b"m/", range_end=b"m0")).SerializeToString()
        return pb.LeaseKeepAliveRequest(ID=self.lease).SerializeToString()

    def next(self):
        """What the next answer says."""
        try:
            answer = next(self.answers)
        except grpc.RpcError as e:
            return outcome(e)
        if self.row.name != "Watch":
            return OK
        watch = pb.WatchResponse.FromString(answer)
        if not watch.canceled:
            return OK
        return next((n for words, n in REFUSALS if words in watch.cancel_reason), "canceled")

    def ask(self):
        self.outgoing.put(self.message())
        return self.next()

    def close(self):
        self.outgoing.put(None)
        self.answers.cancel()


class Matrix(ServerTest):
    args = ("--bcrypt-cost", "4")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        try:
            cls.users = Users(cls.node.endpoint)
        except BaseException:
            cls.node.close()
            raise
        cls.table = []

    @classmethod
    def tearDownClass(cls):
        columns = ("nobody", "wrong", "right", "revoked")
        print("%-22s %-11s %-11s %-11s %s" % ("", "no token", "wrong role", "right role",
                                              "revoked while open"))
        for name, got in cls.table:
            print("%-22s " % name + " ".join("%-11s" % got.get(c, "") for c in columns))
        cls.users.caller.channel.close()
        super().tearDownClass()

    def ask(self, row, token):
        request = row.request(self.users)
        call = self.users.caller.call(row.path, row.kind)
        try:
            answer = call(request, timeout=SECONDS, metadata=proof(token))
            if row.kind == "stream":
                next(answer)
                answer.cancel()
        except grpc.RpcError as e:
            return outcome(e)
        except StopIteration:
            return "ended"
        return OK

    def open_row(self, row):
        """A stream: nobody and wrong are refused; right goes on until its role is taken."""
        got = {}
        for who, token in (("nobody", None), ("wrong", self.users.tokens["wrong"])):
            stream = Open(self.users, row, token)
            got[who] = stream.ask()
            stream.close()
        stream = Open(self.users, row, self.users.tokens["right"])
        got["right"] = stream.ask()
        with self.users.taken("right"):
            # A watch ends by itself; a keep-alive is told when it asks again.
            got["revoked"] = stream.next() if row.name == "Watch" and target() != "etcd" \
                else OK if row.name == "Watch" else stream.ask()
        stream.close()
        return got

    def unary_row(self, row):
        tokens = self.users.tokens
        got = {"nobody": self.ask(row, None), "wrong": self.ask(row, tokens["wrong"])}
        with self.users.taken(row.user):
            got["revoked"] = self.ask(row, tokens[row.user])
        got["right"] = self.ask(row, tokens[row.user])
        return got

    def check(self, row):
        got = self.open_row(row) if row.kind == "both" else self.unary_row(row)
        self.table.append((row.name, got))
        if "not built" in got.values():
            self.assertEqual(target(), "etcd", "%s is not built" % row.name)
            self.skipTest("not built")
        self.assertEqual(got, row.want)
        if row.name == "AuthDisable":
            self.users.enable()


for place, one in enumerate(ROWS):
    setattr(Matrix, "test_%02d_%s" % (place, one.name), lambda self, row=one: self.check(row))


@confman_only
class Rest(ServerTest):
    """The native door asks the same rules: a config is the key confman/config/default/..."""
    args = ("--bcrypt-cost", "4")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.users = Users(cls.node.endpoint)
        cls.users.caller.auth(
            "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(
                name="right", perm=pb.Permission(permType=2, key=b"confman/config/default/mine/",
                                                 range_end=b"confman/config/default/mine0")),
            cls.users.tokens["root"])

    @classmethod
    def tearDownClass(cls):
        cls.users.caller.channel.close()
        super().tearDownClass()

    def ask(self, method, path, user=None, body=None):
        """(status, body)"""
        headers = {"content-type": "application/json"}
        if user:
            headers["authorization"] = "Bearer " + self.users.tokens[user]
        request = urllib.request.Request(self.node.url + path, data=body, headers=headers,
                                         method=method)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            with e:
                if e.code == 401:
                    self.assertIn("Bearer", e.headers["www-authenticate"])
                return e.code, json.loads(e.read())["code"]

    def test_configs(self):
        body = b'{"value": 1}'
        self.assertEqual(self.ask("PUT", "/v1/config/mine/a", None, body), (401, "user_empty"))
        self.assertEqual(self.ask("PUT", "/v1/config/mine/a", "wrong", body),
                         (403, "permission_denied"))
        self.assertEqual(self.ask("PUT", "/v1/config/mine/a", "right", body)[0], 201)
        self.assertEqual(self.ask("PUT", "/v1/config/other", "right", body)[0], 403)
        for path in ("/v1/config/mine/a", "/v1/config?prefix=mine/", "/v1/watch?prefix=mine/",
                     "/v1/watch?key=mine/a"):
            self.assertEqual(self.ask("GET", path)[0], 401)
            self.assertEqual(self.ask("GET", path, "wrong")[0], 403)
        for path in ("/v1/config", "/v1/watch?prefix="):
            self.assertEqual(self.ask("GET", path, "right")[0], 403)
        status, answer = self.ask("GET", "/v1/config/mine/a", "right")
        self.assertEqual((status, json.loads(answer)["updated_by"]), (200, "right"))
        self.assertEqual(self.ask("DELETE", "/v1/config/mine/a")[0], 401)
        self.assertEqual(self.ask("DELETE", "/v1/config/mine/a", "wrong")[0], 403)
        self.assertEqual(self.ask("DELETE", "/v1/config/mine/a", "right")[0], 200)

    def test_what_is_no_key(self):
        for path in ("/v1/status", "/v1/cluster"):
            self.assertEqual(self.ask("GET", path)[0], 401)
            self.assertEqual(self.ask("GET", path, "wrong")[0], 200)
        self.assertEqual(self.ask("GET", "/v1/snapshot")[0], 401)
        self.assertEqual(self.ask("GET", "/v1/snapshot", "right")[0], 403)
        self.assertEqual(self.ask("GET", "/v1/snapshot", "root")[0], 200)
        for path in ("/health", "/health/ready", "/metrics", "/version"):
            self.assertEqual(self.ask("GET", path)[0], 200)

    def test_watch_ends_when_the_role_is_taken(self):
        request = urllib.request.Request(
            self.node.url + "/v1/watch?prefix=mine/",
            headers={"authorization": "Bearer " + self.users.tokens["right"]})
        with urllib.request.urlopen(request, timeout=SECONDS) as stream:
            lines = (line.decode().strip() for line in stream)
            self.assertTrue(any(line == "event: ready" for line in lines))
            with self.users.taken("right"):
                self.assertEqual([line for line in lines if line.startswith("event: ")],
                                 ["event: denied"])

    def test_metrics(self):
        def value(name):
            text = self.ask("GET", "/metrics")[1].decode()
            return next(float(line.split()[1]) for line in text.splitlines()
                        if line.startswith(name + " "))
        self.assertEqual(value("confman_auth_enabled"), 1)
        before = value("confman_requests_denied_total")
        self.ask("GET", "/v1/config/mine/x", "wrong")
        self.assertGreater(value("confman_requests_denied_total"), before)
        full = value("confman_auth_full_total")
        with self.assertRaises(grpc.RpcError) as raised:
            self.users.caller.auth("RoleAdd", pb.AuthRoleAddRequest(name="x" * 2000),
                                   self.users.tokens["root"])
        self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertEqual(value("confman_auth_full_total"), full + 1)


class Kept(unittest.TestCase):
    """Users, roles and who is asked survive a stop, a kill and a checkpoint."""

    def test_over_restarts(self):
        args = () if target() == "etcd" else ("--bcrypt-cost", "4")
        with Node(args=args) as node:
            users = Users(node.endpoint)
            for again in (node.stop, node.kill):
                again()
                node.start()
                nobody = users.caller.call("/etcdserverpb.KV/Range")
                with self.assertRaises(grpc.RpcError) as raised:
                    nobody(pb.RangeRequest(key=b"m/a", serializable=True).SerializeToString(),
                           timeout=SECONDS, wait_for_ready=True)
                self.assertIn(outcome(raised.exception), (NOBODY, OK), raised.exception)
                token = users.caller.login("right")
                mine = users.caller.auth("UserGet", pb.AuthUserGetRequest(name="right"), token)
                self.assertEqual(list(mine.roles), ["right"])
            users.caller.channel.close()


class Etcdctl(ServerTest):
    """The same by Debian's etcdctl."""
    args = ("--bcrypt-cost", "4")

    def ctl(self, *args, user=None, ok=True):
        who = ["--user", "%s:%s" % (user, PASSWORD)] if user else []
        done = subprocess.run(
            ["etcdctl", "--endpoints", self.node.endpoint, *who, *args], text=True,
            env=dict(os.environ, ETCDCTL_API="3"), capture_output=True, timeout=30)
        self.assertEqual(done.returncode == 0, ok, done.stderr)
        return (done.stdout if ok else done.stderr).strip()

    def test_all(self):
        for user in ("root", "ann"):
            self.ctl("user", "add", "%s:%s" % (user, PASSWORD))
        self.ctl("user", "add", "cert", "--no-password")
        self.ctl("role", "add", "root")
        self.ctl("role", "add", "reader")
        self.assertIn("root user does not have root role", self.ctl("auth", "enable", ok=False))
        self.ctl("user", "grant-role", "root", "root")
        self.ctl("role", "grant-permission", "reader", "read", "a/", "--prefix")
        self.ctl("role", "grant-permission", "reader", "readwrite", "b/x")
        self.ctl("user", "grant-role", "ann", "reader")
        self.assertEqual(self.ctl("auth", "enable"), "Authentication Enabled")
        self.assertIn("user name is empty", self.ctl("get", "a/1", ok=False))
        self.ctl("put", "a/1", "one", user="root")
        self.assertEqual(self.ctl("get", "a/1", user="ann"), "a/1\none")
        self.assertEqual(self.ctl("get", "a/", "--prefix", "--keys-only", user="ann"), "a/1")
        self.assertIn("permission denied", self.ctl("put", "a/1", "two", user="ann", ok=False))
        self.assertIn("permission denied", self.ctl("get", "a", user="ann", ok=False))
        self.assertIn("permission denied",
                      self.ctl("get", "a/", "--from-key", user="ann", ok=False))
        self.assertEqual(self.ctl("put", "b/x", "1", user="ann"), "OK")
        self.assertEqual(self.ctl("user", "get", "ann", user="ann"), "User: ann\nRoles: reader")
        self.assertEqual(self.ctl("user", "list", user="root"), "ann\ncert\nroot")
        self.assertIn("permission denied", self.ctl("user", "list", user="ann", ok=False))
        self.assertEqual(self.ctl("role", "list", user="root"), "reader\nroot")
        shown = self.ctl("role", "get", "reader", user="ann")
        self.assertIn("[a/, a0) (prefix a/)", shown)
        self.assertIn("b/x", shown)
        self.ctl("role", "revoke-permission", "reader", "b/x", user="root")
        self.assertIn("permission denied", self.ctl("put", "b/x", "2", user="ann", ok=False))
        self.ctl("user", "revoke-role", "ann", "reader", user="root")
        self.assertIn("permission denied", self.ctl("get", "a/1", user="ann", ok=False))
        self.assertIn("invalid auth management",
                      self.ctl("user", "delete", "root", user="root", ok=False))
        self.ctl("user", "delete", "ann", user="root")
        self.assertIn("authentication failed", self.ctl("get", "a/1", user="ann", ok=False))
        self.ctl("role", "delete", "reader", user="root")
        self.assertEqual(self.ctl("auth", "disable", user="root"), "Authentication Disabled")
        self.assertEqual(self.ctl("get", "a/1"), "a/1\none")


if __name__ == "__main__":
    main()
