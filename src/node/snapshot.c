/* `confman snapshot status|restore`: what a backup holds, and a new cluster from one. */
#include "node/snapshot.h"
#include <stdio.h>
#include "base/buf.h"
#include "base/check.h"
#include "core/raft/raft.h"
#include "io/file/file.h"
#include "io/loop/loop.h"
#include "node/cluster.h"
#include "node/node.h"
#include "node/param.h"
#include "wire/json/json.h"

enum { STEP_BYTES = 256 << 10, PATH_BYTES = STORAGE_PATH_MAX };

/* ---- reading ---- */

static enum err refuse(enum err e, char *why, const char *path, const char *what)
{
    snprintf(why, STORAGE_WHY_MAX, "%.400s: %.500s", path, what);
    return e;
}

static enum err broken(enum err e, char *why)
{
    snprintf(why, STORAGE_WHY_MAX, "%.900s", file_why());
    return e;
}

enum err snapshot_read(const char *file, struct machine *m, struct snapshot_info *out, char *why)
{
    struct storage_load l;
    struct span piece;
    enum err e = storage_load_open(&l, file, why);
    if (e != ERR_OK)
        return e;
    while ((e = storage_load_next(&l, &piece, why)) == ERR_OK) {
        e = machine_load(m, piece);
        if (e != ERR_OK)
            break;
    }
    if (e == ERR_END) {
        e = machine_load_end(m);
        if (e == ERR_OK && (m->applied_index != l.index || m->applied_term != l.term))
            e = ERR_CORRUPT;
    }
    *out = (struct snapshot_info){ l.cluster, l.member, l.size, l.pieces };
    storage_load_close(&l);
    if (e == ERR_FORMAT)
        return refuse(e, why, file, "was written by a newer version of confman; use that one");
    return e == ERR_CORRUPT ? refuse(e, why, file, "is damaged; take another snapshot") : e;
}

/* ---- restoring ---- */

static void count_name(void *context, const char *name)
{
    size_t *n = context;
    *n += name[0] != 0;
}

enum err snapshot_must_be_free(const char *dir, char *why)
{
    size_t n = 0;
    enum err e = file_list(dir, count_name, &n);
    if (e == ERR_NOT_FOUND || (e == ERR_OK && n == 0))
        return ERR_OK;
    return e == ERR_OK ? refuse(ERR_BAD_REQUEST, why, dir,
                                "is not empty; give another --data-dir, or remove it")
                       : broken(e, why);
}

static enum err write_state(struct storage *s, struct machine *m)
{
    struct buf piece;
    uint64_t log_from;
    bool more = true;
    struct machine_save *save = machine_save_open(m, m->alloc);
    buf_open(&piece, m->alloc);
    enum err e = storage_checkpoint_begin(s, m->applied_index, m->applied_term);
    while (e == ERR_OK && more) {
        buf_reset(&piece);
        more = machine_save_step(save, STEP_BYTES, &piece);
        e = storage_checkpoint_piece(s, buf_all(&piece));
    }
    if (e == ERR_OK)
        e = storage_checkpoint_commit(s, &log_from);
    buf_close(&piece);
    machine_save_close(save);
    return e;
}

/* A log that begins behind the checkpoint, in its term: raft takes no state of a term that the hard
 * state does not know of. */
static enum err write_log(struct storage *s, struct machine *m)
{
    struct buf records;
    bool used;
    struct log_record r = { .type = LOG_HARD_STATE, .term = m->applied_term };
    buf_open(&records, m->alloc);
    log_batch_record(&records, &r);
    enum err e = storage_append(s, buf_all(&records), m->applied_index, 0, &used);
    buf_close(&records);
    return e;
}

static enum err any_piece(void *context, struct span piece)
{
    (void)context, (void)piece;
    return ERR_OK;
}

static enum err same_index(void *context, uint64_t index, uint64_t term)
{
    const struct machine *m = context;
    return index == m->applied_index && term == m->applied_term ? ERR_OK : ERR_CORRUPT;
}

static enum err no_record(void *context, const struct log_record *r)
{
    (void)context, (void)r;
    return ERR_CORRUPT;
}

static enum err in_storage(struct machine *m, const struct snapshot_restore *o, const char *dir,
                           enum err (*work)(struct storage *s, struct machine *m), char *why)
{
    struct storage_options options = { .dir = dir,
                                       .cluster = o->cluster,
                                       .member = o->member,
                                       .salt = o->salt,
                                       .incarnation = o->incarnation,
                                       .segment_bytes = o->segment_bytes };
    struct storage_reader reader = { m, any_piece, same_index, no_record };
    struct storage *s;
    enum err e = storage_open(m->alloc, &options, &s, why);
    if (e != ERR_OK)
        return e;
    e = storage_recover(s, &reader, why);
    if (e == ERR_OK) {
        e = work(s, m);
        if (e != ERR_OK)
            broken(e, why);
    }
    storage_close(s);
    return e;
}

enum err snapshot_restore(struct machine *m, const struct snapshot_restore *o, char *why)
{
    char part[PATH_BYTES], parent[PATH_BYTES];
    CHECK(m->applied_index > 0 && o->members.len > 0);
    int n = snprintf(part, sizeof(part), "%s.restore", o->dir);
    int k = snprintf(parent, sizeof(parent), "%s/..", o->dir);
    if (n < 0 || n >= PATH_BYTES || k < 0 || k >= PATH_BYTES)
        return refuse(ERR_BAD_REQUEST, why, o->dir, "the path is too long");
    enum err e = snapshot_must_be_free(o->dir, why);
    if (e == ERR_OK)
        e = snapshot_must_be_free(part, why); /* of a restore that was cut short */
    if (e != ERR_OK)
        return e;
    buf_reset(&m->members); /* the old members know nothing of this cluster */
    buf_span(&m->members, o->members);
    e = in_storage(m, o, part, write_state, why);
    if (e == ERR_OK)
        e = in_storage(m, o, part, write_log, why);
    if (e == ERR_OK) {
        e = file_rename(part, o->dir);
        if (e == ERR_OK)
            e = file_sync_dir(parent);
        if (e != ERR_OK)
            broken(e, why);
    }
    return e;
}

/* ---- the commands ---- */

static int complain(int status, const char *why)
{
    fprintf(stderr, "confman snapshot: %s\n", why);
    return status;
}

static void print_members(const struct machine *m, struct buf *out)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    struct peer_info info;
    size_t n = 0;
    struct span bytes = machine_members_now(m);
    if (bytes.len && raft_members_decode(bytes, members, &n) != ERR_OK)
        n = 0;
    for (size_t i = 0; i < n; i++)
        if (peer_info_decode(members[i].info, &info) == ERR_OK)
            buf_format(out, "%s%.*s=%.*s", i ? "," : "", (int)info.name.len,
                       (const char *)info.name.data, (int)info.peer_url.len,
                       (const char *)info.peer_url.data);
}

static void print_status(const struct machine *m, const struct snapshot_info *info, bool json)
{
    struct kv_stats stats;
    struct buf out, members;
    struct jsonw w;
    kv_stats(m->kv, &stats);
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = { { "index", (int64_t)m->applied_index },
                    { "term", (int64_t)m->applied_term },
                    { "revision", kv_revision(m->kv) },
                    { "compact_revision", kv_compact_revision(m->kv) },
                    { "keys", stats.keys },
                    { "leases", lease_count(m->lease) },
                    { "size_bytes", (int64_t)info->size_bytes } };
    buf_open(&out, m->alloc);
    buf_open(&members, m->alloc);
    print_members(m, &members);
    jsonw_open(&w, &out);
    jsonw_object(&w);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        jsonw_name(&w, numbers[i].name);
        jsonw_number(&w, numbers[i].value);
        if (!json)
            printf("%-17s %lld\n", numbers[i].name, (long long)numbers[i].value);
    }
    char digest[9], cluster[17];
    snprintf(digest, sizeof(digest), "%08x", m->digest);
    snprintf(cluster, sizeof(cluster), "%llx", (unsigned long long)info->cluster);
    jsonw_name(&w, "digest");
    jsonw_text(&w, span_text(digest));
    jsonw_name(&w, "cluster");
    jsonw_text(&w, span_text(cluster));
    jsonw_name(&w, "members");
    jsonw_text(&w, buf_all(&members));
    jsonw_object_end(&w);
    if (json)
        printf("%.*s\n", (int)out.len, (const char *)out.data);
    else
        printf("%-17s %s\n%-17s %s\n%-17s %.*s\n", "digest", digest, "cluster", cluster, "members",
               (int)members.len, (const char *)members.data);
    buf_close(&members);
    buf_close(&out);
}

static int status(struct machine *m, int argc, char **argv)
{
    char why[STORAGE_WHY_MAX];
    struct snapshot_info info;
    bool json = (argc == 3 && strcmp(argv[2], "--output=json") == 0) ||
                (argc == 4 && strcmp(argv[2], "--output") == 0 && strcmp(argv[3], "json") == 0);
    if (argc != 2 && !json)
        return complain(2, "usage: confman snapshot status FILE [--output json]");
    if (snapshot_read(argv[1], m, &info, why) != ERR_OK)
        return complain(1, why);
    print_status(m, &info, json);
    return 0;
}

/* Ids follow from the token: another one than any cluster has had, the same for all members that
 * restore the same file. */
static void renew_token(struct params *p, const struct machine *m, uint64_t cluster)
{
    size_t n = strlen(p->initial_cluster_token);
    snprintf(p->initial_cluster_token + n, sizeof(p->initial_cluster_token) - n,
             " from %llx at %llu, %08x", (unsigned long long)cluster,
             (unsigned long long)m->applied_index, m->digest);
}

enum err snapshot_restore_as(struct machine *m, struct params *p, uint64_t cluster, char *why)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    struct snapshot_restore o = { .dir = p->data_dir,
                                  .salt = loop_random(),
                                  .incarnation = loop_random() | 1,
                                  .segment_bytes = LOG_SEGMENT_BYTES };
    struct buf infos, encoded;
    size_t count = 0;
    renew_token(p, m, cluster);
    buf_open(&infos, m->alloc);
    buf_open(&encoded, m->alloc);
    enum err e = cluster_begin(p, members, &count, &o.cluster, &o.member, &infos, why);
    if (e == ERR_OK) {
        raft_members_encode(members, count, &encoded);
        o.members = buf_all(&encoded);
        e = snapshot_restore(m, &o, why);
    }
    buf_close(&encoded);
    buf_close(&infos);
    if (e == ERR_OK)
        printf("%s: cluster %llx, member %llx, of %zu, at revision %lld\n", p->data_dir,
               (unsigned long long)o.cluster, (unsigned long long)o.member, count,
               (long long)kv_revision(m->kv));
    return e;
}

static int restore(struct machine *m, int argc, char **argv)
{
    static struct params params;
    char why[STORAGE_WHY_MAX];
    struct snapshot_info info;
    if (argc < 2 || strncmp(argv[1], "--", 2) == 0)
        return complain(2, "usage: confman snapshot restore FILE --data-dir DIR [--name NAME "
                           "--initial-cluster NAME=HOST:PORT,... --initial-cluster-token TEXT]");
    if (param_read(&params, argc - 2, argv + 2, why) != ERR_OK)
        return complain(2, why);
    if (snapshot_read(argv[1], m, &info, why) != ERR_OK)
        return complain(1, why);
    return snapshot_restore_as(m, &params, info.cluster, why) == ERR_OK ? 0 : complain(1, why);
}

int node_snapshot(int argc, char **argv)
{
    struct alloc heap;
    struct machine m;
    alloc_heap(&heap);
    machine_open(&m, &heap);
    int result = strcmp(argv[0], "status") == 0 ? status(&m, argc, argv) : restore(&m, argc, argv);
    machine_close(&m);
    CHECK(heap.used == 0);
    if (fflush(stdout) != 0)
        return complain(1, "standard output cannot be written");
    return result;
}
