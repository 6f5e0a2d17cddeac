"""One random row of logins, changes of users and roles, and requests of many users to Debian's etcd
and to confman; every answer and every error compared:

    auth_differ.py [--seed N] [--ops N]

What etcd 3.4 does otherwise on purpose of later versions, or of ours, is in ALLOWED, and counted.
"""
import argparse
import os
import random
import sys
import tempfile
import time

import grpc

from etcd_api import pb
from node import Node

USERS = ["root", "ann", "bob", "eve"]
ROLES = ["root", "reader", "writer"]
KEYS = [b"a", b"a\0", b"b", b"b/1", b"c", b"\xff", b"\0"]
LEASES = [11, 12, 13]
SETUP_EVERY = 150
SECONDS = 10
PATHS = {
    "Range": ("KV/Range", pb.RangeResponse), "Put": ("KV/Put", pb.PutResponse),
    "DeleteRange": ("KV/DeleteRange", pb.DeleteRangeResponse), "Txn": ("KV/Txn", pb.TxnResponse),
    "LeaseGrant": ("Lease/LeaseGrant", pb.LeaseGrantResponse),
    "LeaseRevoke": ("Lease/LeaseRevoke", pb.LeaseRevokeResponse),
    "LeaseTimeToLive": ("Lease/LeaseTimeToLive", pb.LeaseTimeToLiveResponse),
}
NEWER = "confman has the rule of later etcds, 3.4 does not have it"
# (method, words in etcd's answer or None for any, words in ours, why).
ALLOWED = [
    ("Authenticate", "password was given for no password user", "authentication failed",
     "who has no password is not told to whoever guesses"),
    ("LeaseGrant", None, "user name is empty", NEWER),
    ("LeaseGrant", None, "invalid auth token", NEWER),
    ("LeaseRevoke", None, "user name is empty", NEWER),
    ("LeaseRevoke", None, "invalid auth token", NEWER),
    ("LeaseTimeToLive", None, "permission denied", NEWER),
    ("LeaseTimeToLive", None, "user name is empty", NEWER),
    ("LeaseTimeToLive", None, "invalid auth token", NEWER),
]


class Side:
    """One server, with the newest token of each user."""

    def __init__(self, endpoint):
        self.channel = grpc.insecure_channel(endpoint, options=[("grpc.enable_retries", 0)])
        self.tokens = {}

    def ask(self, method, request, user):
        """The answer as bytes without what is the server's own, or the error as text."""
        path, response = PATHS.get(method) or (
            "Auth/" + method,
            getattr(pb, (method if method.startswith("Auth") else "Auth" + method) + "Response"))
        call = self.channel.unary_unary("/etcdserverpb." + path, type(request).SerializeToString,
                                        response.FromString)
        token = self.tokens.get(user)
        try:
            answer = call(request, timeout=SECONDS, metadata=[("token", token)] if token else [])
        except grpc.RpcError as e:
            return "%s: %s" % (e.code().name, e.details())
        header = answer.header
        header.cluster_id = header.member_id = header.raft_term = 0
        if method == "Authenticate":
            self.tokens[request.name] = answer.token
            answer.token = "a token"
        elif method == "AuthDisable":
            self.tokens.clear()     # 3.4 refuses them from now on, later ones do not look
        elif method == "LeaseTimeToLive":
            answer.TTL = min(answer.TTL, 0)
            answer.keys.sort()
        elif method == "RoleGet":
            ranges = {(p.key, p.range_end): p for p in answer.perm}
            del answer.perm[:]      # etcd keeps some ranges twice, in any order
            answer.perm.extend(ranges[r] for r in sorted(ranges))
        return answer


class Ops:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.count, self.plan = 0, []
        self.table = [(self.keys, 50), (self.login, 8), (self.users, 12), (self.roles, 8),
                      (self.permissions, 14), (self.switch, 1.2), (self.look, 6)]

    def next(self):
        """(method, request, who asks)"""
        self.count += 1
        if self.count % SETUP_EVERY == 1:
            self.plan = self.setup()
        if self.plan:
            return self.plan.pop(0)
        kinds, weights = zip(*self.table)
        return self.random.choices(kinds, weights)[0]()

    def setup(self):
        """Whatever has become of it: root, a user with a role, and auth enabled."""
        def login(user):
            return "Authenticate", pb.AuthenticateRequest(name=user, password="one"), None
        plan = [login("root")]
        for user, role in (("root", "root"), ("ann", "reader")):
            plan += [("UserAdd", pb.AuthUserAddRequest(name=user, password="one"), "root"),
                     ("UserChangePassword",
                      pb.AuthUserChangePasswordRequest(name=user, password="one"), "root"),
                     login("root"), ("RoleAdd", pb.AuthRoleAddRequest(name=role), "root"),
                     ("UserGrantRole", pb.AuthUserGrantRoleRequest(user=user, role=role), "root")]
        return plan + [("AuthEnable", pb.AuthEnableRequest(), "root"), login("root"), login("ann")]

    def user(self):
        return self.random.choice(USERS)

    def role(self):
        return self.random.choice(ROLES)

    def asker(self):
        """For what is root's: mostly root."""
        return self.random.choice(("root", "root", "root", "root", self.user(), None))

    def span(self):
        form = self.random.randrange(4)
        key = self.random.choice(KEYS)
        end = (b"", b"", b"\0", self.random.choice(KEYS))[form]
        if end not in (b"", b"\0") and end <= key:
            end = b""       # with nothing in it: etcd's answer follows the shape of its tree
        return key, end

    def login(self):
        password = self.random.choice(("one", "one", "one", "two", ""))
        return "Authenticate", pb.AuthenticateRequest(name=self.user(), password=password), None

    def users(self):
        form, user, role = self.random.random(), self.user(), self.role()
        if form < 0.25:
            return "UserAdd", pb.AuthUserAddRequest(
                name=self.random.choice((user, user, user, "")), password="one",
                options=pb.UserAddOptions(no_password=self.random.random() < 0.1)), self.asker()
        if form < 0.35:
            return "UserDelete", pb.AuthUserDeleteRequest(name=user), self.asker()
        if form < 0.42:
            return "UserChangePassword", pb.AuthUserChangePasswordRequest(
                name=user, password=self.random.choice(("one", "one", "two"))), self.asker()
        if form < 0.85:
            return "UserGrantRole", pb.AuthUserGrantRoleRequest(user=user, role=role), self.asker()
        return "UserRevokeRole", pb.AuthUserRevokeRoleRequest(name=user, role=role), self.asker()

    def roles(self):
        if self.random.random() < 0.7:
            return "RoleAdd", pb.AuthRoleAddRequest(
                name=self.random.choice((self.role(), self.role(), ""))), self.asker()
        return "RoleDelete", pb.AuthRoleDeleteRequest(role=self.role()), self.asker()

    def permissions(self):
        key, end = self.span()
        if self.random.random() < 0.7:
            return "RoleGrantPermission", pb.AuthRoleGrantPermissionRequest(
                name=self.role(), perm=pb.Permission(permType=self.random.randrange(3), key=key,
                                                     range_end=end)), self.asker()
        return "RoleRevokePermission", pb.AuthRoleRevokePermissionRequest(
            role=self.role(), key=key, range_end=end), self.asker()

    def switch(self):
        if self.random.random() < 0.8:
            return "AuthEnable", pb.AuthEnableRequest(), self.asker()
        return "AuthDisable", pb.AuthDisableRequest(), self.asker()

    def look(self):
        return self.random.choice((
            ("UserGet", pb.AuthUserGetRequest(name=self.user()), self.user()),
            ("UserList", pb.AuthUserListRequest(), self.asker()),
            ("RoleGet", pb.AuthRoleGetRequest(role=self.random.choice(ROLES[1:])), self.user()),
            ("RoleList", pb.AuthRoleListRequest(), self.asker())))

    def put(self):
        return pb.PutRequest(key=self.random.choice(KEYS), value=b"v",
                             prev_kv=self.random.random() < 0.3,
                             lease=self.random.choice((0, 0, 0, self.random.choice(LEASES))))

    def range(self):
        key, end = self.span()
        return pb.RangeRequest(key=key, range_end=end, serializable=self.random.random() < 0.5)

    def delete(self):
        key, end = self.span()
        if self.random.random() < 0.7:
            end = b""
        return pb.DeleteRangeRequest(key=key, range_end=end, prev_kv=self.random.random() < 0.3)

    def txn(self, depth=1):
        def branch():
            keys, ops = set(), []
            for _ in range(self.random.randrange(3)):
                put = self.put()
                if put.key not in keys and self.random.random() < 0.5:
                    keys.add(put.key)
                    ops.append(pb.RequestOp(request_put=put))
                else:
                    ops.append(pb.RequestOp(request_range=self.range()))
            return ops
        key, end = self.span()
        return pb.TxnRequest(compare=[pb.Compare(key=key, range_end=end, target=0, version=1)],
                             success=branch(), failure=branch())

    def keys(self):
        who = self.random.choice(USERS + [None])
        lease = self.random.choice(LEASES)
        return self.random.choice((
            ("Range", self.range(), who), ("Range", self.range(), who), ("Put", self.put(), who),
            ("Put", self.put(), who), ("DeleteRange", self.delete(), who), ("Txn", self.txn(), who),
            ("LeaseGrant", pb.LeaseGrantRequest(ID=lease, TTL=3600), who),
            ("LeaseRevoke", pb.LeaseRevokeRequest(ID=lease), who),
            ("LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=lease, keys=True), who)))


def said(answer):
    return answer if isinstance(answer, str) else ""


def why_allowed(method, left, right):
    return next((why for m, theirs, ours, why in ALLOWED
                 if m == method and (theirs or "") in said(left) and ours in said(right)), None)


def undo(etcd, method, request):
    """What etcd did and confman refused; it had no keys, or etcd would have refused it too."""
    if method == "LeaseGrant":
        etcd.ask("LeaseRevoke", pb.LeaseRevokeRequest(ID=request.ID), None)
    elif method == "LeaseRevoke":
        etcd.ask("LeaseGrant", pb.LeaseGrantRequest(ID=request.ID, TTL=3600), None)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 31))
    parser.add_argument("--ops", type=int, default=1500)
    options = parser.parse_args()
    if os.access("/dev/shm", os.W_OK):
        tempfile.tempdir = "/dev/shm"
    started, same, counts, allowed, recent = time.monotonic(), True, {}, {}, []
    cost = ("--bcrypt-cost", "4")
    with Node("etcd", args=cost) as left, Node(
            "confman", args=[*cost, "--login-failures-max", "0"]) as right:
        sides, ops = [Side(node.endpoint) for node in (left, right)], Ops(options.seed)
        for n in range(options.ops):
            method, request, who = ops.next()
            answers = [side.ask(method, request, who) for side in sides]
            recent = recent[-12:] + ["%s by %s: %s -> %s" % (
                method, who, str(request).replace("\n", " "), said(answers[0]) or "ok")]
            if answers[0] == answers[1]:
                outcome = said(answers[0]) or "ok"
                counts[outcome] = counts.get(outcome, 0) + 1
                continue
            why = why_allowed(method, *answers)
            if not why:
                print("operation %d of `auth_differ.py --seed %d`:\n  %s\netcd:\n%s\nconfman:\n%s" %
                      (n, options.seed, "\n  ".join(recent), *answers))
                same = False
                break
            allowed[method] = allowed.get(method, 0) + 1
            if not said(answers[0]):
                undo(sides[0], method, request)
    print("seed %d: %d answers compared in %.1f s: %s" % (
        options.seed, n + 1, time.monotonic() - started,
        ", ".join("%d %s" % (c, o) for o, c in sorted(counts.items(), key=lambda i: -i[1]))))
    print("allowed to differ: " + (", ".join("%s %d" % a for a in sorted(allowed.items())) or "-"))
    print("%d passed, %d failed" % (same, not same))
    sys.exit(not same)


if __name__ == "__main__":
    main()
