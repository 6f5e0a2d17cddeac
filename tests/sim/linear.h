/* linear: is a history of operations on single keys linearizable?
 *
 * A history as text, one operation a line, eight fields with one space between, no order of lines
 * asked for; empty lines and those that begin with "#" say nothing:
 *
 *     client op key value invoke_us return_us outcome result
 *
 * client     number of the client; one client has one operation at a time, except that after an
 *            unknown one it goes on while that may still take effect
 * op         put, get, delete, cas
 * key        text without spaces, not empty; every key begins absent
 * value      put: the new value. cas: OLD>NEW, if the value is OLD then put NEW; OLD is "-" for
 *            "if the key is absent". get, delete: "-"
 *            Values are text without spaces and ">", not empty, never "-", "!" or "1"
 * invoke_us  when the client began, of one clock for all clients (so is return_us)
 * return_us  when it knew; "-" for unknown
 * outcome    ok: it took effect once, between the two times. fail: it certainly never takes effect
 *            (such a line changes nothing). unknown: it takes effect once at any time after
 *            invoke_us, or never
 * result     ok get: the value, "-" for absent. ok delete: "1" there was one, "0" there was none.
 *            ok cas: "1" swapped; when it was not, the value there was, "-" for absent, or "!"
 *            when the client did not look. ok put and all that is not ok: "-" */
#pragma once
#include <stdint.h>
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "base/vec.h"

enum linear_type { LINEAR_PUT, LINEAR_GET, LINEAR_DELETE, LINEAR_CAS, LINEAR_TYPES };
enum linear_outcome { LINEAR_OK, LINEAR_FAIL, LINEAR_UNKNOWN, LINEAR_OUTCOMES };

struct linear_op {
    uint64_t client;
    enum linear_type type;
    enum linear_outcome outcome;
    struct span key, value, result; /* as in the text */
    int64_t invoke_us, return_us;   /* return_us of unknown: not looked at */
};

struct linear {
    struct alloc *alloc;
    struct arena arena;
    VEC(struct linear_op) ops;
};

void linear_open(struct linear *l, struct alloc *alloc);
void linear_close(struct linear *l);
void linear_add(struct linear *l, const struct linear_op *op); /* copies */
/* The text form, in and out. ERR_BAD_REQUEST: why says which line and what is wrong with it. */
enum err linear_read(struct linear *l, struct span text, struct buf *why) MUST_CHECK;
void linear_write(const struct linear_op *op, struct buf *out);

enum linear_verdict { LINEAR_YES, LINEAR_NO, LINEAR_UNDECIDED };
/* Key by key. steps_max: what may be tried for one key before it is undecided; 0: no bound. why: of
 * a key that is not linearizable, how far it came and what cannot come next. */
enum linear_verdict linear_check(const struct linear *l, uint64_t steps_max, struct buf *why);
