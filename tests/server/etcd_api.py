"""The etcd v3 API from Python: messages made by Debian's protoc, calls by Debian's grpc."""
import importlib
import os
import subprocess
import sys

import grpc

from node import ROOT

PROTO = os.environ.get("ETCD_PROTO", os.path.join(ROOT, "proto", "etcd.proto"))


def load(proto=PROTO):
    """Compiles the .proto text when it is newer than what stands in build/py, and imports it."""
    out = os.path.join(ROOT, "build", "py")
    module = os.path.basename(proto).replace(".proto", "_pb2")
    made = os.path.join(out, module + ".py")
    if not os.path.exists(made) or os.path.getmtime(made) < os.path.getmtime(proto):
        os.makedirs(out, exist_ok=True)
        fresh = out + ".%d" % os.getpid()
        os.makedirs(fresh)
        subprocess.run(["protoc", "-I", os.path.dirname(proto), "--python_out", fresh, proto],
                       check=True)
        os.replace(os.path.join(fresh, module + ".py"), made)
        os.rmdir(fresh)
    if out not in sys.path:
        sys.path.insert(0, out)
    return importlib.import_module(module)


pb = load()

# method: service, request message, response message, how many requests and responses.
METHODS = {
    "Range": ("KV", "RangeRequest", "RangeResponse", "unary_unary"),
    "Put": ("KV", "PutRequest", "PutResponse", "unary_unary"),
    "DeleteRange": ("KV", "DeleteRangeRequest", "DeleteRangeResponse", "unary_unary"),
    "Txn": ("KV", "TxnRequest", "TxnResponse", "unary_unary"),
    "Compact": ("KV", "CompactionRequest", "CompactionResponse", "unary_unary"),
    "Watch": ("Watch", "WatchRequest", "WatchResponse", "stream_stream"),
    "LeaseGrant": ("Lease", "LeaseGrantRequest", "LeaseGrantResponse", "unary_unary"),
    "LeaseRevoke": ("Lease", "LeaseRevokeRequest", "LeaseRevokeResponse", "unary_unary"),
    "LeaseKeepAlive": ("Lease", "LeaseKeepAliveRequest", "LeaseKeepAliveResponse",
                       "stream_stream"),
    "LeaseTimeToLive": ("Lease", "LeaseTimeToLiveRequest", "LeaseTimeToLiveResponse",
                        "unary_unary"),
    "LeaseLeases": ("Lease", "LeaseLeasesRequest", "LeaseLeasesResponse", "unary_unary"),
    "MemberList": ("Cluster", "MemberListRequest", "MemberListResponse", "unary_unary"),
    "Status": ("Maintenance", "StatusRequest", "StatusResponse", "unary_unary"),
    "HashKV": ("Maintenance", "HashKVRequest", "HashKVResponse", "unary_unary"),
    "Hash": ("Maintenance", "HashRequest", "HashResponse", "unary_unary"),
    "Alarm": ("Maintenance", "AlarmRequest", "AlarmResponse", "unary_unary"),
    "Defragment": ("Maintenance", "DefragmentRequest", "DefragmentResponse", "unary_unary"),
    "Downgrade": ("Maintenance", "DowngradeRequest", "DowngradeResponse", "unary_unary"),
    "Lock": ("v3lockpb.Lock", "LockRequest", "LockResponse", "unary_unary"),
    "Unlock": ("v3lockpb.Lock", "UnlockRequest", "UnlockResponse", "unary_unary"),
    "Campaign": ("v3electionpb.Election", "CampaignRequest", "CampaignResponse", "unary_unary"),
    "Proclaim": ("v3electionpb.Election", "ProclaimRequest", "ProclaimResponse", "unary_unary"),
    "Leader": ("v3electionpb.Election", "LeaderRequest", "LeaderResponse", "unary_unary"),
    "Observe": ("v3electionpb.Election", "LeaderRequest", "LeaderResponse", "unary_stream"),
    "Resign": ("v3electionpb.Election", "ResignRequest", "ResignResponse", "unary_unary"),
    "RangeStream": ("KV", "RangeRequest", "RangeStreamResponse", "unary_stream"),
}


class Api:
    """api.Put(pb.PutRequest(...)); unary ones have .future() as well."""

    def __init__(self, endpoint, options=()):
        self.channel = grpc.insecure_channel(endpoint, options=[
            *options,
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)])
        for method, (service, request, response, kind) in METHODS.items():
            call = getattr(self.channel, kind)(
                "/%s/%s" % (service if "." in service else "etcdserverpb." + service, method),
                request_serializer=getattr(pb, request).SerializeToString,
                response_deserializer=getattr(pb, response).FromString)
            setattr(self, method, call)

    def close(self):
        self.channel.close()


def prefix_end(prefix):
    """The first key after all that begin with prefix; b"\\0" when there is none."""
    cut = prefix.rstrip(b"\xff")
    return cut[:-1] + bytes([cut[-1] + 1]) if cut else b"\0"
