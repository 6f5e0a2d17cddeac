"""Reflection: every service can be listed, described and called by who knows nothing of us but the
address: descriptors are taken over the wire into protobuf's own pool."""
import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from etcd_api import pb
from node import ServerTest, confman_only, main

SERVICES = {"etcdserverpb.KV": 6, "etcdserverpb.Watch": 1, "etcdserverpb.Lease": 5,
            "etcdserverpb.Cluster": 5, "etcdserverpb.Maintenance": 8, "etcdserverpb.Auth": 17,
            "v3lockpb.Lock": 2, "v3electionpb.Election": 5, "grpc.health.v1.Health": 2,
            "grpc.reflection.v1.ServerReflection": 1, "grpc.reflection.v1alpha.ServerReflection": 1,
            "flagd.evaluation.v1.Service": 7, "flagd.evaluation.v2.Service": 6,
            "flagd.sync.v1.FlagSyncService": 3}


@confman_only
class ReflectionTest(ServerTest):
    def setUp(self):
        self.channel = grpc.insecure_channel(self.node.endpoint)
        self.addCleanup(self.channel.close)

    def ask(self, version, *questions):
        call = self.channel.stream_stream(
            "/grpc.reflection.%s.ServerReflection/ServerReflectionInfo" % version,
            request_serializer=pb.ServerReflectionRequest.SerializeToString,
            response_deserializer=pb.ServerReflectionResponse.FromString)
        answers = list(call(iter([pb.ServerReflectionRequest(**q) for q in questions]),
                            timeout=20))
        self.assertEqual(len(answers), len(questions))
        return answers

    def pool(self, version):
        """All that the services of the list bring with them."""
        services = [s.name for s in self.ask(version, dict(list_services=""))[0]
                    .list_services_response.service]
        files = {}
        for answer in self.ask(version, *(dict(file_containing_symbol=s) for s in services)):
            for data in answer.file_descriptor_response.file_descriptor_proto:
                f = descriptor_pb2.FileDescriptorProto.FromString(data)
                files[f.name] = f
        pool = descriptor_pool.DescriptorPool()

        def add(f):
            for name in f.dependency:
                if name in files:
                    add(files.pop(name))
            pool.Add(f)
        while files:
            add(files.pop(next(iter(files))))
        return services, pool

    def test_all_is_described(self):
        for version in ("v1", "v1alpha"):
            services, pool = self.pool(version)
            self.assertEqual(set(services), set(SERVICES))
            for name, count in SERVICES.items():
                self.assertEqual(len(pool.FindServiceByName(name).methods), count, name)
            request = pool.FindMessageTypeByName("etcdserverpb.RangeRequest")
            self.assertEqual(request.fields_by_name["sort_order"].enum_type.values_by_name
                             ["DESCEND"].number, 2)
            op = pool.FindMessageTypeByName("etcdserverpb.RequestOp")
            self.assertEqual(len(op.oneofs_by_name["request"].fields), 4)
            flag = pool.FindMessageTypeByName("flagd.evaluation.v2.ResolveIntResponse")
            self.assertTrue(flag.fields_by_name["value"].has_presence)
            fields = pool.FindMessageTypeByName("google.protobuf.Struct").fields_by_name["fields"]
            self.assertTrue(fields.message_type.GetOptions().map_entry)
            watch = pool.FindServiceByName("etcdserverpb.Watch").methods_by_name["Watch"]
            self.assertTrue(watch.client_streaming and watch.server_streaming)

    def test_calls_by_what_is_described(self):
        _, pool = self.pool("v1")
        made = message_factory.MessageFactory(pool)

        def call(service, name, **fields):
            method = pool.FindServiceByName(service).methods_by_name[name]
            request, response = (made.GetPrototype(t) for t in (method.input_type,
                                                                method.output_type))
            return self.channel.unary_unary("/%s/%s" % (service, name),
                                            request.SerializeToString, response.FromString)(
                request(**fields), timeout=20)
        call("etcdserverpb.KV", "Put", key=b"k", value=b"v")
        self.assertEqual(call("etcdserverpb.KV", "Range", key=b"k").kvs[0].value, b"v")
        self.assertEqual(call("grpc.health.v1.Health", "Check").status, 1)

    def test_questions_without_an_answer(self):
        answers = self.ask("v1", dict(file_containing_symbol="no.such"),
                           dict(file_by_filename="no.proto"),
                           dict(all_extension_numbers_of_type="mvccpb.KeyValue"),
                           dict(file_by_filename="mvccpb.proto"))
        self.assertEqual([a.error_response.error_code for a in answers], [5, 5, 0, 0])
        self.assertEqual(list(answers[2].all_extension_numbers_response.extension_number), [])
        self.assertEqual(len(answers[3].file_descriptor_response.file_descriptor_proto), 1)


if __name__ == "__main__":
    main()
