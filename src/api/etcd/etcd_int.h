/* etcd_int: what the files of api/etcd share. */
#pragma once
#include "api/etcd/etcd.h"
#include "wire/protobuf/etcd_pb.h"

enum request_type etcd_type(const struct etcd_method *m); /* what its messages ask for */
