#include "node/audit_int.h"
#include <stdio.h>
#include <time.h>
#include "base/check.h"
#include "io/file/file.h"
#include "wire/json/json.h"
#include "wire/protobuf/protobuf.h"

enum { PATH_BYTES = PARAM_TEXT_MAX + 16 };

struct audit_note {
    struct buf text;  /* members of the line's object that are known at once */
    struct buf asked; /* those that only a refusal has */
    bool nobody;      /* whom nobody knows */
};

/* ---- lines ---- */

static const char *const of_members_names[] = {
    "member_add", "member_remove", "member_update", "member_promote", "move_leader",
};

static bool of_members(const struct request *r)
{
    return r->type >= REQUEST_MEMBER_ADD && r->type <= REQUEST_MOVE_LEADER;
}

/* NULL: it changes nothing. */
static const char *name_of(const struct request *r)
{
    if (of_members(r))
        return of_members_names[r->type - REQUEST_MEMBER_ADD];
    return request_writes(r) ? request_name(r->type) : NULL;
}

static void write_text(struct jsonw *w, const char *name, const char *text)
{
    jsonw_name(w, name);
    jsonw_text(w, span_text(text));
}

/* Bytes that are not UTF-8 as {"base64": ...}, as everywhere. */
static void write_bytes(struct jsonw *w, struct span s)
{
    if (s.len > AUDIT_KEY_BYTES_MAX)
        s.len = AUDIT_KEY_BYTES_MAX;
    if (pb_utf8(s)) {
        jsonw_text(w, s);
        return;
    }
    struct buf b;
    buf_open(&b, w->out->alloc);
    jsonw_base64(s, false, &b);
    jsonw_object(w);
    jsonw_name(w, "base64");
    jsonw_text(w, buf_all(&b));
    jsonw_object_end(w);
    buf_close(&b);
}

static void write_named(struct jsonw *w, const char *name, struct span s)
{
    jsonw_name(w, name);
    write_bytes(w, s);
}

static void write_id(struct jsonw *w, const char *name, int64_t id)
{
    char text[20];
    snprintf(text, sizeof(text), "%llx", (unsigned long long)id);
    write_text(w, name, text);
}

static void write_auth(struct jsonw *w, const struct auth_request *q)
{
    if (q->user.len)
        write_named(w, "about_user", q->user);
    if (q->role.len)
        write_named(w, "about_role", q->role);
    if (q->permission.key.len)
        write_named(w, "key", q->permission.key);
    if (q->permission.range_end.len)
        write_named(w, "range_end", q->permission.range_end);
}

/* What it is about, in a few words. */
static void write_subject(struct jsonw *w, const struct request *r)
{
    if (r->type == REQUEST_PUT) {
        write_named(w, "key", r->put.key);
    } else if (r->type == REQUEST_DELETE) {
        write_named(w, "key", r->del.key);
        if (r->del.range_end.len)
            write_named(w, "range_end", r->del.range_end);
    } else if (r->type == REQUEST_COMPACT) {
        jsonw_name(w, "compact_revision");
        jsonw_number(w, r->compact.revision);
    } else if (r->type == REQUEST_LEASE_GRANT || r->type == REQUEST_LEASE_REVOKE) {
        write_id(w, "lease", r->lease.id);
    } else if (r->type == REQUEST_LIMIT_SET || r->type == REQUEST_LIMIT_DELETE) {
        write_named(w, r->limit.kind == LIMIT_USER ? "about_user" : "prefix", r->limit.name);
    } else if (of_members(r)) {
        write_id(w, "about_member", (int64_t)r->member.id);
    } else if (request_of_auth(r->type)) {
        write_auth(w, &r->auth);
    }
}

static struct audit_note *note_open(struct node *n, const char *door, const char *from,
                                    struct span user)
{
    struct jsonw w;
    if (!n->audit)
        return NULL;
    struct audit_note *note = mem_zero(&n->alloc, sizeof(*note));
    note->nobody = !user.len;
    buf_open(&note->text, &n->alloc);
    buf_open(&note->asked, &n->alloc);
    jsonw_open(&w, &note->text);
    write_text(&w, "door", door);
    write_text(&w, "from", from);
    jsonw_name(&w, "user");
    jsonw_text(&w, user);
    return note;
}

/* Who asks, by which door, from where. */
static struct audit_note *note_begin(struct call *call, const struct request *r)
{
    char from[TCP_ADDRESS_MAX] = "";
    if (call->conn && call->node->audit)
        tcp_peer(call->conn->fd, from);
    const char *door = call->gate     ? "gateway"
                       : call->flagd  ? "flagd"
                       : call->method ? "etcd"
                                      : "rest";
    return note_open(call->node, door, from, r->author);
}

void audit_own(struct node *n, const struct request *r, const char *door)
{
    struct audit_note *note = note_open(n, door, "", r->author);
    if (!note)
        return;
    struct jsonw w = { &note->text, true };
    CHECK(n->submitted.n && !n->submitted.items[n->submitted.n - 1].note);
    write_text(&w, "request", request_name(r->type));
    write_subject(&w, r);
    n->submitted.items[n->submitted.n - 1].note = note;
}

/* The keys that a transaction would write; what it does write is told when it has. */
static void write_asked(struct jsonw *w, const struct kv_txn *t)
{
    const struct {
        const struct kv_op *ops;
        size_t n;
    } branches[] = { { t->success, t->n_success }, { t->failure, t->n_failure } };
    size_t told = 0;
    jsonw_name(w, "asked");
    jsonw_array(w);
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < branches[b].n && told < AUDIT_KEYS_MAX; i++) {
            const struct kv_op *op = &branches[b].ops[i];
            if (op->type != KV_OP_PUT && op->type != KV_OP_DELETE)
                continue;
            write_bytes(w, op->type == KV_OP_PUT ? op->put.key : op->del.key);
            told++;
        }
    jsonw_array_end(w);
}

struct audit_note *audit_begin(struct call *call, const struct request *r)
{
    struct audit_note *note = name_of(r) ? note_begin(call, r) : NULL;
    if (!note)
        return NULL;
    struct jsonw w = { &note->text, true };
    write_text(&w, "request", name_of(r));
    write_subject(&w, r);
    if (r->type == REQUEST_TXN) {
        w = (struct jsonw){ &note->asked, true };
        write_asked(&w, &r->txn);
    }
    return note;
}

static void write_time(struct jsonw *w, int64_t ms)
{
    char text[40];
    time_t seconds = (time_t)(ms / 1000);
    struct tm t;
    gmtime_r(&seconds, &t);
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &t);
    snprintf(text + len, sizeof(text) - len, ".%03dZ", (int)(ms % 1000));
    write_text(w, "time", text);
}

static void write_keys(struct jsonw *w, const char *name, const struct kv_change *changes, size_t n,
                       bool deletions)
{
    size_t told = 0, all = 0;
    for (size_t i = 0; i < n; i++)
        all += changes[i].now->tombstone == deletions;
    if (!all)
        return;
    jsonw_name(w, name);
    jsonw_array(w);
    for (size_t i = 0; i < n && told < AUDIT_KEYS_MAX; i++)
        if (changes[i].now->tombstone == deletions) {
            write_bytes(w, kv_key(changes[i].now));
            told++;
        }
    jsonw_array_end(w);
    if (all > told) {
        jsonw_name(w, deletions ? "deleted_more" : "put_more");
        jsonw_number(w, (int64_t)(all - told));
    }
}

/* Or whoever reaches the port could push out what is kept, with refusals of himself. */
static bool too_many(struct audit *a, const struct audit_note *note, enum err e)
{
    int64_t now = loop_now_ms(a->node->loop);
    if (!note->nobody || e == ERR_OK)
        return false;
    if (now - a->nobody_ms >= 1000) {
        a->nobody_ms = now;
        a->nobody_lines = 0;
    }
    return ++a->nobody_lines > AUDIT_NOBODY_MAX;
}

void audit_end(struct node *n, struct audit_note *note, enum err e, const struct reply *reply,
               const struct kv_change *changes, size_t n_changes)
{
    struct audit *a = n->audit;
    struct jsonw w;
    if (!note)
        return;
    CHECK(a != NULL);
    e = reply ? reply->err : e;
    if (too_many(a, note, e)) {
        n->metrics.audit_nobody_dropped++;
    } else if (a->lines.len >= AUDIT_WAITING_BYTES_MAX) {
        n->metrics.audit_dropped++;
    } else {
        jsonw_open(&w, &a->lines);
        jsonw_object(&w);
        write_time(&w, loop_wall_ms(n->loop));
        write_id(&w, "member", (int64_t)n->header.member_id);
        buf_u8(&a->lines, ',');
        buf_span(&a->lines, buf_all(&note->text));
        if (e != ERR_OK)
            buf_span(&a->lines, buf_all(&note->asked));
        write_text(&w, "result", reply || e != ERR_OK ? err_code(e) : "asked");
        if (reply) {
            jsonw_name(&w, "revision");
            jsonw_number(&w, reply->revision);
            write_keys(&w, "put", changes, n_changes, false);
            write_keys(&w, "deleted", changes, n_changes, true);
        }
        jsonw_object_end(&w);
        buf_u8(&a->lines, '\n');
        n->metrics.audit_lines++;
    }
    buf_close(&note->text);
    buf_close(&note->asked);
    mem_free(&n->alloc, note, sizeof(*note));
}

void audit_secret(struct call *call, const struct secret_ask *a, int64_t version, enum err e)
{
    struct node *n = call->node;
    struct request r = { 0 };
    struct jsonw w;
    struct audit_note *note = login_of(call, &r) == ERR_OK ? note_begin(call, &r) : NULL;
    if (!note)
        return;
    w = (struct jsonw){ &note->text, true };
    write_text(&w, "request", "secret_read");
    jsonw_name(&w, "namespace");
    write_bytes(&w, a->name_space);
    jsonw_name(&w, "path");
    write_bytes(&w, a->path);
    jsonw_name(&w, "version");
    jsonw_number(&w, version);
    jsonw_name(&w, "reason");
    write_bytes(&w, a->reason);
    struct reply reply = { .err = e, .revision = kv_revision(n->machine.kv) };
    audit_end(n, note, e, &reply, NULL, 0);
}

void audit_login(struct call *call, struct span user, enum err e)
{
    struct request r = { 0 };
    struct audit_note *note = note_begin(call, &r);
    if (!note)
        return;
    struct jsonw w = { &note->text, true };
    write_text(&w, "request", request_name(REQUEST_AUTHENTICATE));
    write_named(&w, "about_user", user);
    audit_end(call->node, note, e, NULL, NULL, 0);
}

void audit_denied(struct call *call, enum err e)
{
    const struct secret_ask *a = call->rest ? call->rest->secret : NULL;
    if (a && a->verb == SECRET_GET && (e == ERR_PERMISSION_DENIED || e == ERR_USER_EMPTY))
        audit_secret(call, a, a->version, e);
}

void audit_refused(struct call *call, const struct request *r, enum err e)
{
    audit_end(call->node, audit_begin(call, r), e, NULL, NULL, 0);
}

/* ---- the file ---- */

static enum err open_file(struct audit *a)
{
    enum err e = file_open(a->path, FILE_LOCK, &a->file);
    if (e == ERR_OK)
        e = file_size(a->file, &a->size);
    return e;
}

/* audit.log.1 is the newest of those before. */
static enum err rotate(struct audit *a)
{
    char from[PATH_BYTES], to[PATH_BYTES];
    file_close(a->file);
    a->file = NULL;
    for (int i = a->files - 1; i >= 0; i--) {
        snprintf(to, sizeof(to), "%s.%d", a->path, i + 1);
        snprintf(from, sizeof(from), i ? "%s.%d" : "%s", a->path, i);
        enum err e = file_rename(from, to);
        if (e != ERR_OK && e != ERR_NOT_FOUND)
            return e;
    }
    return open_file(a);
}

static enum err write_lines(struct audit *a)
{
    enum err e = a->file ? ERR_OK : open_file(a);
    if (e == ERR_OK && a->size && a->size + a->writing.len > a->bytes_max)
        e = rotate(a);
    if (e == ERR_OK)
        e = file_write(a->file, a->size, buf_all(&a->writing));
    if (e == ERR_OK)
        a->size += a->writing.len;
    return e;
}

static void run(struct job *job)
{
    struct audit *a = (struct audit *)job;
    a->err = write_lines(a);
    if (a->err != ERR_OK)
        snprintf(a->why, sizeof(a->why), "%s", file_why());
}

static size_t count_lines(struct span s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += s.data[i] == '\n';
    return n;
}

static void done(struct job *job)
{
    struct audit *a = (struct audit *)job;
    struct node *n = a->node;
    a->busy = false;
    if (a->err != ERR_OK) {
        n->metrics.audit_dropped += count_lines(buf_all(&a->writing));
        if (!a->failed)
            slog(SLOG_ERROR, "the audit log cannot be written; lines are lost until it can",
                 "error=%s", slog_quote(a->why));
    }
    a->failed = a->err != ERR_OK;
    buf_shrink(&a->writing, KEEP_BYTES);
}

void audit_turn(struct node *n)
{
    struct audit *a = n->audit;
    if (!a || a->busy)
        return;
    if (a->lines.len) {
        struct buf empty = a->writing;
        a->writing = a->lines;
        a->lines = empty;
        a->busy = true;
        a->job = (struct job){ .run = run, .done = done };
        thread_submit(a->worker, &a->job);
    }
    audit_find_turn(a);
}

bool audit_open(struct node *n)
{
    if (!n->params.audit_log[0])
        return true;
    struct audit *a = mem_zero(&n->alloc, sizeof(*a));
    a->node = n;
    snprintf(a->path, sizeof(a->path), "%s", n->params.audit_log);
    a->bytes_max = (uint64_t)n->params.audit_log_bytes;
    a->files = (int)n->params.audit_log_files;
    buf_open(&a->lines, &n->alloc);
    buf_open(&a->writing, &n->alloc);
    if (open_file(a) != ERR_OK) {
        slog(SLOG_ERROR, "the audit log cannot be opened", "error=%s", slog_quote(file_why()));
        return false;
    }
    a->worker = thread_open(&n->alloc, n->loop, "confman-audit", THREAD_BACKGROUND);
    n->audit = a;
    return true;
}

void audit_close(struct node *n)
{
    struct audit *a = n->audit;
    if (!a)
        return;
    thread_drain(a->worker);
    audit_turn(n);
    thread_drain(a->worker);
    thread_close(a->worker);
    if (a->file)
        file_close(a->file);
    buf_close(&a->lines);
    buf_close(&a->writing);
    n->audit = NULL;
    mem_free(&n->alloc, a, sizeof(*a));
}
