"""A full store, a full disk: writes are refused by name, the rest goes on, it ends by itself."""
import errno
import os
import subprocess
import tempfile
import unittest

import grpc

from etcd_api import Api, pb
from node import Node, ServerTest, confman_only, main, wait_until
from web import curl

VALUE = b"v" * (64 << 10)
FULL = ("RESOURCE_EXHAUSTED", "etcdserver: mvcc: database space exceeded")


class Full(ServerTest):
    def put(self, key, value=VALUE):
        """None, or (code, text) of the refusal."""
        try:
            self.api.Put(pb.PutRequest(key=key.encode(), value=value), timeout=20)
            return None
        except grpc.RpcError as e:
            return e.code().name, e.details()

    def put_until_full(self, most):
        for i in range(most):
            refused = self.put("k%d" % i)
            if refused:
                self.assertEqual(refused, FULL)
                return i
        return self.fail("%d puts and still room" % most)

    def check_full(self, written):
        """What goes on, and what does not, while there is no room."""
        read = self.api.Range(pb.RangeRequest(key=b"k0"), timeout=20)
        self.assertEqual(read.kvs[0].value, VALUE)
        put = pb.PutRequest(key=b"k0", value=b"x")
        with self.assertRaises(grpc.RpcError) as e:
            self.api.Txn(pb.TxnRequest(success=[pb.RequestOp(request_put=put)]), timeout=20)
        self.assertEqual((e.exception.code().name, e.exception.details()), FULL)
        answer = curl(self.node.url + "/v1/config/x", "-X", "PUT", "-H",
                      "Content-Type: application/json", body=b'{"value":1}')
        self.assertEqual((answer.status, answer.json["code"]), (507, "nospace"))
        self.assertIn(b"\nconfman_nospace 1\n", curl(self.node.url + "/metrics").body)
        health = curl(self.node.url + "/health")
        self.assertEqual((health.status, health.json["reason"]), (503, "ALARM NOSPACE"))
        deleted = self.api.DeleteRange(pb.DeleteRangeRequest(key=b"k", range_end=b"l"), timeout=20)
        self.assertEqual(deleted.deleted, max(written, 1))
        self.api.Compact(pb.CompactionRequest(revision=deleted.header.revision, physical=True),
                         timeout=20)


@confman_only
class MemoryTest(Full):
    args = ("--store-bytes-max", str(24 << 20))

    def test_memory(self):
        self.api = Api(self.node.endpoint)
        written = self.put_until_full(2000)
        self.assertGreater(written, 100)
        self.check_full(written)
        wait_until(lambda: self.put("again") is None, 20, "there is room again")
        self.assertIn(b"\nconfman_nospace 0\n", curl(self.node.url + "/metrics").body)


@confman_only
class DiskTest(Full):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        mount = ["mount", "-t", "tmpfs", "-o", "size=280m", "tmpfs", cls.folder]
        if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
            os.rmdir(cls.folder)
            raise unittest.SkipTest("no right to mount a small disk")
        cls.addClassCleanup(cls.unmount)
        cls.node = Node(args=("--data-dir", os.path.join(cls.folder, "data")))
        cls.node.__enter__()

    @classmethod
    def unmount(cls):
        subprocess.run(["umount", "-l", cls.folder], check=True)
        os.rmdir(cls.folder)

    def test_disk(self):
        self.api = Api(self.node.endpoint)
        self.assertIsNone(self.put("k0"))   # it may be full before the next
        filler = os.path.join(self.folder, "filler")
        with open(filler, "wb", buffering=0) as f:
            try:
                while f.write(bytes(1 << 20)):
                    pass
            except OSError as e:
                self.assertEqual(e.errno, errno.ENOSPC)
        written = self.put_until_full(4000)
        self.check_full(written)
        os.remove(filler)
        wait_until(lambda: self.put("again") is None, 30, "there is room again")
        self.node.stop()
        self.node.start()
        again = Api(self.node.endpoint).Range(pb.RangeRequest(key=b"again"), timeout=20,
                                              wait_for_ready=True)
        self.assertEqual(again.count, 1)


if __name__ == "__main__":
    main()
