"""A random stream of operations for differ.py: equal seeds and equal answers make equal streams."""
import random

from etcd_api import METHODS, pb, prefix_end

BURST_MAX = 24          # reads sent side by side
WATCHES_MAX = 12        # open at once
LEASES = list(range(7001, 7013))
TTL_MIN = 3600          # so that none expires in a run
BIG_BYTES = 150_000
TXN_DEPTH_MAX = 3
KEYS = ([b"k/%02d" % i for i in range(40)] + [b"dir/%c/%d" % (97 + i % 5, i) for i in range(20)] +
        [b"\x00", b"\x00\x01", b"\xff", b"\xff\xff", b"a", b"b", b"long" * 60])
VERSION, CREATE, MOD, VALUE, LEASE = range(5)      # Compare.target
RESULTS = 4                                         # Compare.result


class Ops:
    """next() gives (kind, request); the driver tells it the newest and the compacted revision."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.revision = 1
        self.compacted = 0
        self.watches = []       # (stream number, watch id) that are open
        self.reads = 0          # left of a burst
        self.deleting = False   # whether this transaction may delete
        self.table = [(getattr(self, name), weight) for name, weight in (
            ("put", 34), ("delete", 7), ("txn", 22), ("burst", 10), ("lease", 10), ("edge", 3),
            ("compact", 0.2), ("watch", 2), ("unwatch", 1.6), ("progress", 0.2), ("big", 0.15))]
        self.kinds = [kind for kind, _ in self.table]
        self.weights = [weight for _, weight in self.table]

    def next(self):
        if self.reads:
            self.reads -= 1
            return self.read()
        return self.random.choices(self.kinds, self.weights)[0]()

    def chance(self, p):
        return self.random.random() < p

    def key(self):
        return self.random.choice(KEYS)

    def value(self):
        r = self.random
        return r.choice((b"", b"\x00", b"x", b"%d" % r.randrange(10),
                         r.randbytes(r.randrange(64))))

    def span(self):
        """(key, range_end): one key, a prefix, from a key on, all, some span, an empty one."""
        r = self.random
        form = r.randrange(6)
        if form <= 1:
            return self.key(), b""
        if form == 2:
            prefix = self.key()[:r.randrange(1, 5)]
            return prefix, prefix_end(prefix)
        if form == 3:
            return (self.key(), b"\0") if self.chance(0.5) else (b"\0", b"\0")
        return self.key(), self.key()

    def past(self):
        """A revision: mostly readable, at times just out of reach on either side."""
        low = max(self.compacted, 1)
        return self.random.randint(low, self.revision) + self.random.choice((0,) * 12 + (-1, 1))

    def lease_id(self):
        return self.random.choice(LEASES)

    def range_request(self):
        r = self.random
        key, end = self.span()
        q = pb.RangeRequest(key=key, range_end=end)
        if self.chance(0.3):
            q.limit = r.randrange(1, 12)
        if self.chance(0.3):
            q.revision = self.past()
        if self.chance(0.4):
            q.sort_order = r.randrange(3)
            q.sort_target = r.randrange(5)
        q.serializable = self.chance(0.5)
        q.keys_only = self.chance(0.15)
        q.count_only = self.chance(0.15)
        for field in ("min_mod_revision", "max_mod_revision",
                      "min_create_revision", "max_create_revision"):
            if self.chance(0.08):
                setattr(q, field, r.randint(1, self.revision + 1))
        return q

    def put_request(self):
        q = pb.PutRequest(key=self.key(), value=self.value(), prev_kv=self.chance(0.3))
        if self.chance(0.25):
            q.lease = self.lease_id()
        if self.chance(0.06):
            q.ignore_value = True
            q.value = b"" if self.chance(0.8) else b"x"
        if self.chance(0.06):
            q.ignore_lease = True
            q.lease = 0 if self.chance(0.8) else self.lease_id()
        return q

    def delete_request(self):
        key, end = self.span()
        if end and self.chance(0.6):     # else little would ever be there
            key, end = self.key(), b""
        return pb.DeleteRangeRequest(key=key, range_end=end, prev_kv=self.chance(0.4))

    def compare(self):
        r = self.random
        target = r.randrange(5)
        q = pb.Compare(result=r.randrange(RESULTS), target=target, key=self.key())
        near = r.randint(max(1, self.revision - 60), self.revision)
        if target == VERSION:
            q.version = r.choice((0, 0, 1, 2, 5))
        elif target == CREATE:
            q.create_revision = r.choice((0, near))
        elif target == MOD:
            q.mod_revision = r.choice((0, near))
        elif target == VALUE:
            q.value = self.value()
        else:
            q.lease = r.choice((0, self.lease_id()))
        if self.chance(0.2):
            q.key, q.range_end = self.span()
        return q

    def txn_ops(self, depth, puts):
        """Operations of one branch. puts: keys not yet put, so that most are not refused."""
        r = self.random
        ops = []
        for _ in range(r.choice((0, 1, 1, 2, 3, 6))):
            op = pb.RequestOp()
            form = r.random()
            if form < 0.5 and puts:
                q = self.put_request()
                if self.deleting:
                    q.ignore_value = q.ignore_lease = False
                if not self.chance(0.02):
                    q.key = puts.pop()
                op.request_put.CopyFrom(q)
            elif form < 0.75:
                op.request_range.CopyFrom(self.range_request())
            elif form < 0.87 and self.deleting:
                q = self.delete_request()
                if puts and not self.chance(0.1):
                    q.key, q.range_end = puts.pop(), b""
                op.request_delete_range.CopyFrom(q)
            elif depth < TXN_DEPTH_MAX:
                op.request_txn.CopyFrom(self.txn_request(depth + 1, puts))
            elif self.chance(0.9):
                continue
            ops.append(op)
        return ops

    def txn_request(self, depth=1, puts=None):
        if puts is None:
            puts = self.random.sample(KEYS, len(KEYS))
            # etcd dies of a put with ignore_value or ignore_lease on a key that an operation
            # before it in the same transaction deleted, so no transaction has both.
            self.deleting = self.chance(0.6)
        compares = [self.compare() for _ in range(self.random.choice((0, 1, 1, 2)))]
        success = self.txn_ops(depth, puts)
        return pb.TxnRequest(compare=compares, success=success,
                             failure=self.txn_ops(depth, puts))

    # What follows are the kinds of next().

    def put(self):
        return "Put", self.put_request()

    def delete(self):
        return "DeleteRange", self.delete_request()

    def txn(self):
        return "Txn", self.txn_request()

    def burst(self):
        self.reads = self.random.randrange(1, BURST_MAX)
        return self.read()

    def read(self):
        if self.chance(0.06):
            return "LeaseTimeToLive", pb.LeaseTimeToLiveRequest(ID=self.lease_id(),
                                                                keys=self.chance(0.6))
        if self.chance(0.02):
            return "LeaseLeases", pb.LeaseLeasesRequest()
        return "Range", self.range_request()

    def lease(self):
        lease = self.lease_id()
        form = self.random.random()
        if form < 0.6:
            return "LeaseGrant", pb.LeaseGrantRequest(
                ID=lease, TTL=TTL_MIN + 100_000 * LEASES.index(lease))
        if form < 0.8:
            return "LeaseKeepAlive", pb.LeaseKeepAliveRequest(ID=lease)
        return "LeaseRevoke", pb.LeaseRevokeRequest(ID=lease)

    def edge(self):
        """What is to be refused, or stands just at a limit. Not asked here: unknown sort options,
        which later etcds refuse, 3.4 ignores, or dies of (a nil pointer); python_test asks."""
        form = self.random.random()
        if form < 0.3:
            return "Txn", self.edge_txn()
        kind, fields = self.random.choice((
            ("Put", dict(value=b"x")),
            ("Put", dict(key=self.key(), lease=99)),
            ("Put", dict(key=self.key(), value=bytes(1_600_000))),
            ("Range", dict()),
            ("Range", dict(range_end=b"\0")),
            ("Range", dict(key=b"\0", range_end=b"\0", limit=1, count_only=True)),
            ("Range", dict(key=self.key(), revision=-3)),
            ("Range", dict(key=self.key(), limit=-1)),
            ("DeleteRange", dict()),
            ("DeleteRange", dict(key=b"z", range_end=b"a")),
            ("Compact", dict(revision=self.revision + 5)),
            ("Compact", dict(revision=self.compacted)),
            ("Compact", dict(revision=-1)),
            ("LeaseGrant", dict(ID=self.lease_id(), TTL=9_000_000_001)),
            ("LeaseGrant", dict(TTL=TTL_MIN)),
            ("LeaseRevoke", dict(ID=self.random.randrange(2))),
        ))
        return kind, getattr(pb, METHODS[kind][1])(**fields)

    def edge_txn(self):
        get = pb.RequestOp(request_range=pb.RangeRequest(key=self.key()))
        nested = pb.RequestOp(request_txn=pb.TxnRequest(success=[get] * 100))
        form = self.random.randrange(8)
        if form == 0:
            return pb.TxnRequest(compare=[self.compare() for _ in range(129)])
        return (pb.TxnRequest(),
                pb.TxnRequest(success=[get] * 128),
                pb.TxnRequest(success=[get] * 129),
                pb.TxnRequest(success=[nested] * 2),
                pb.TxnRequest(success=[get] * 30 + [nested]),
                pb.TxnRequest(compare=[pb.Compare(key=b"")]),
                pb.TxnRequest(success=[pb.RequestOp()]))[form - 1]

    def compact(self):
        low = max(1, self.compacted)
        revision = self.random.randint(low, self.revision)
        if self.chance(0.8):
            revision = max(revision, self.revision - 200)
        return "Compact", pb.CompactionRequest(revision=revision, physical=self.chance(0.5))

    def big(self):
        return "Put", pb.PutRequest(key=self.key(), value=self.random.randbytes(16) * 9000)

    def watch(self):
        r = self.random
        if len(self.watches) >= WATCHES_MAX:
            return self.unwatch()
        key, end = self.span()
        q = pb.WatchCreateRequest(key=key, range_end=end, prev_kv=self.chance(0.5),
                                  fragment=self.chance(0.3), progress_notify=self.chance(0.2))
        if self.chance(0.05):
            q.key = b""
        if self.chance(0.6):
            q.start_revision = r.choice((self.past(), max(1, self.revision - r.randrange(300)),
                                         self.revision + r.randrange(4)))
        if self.chance(0.3):
            q.filters.append(r.randrange(2))
        if self.chance(0.2):
            q.watch_id = r.randrange(1, 6)
        return "WatchCreate", q

    def unwatch(self):
        if not self.watches:
            return self.put()
        return "WatchCancel", self.watches.pop(self.random.randrange(len(self.watches)))

    def progress(self):
        return "WatchProgress", None
