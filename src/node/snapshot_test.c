#include "node/snapshot.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/test.h"
#include "core/raft/raft.h"
#include "io/file/file.h"

enum { SEGMENT_BYTES = 64 << 10, PATH_BYTES = 300 };

static char root[] = "/tmp/confman-snapshot-XXXXXX";

static bool open_root(void)
{
    strcpy(root, "/tmp/confman-snapshot-XXXXXX");
    return mkdtemp(root) != NULL;
}

static void remove_name(void *context, const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s/%s", (const char *)context, name);
    if (unlink(path) != 0)
        return;
}

static bool remove_dir(const char *name)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof(path), "%s%s", root, name);
    return file_list(path, remove_name, path) == ERR_OK && rmdir(path) == 0;
}

static bool put(struct machine *m, struct alloc *heap, uint64_t index)
{
    struct arena arena;
    struct buf b;
    struct reply reply;
    const struct kv_change *changes;
    size_t n;
    char key[32];
    snprintf(key, sizeof(key), "key-%d", (int)index);
    struct request r = { .type = REQUEST_PUT,
                         .put = { .key = span_text(key), .value = SPAN("value") } };
    arena_open(&arena, heap);
    buf_open(&b, heap);
    machine_command(&r, 1700000000000, 1, &b);
    bool good = machine_apply(m, index, 3, buf_all(&b), 0, &arena, &reply, &changes, &n) == ERR_OK;
    buf_close(&b);
    arena_close(&arena);
    return good && reply.err == ERR_OK;
}

struct reading {
    struct machine m;
    uint64_t term, vote, index;
};

static enum err take_piece(void *context, struct span piece)
{
    struct reading *r = context;
    return machine_load(&r->m, piece);
}

static enum err take_checkpoint(void *context, uint64_t index, uint64_t term)
{
    struct reading *r = context;
    r->index = index;
    return term == 3 ? machine_load_end(&r->m) : ERR_CORRUPT;
}

static enum err take_record(void *context, const struct log_record *record)
{
    struct reading *r = context;
    r->term = record->term;
    r->vote = record->vote;
    return record->type == LOG_HARD_STATE ? ERR_OK : ERR_CORRUPT;
}

/* Makes a snapshot of a machine with some keys: a file as a node has it. */
static bool make_snapshot(struct alloc *heap, char path[PATH_BYTES])
{
    struct machine m;
    struct raft_member members[] = { { .id = 8, .votes = RAFT_VOTER } };
    struct snapshot_restore o = { .dir = path,
                                  .cluster = 7,
                                  .member = 8,
                                  .salt = 1,
                                  .incarnation = 2,
                                  .segment_bytes = SEGMENT_BYTES };
    struct buf b;
    char why[STORAGE_WHY_MAX];
    snprintf(path, PATH_BYTES, "%s/first", root);
    machine_open(&m, heap);
    buf_open(&b, heap);
    raft_members_encode(members, 1, &b);
    o.members = buf_all(&b);
    bool good = true;
    for (uint64_t i = 1; i <= 2000; i++)
        good = put(&m, heap, i) && good;
    good = snapshot_restore(&m, &o, why) == ERR_OK && good;
    machine_close(&m);
    buf_close(&b);
    snprintf(path, PATH_BYTES, "%s/first/checkpoint-%016x", root, 2000);
    return good;
}

TEST(snapshot_makes_a_new_directory)
{
    struct alloc heap;
    struct machine m;
    struct reading r = { .index = 0 };
    struct snapshot_info info;
    char path[PATH_BYTES], dir[PATH_BYTES], why[STORAGE_WHY_MAX] = "";
    alloc_heap(&heap);
    EXPECT(open_root() && make_snapshot(&heap, path));
    machine_open(&m, &heap);
    EXPECT(snapshot_read(path, &m, &info, why) == ERR_OK);
    EXPECT(info.cluster == 7 && info.member == 8 && m.applied_index == 2000);
    EXPECT(kv_revision(m.kv) == 2001 && info.pieces >= 5);
    snprintf(dir, sizeof(dir), "%s/second", root);
    struct snapshot_restore o = { .dir = dir,
                                  .cluster = 70,
                                  .member = 80,
                                  .members = SPAN("other members"),
                                  .salt = 1,
                                  .incarnation = 90,
                                  .segment_bytes = SEGMENT_BYTES };
    uint32_t digest = m.digest;
    EXPECT(snapshot_restore(&m, &o, why) == ERR_OK);
    EXPECT(snapshot_restore(&m, &o, why) == ERR_BAD_REQUEST && strstr(why, dir));
    struct storage_options s_options = { .dir = dir,
                                         .cluster = 1,
                                         .member = 1,
                                         .incarnation = 1,
                                         .segment_bytes = SEGMENT_BYTES };
    struct storage_reader reader = { &r, take_piece, take_checkpoint, take_record };
    struct storage *s;
    machine_open(&r.m, &heap);
    EXPECT(storage_open(&heap, &s_options, &s, why) == ERR_OK);
    EXPECT(storage_cluster(s) == 70 && storage_member(s) == 80 && storage_incarnation(s) == 90);
    EXPECT(storage_recover(s, &reader, why) == ERR_OK && !storage_is_new(s));
    EXPECT(r.index == 2000 && r.term == 3 && r.vote == 0 && r.m.digest == digest);
    EXPECT(kv_revision(r.m.kv) == 2001 && span_is(machine_members_now(&r.m), "other members"));
    storage_close(s);
    machine_close(&r.m);
    machine_close(&m);
    EXPECT(remove_dir("/first") && remove_dir("/second") && remove_dir("") && heap.used == 0);
}

static enum err read_damaged(struct alloc *heap, const char *path, struct span bytes)
{
    struct machine m;
    struct snapshot_info info;
    struct file *f;
    char why[STORAGE_WHY_MAX] = "";
    enum err e = file_open(path, FILE_CREATE, &f);
    if (e == ERR_OK) {
        e = file_write(f, 0, bytes);
        file_close(f);
    }
    machine_open(&m, heap);
    if (e == ERR_OK)
        e = snapshot_read(path, &m, &info, why);
    machine_close(&m);
    return e != ERR_OK && !strstr(why, path) ? ERR_INTERNAL : e;
}

TEST(snapshot_must_be_whole)
{
    struct alloc heap;
    struct file *f;
    uint64_t size = 0;
    char path[PATH_BYTES];
    alloc_heap(&heap);
    EXPECT(open_root() && make_snapshot(&heap, path));
    EXPECT(file_open(path, FILE_READ, &f) == ERR_OK && file_size(f, &size) == ERR_OK);
    uint8_t *bytes = mem_alloc(&heap, size);
    EXPECT(file_read(f, 0, bytes, size) == ERR_OK);
    file_close(f);
    EXPECT(read_damaged(&heap, path, span_of(bytes, size)) == ERR_OK);
    for (size_t at = 0; at < size; at += 1 + size / 50) {
        EXPECT(read_damaged(&heap, path, span_of(bytes, at)) == ERR_CORRUPT);
        bytes[at] ^= 4;
        enum err e = read_damaged(&heap, path, span_of(bytes, size));
        EXPECT(e == ERR_CORRUPT || e == ERR_FORMAT);
        bytes[at] ^= 4;
    }
    mem_free(&heap, bytes, size);
    EXPECT(remove_dir("/first") && remove_dir("") && heap.used == 0);
}
