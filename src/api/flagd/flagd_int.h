/* flagd_int: what the files of api/flagd share. */
#pragma once
#include "api/flagd/flagd.h"
#include "wire/protobuf/flagd_pb.h"

/* An object of JSON values from a Struct, and back; in the arena. Numbers that JSON has not become
 * null. ERR_MESSAGE_TOO_LARGE: more than FLAG_VALUES_MAX. */
enum err struct_read(const struct pb_struct *m, struct arena *arena, struct fval *out) MUST_CHECK;
struct pb_struct *struct_of(const struct fval *object, struct arena *arena);
