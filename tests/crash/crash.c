/* Storage over a disk that fails at every call, one after another.
 *
 * A run: a process works until its N-th call of the disk meets a fault; the next ones may meet one
 * as well; the last two meet none. Each process first reads what is there, and that must be all
 * that was acknowledged, in order, and at most the one batch more that was under way. Meanwhile
 * snapshots from elsewhere are received, and take the place of what was there. Storage may
 * refuse to open only while its calls fail, and never says that bytes are damaged. Then bit rot:
 * bytes that were synced are changed one at a time, files are cut; storage must refuse them, or not
 * have needed them. Only the newest batch cannot be told from one that was torn.
 *
 * `crash` runs N = 1, 2, ... for every fault until none is met; `crash FAULT N SEED` one of
 * them, `crash rot 0 SEED` the second part. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/buf.h"
#include "base/check.h"
#include "base/crc.h"
#include "base/prng.h"
#include "file_fault.h"
#include "io/file/file.h"
#include "node/storage.h"

enum {
    ENTRIES_MAX = 800,
    SEGMENT_BYTES = 64 << 10,
    DATA_WORDS_MAX = 750, /* so that some batches are of several blocks */
    STEPS = 45,
    LIVES = 4,
    SEEDS = 3,
    FULL_RETRIES = 3,
    ROT_SEEDS = 3,
    ROT_FLIPS = 250,
    EDGE = 50,
    PAD_WORDS = 22, /* so that checkpoints are longer than what is synced at once */
    CHUNK_MAX = 12 << 10,
};

static const char *const fault_names[FAULT_COUNT] = { "none", "error", "errors", "full",
                                                      "fulls", "kill",  "power" };

/* What a log says: entries 1 to last, how far they are committed, the hard state. */
struct model {
    uint64_t value[ENTRIES_MAX + 1], term[ENTRIES_MAX + 1];
    uint64_t last, hard_term, hard_vote;
};

static struct model durable, pending, seen, before; /* before: without the newest batch */
static struct model midway; /* an install has only cut the log */
static bool has_pending, has_midway;
static uint64_t committed;
static struct prng prng;
static struct alloc heap;
/* What a leader offers: its state at an index that is not committed here. It outlives processes. */
static struct model offered;
static struct buf offered_bytes;
static struct storage_offer offer; /* index 0: none */
static bool receiving;             /* offers are made */
static bool faulty;  /* this disk has met a fault */
static bool spoiled; /* staging has failed: the file may be there still, with bytes that are not */
static int installs, resumes, sent;
static uint64_t incarnation; /* as the first process that was not refused found it */
static char problem[2048];

static bool failed(const char *what, const char *detail)
{
    snprintf(problem, sizeof(problem), "%s: %s", what, detail);
    return false;
}

/* The data of an entry follows from its value. */
static void put_data(struct buf *out, uint64_t value)
{
    struct prng p = { value };
    buf_u64(out, value);
    uint64_t words = prng_below(&p, 8) ? prng_below(&p, 25) : prng_below(&p, DATA_WORDS_MAX);
    while (words-- > 0)
        buf_u64(out, prng_next(&p));
}

static bool same(const struct model *a, const struct model *b)
{
    return a->last == b->last && a->hard_term == b->hard_term && a->hard_vote == b->hard_vote &&
           memcmp(a->value, b->value, (a->last + 1) * sizeof(*a->value)) == 0 &&
           memcmp(a->term, b->term, (a->last + 1) * sizeof(*a->term)) == 0;
}

/* A checkpoint has all entries, with something behind each. */
static void put_entry(struct buf *out, const struct model *m, uint64_t i)
{
    buf_u64(out, m->value[i]);
    buf_u64(out, m->term[i]);
    for (int k = 0; k < PAD_WORDS; k++)
        buf_u64(out, m->value[i]);
}

/* ---- reading ---- */

struct reading {
    uint64_t checkpoint;
};

static enum err take_piece(void *context, struct span piece)
{
    CHECK(context != NULL);
    while (piece.len) {
        uint64_t value, term;
        struct span pad;
        if (!span_u64(&piece, &value) || !span_u64(&piece, &term) ||
            !span_take(&piece, PAD_WORDS * 8, &pad) || seen.last == ENTRIES_MAX)
            return ERR_CORRUPT;
        seen.value[++seen.last] = value;
        seen.term[seen.last] = term;
    }
    return ERR_OK;
}

static enum err take_checkpoint(void *context, uint64_t index, uint64_t term)
{
    struct reading *r = context;
    r->checkpoint = index;
    return index == seen.last && term == seen.term[index] ? ERR_OK : ERR_CORRUPT;
}

static enum err take_entry(const struct log_record *r)
{
    struct span data = r->data;
    uint64_t value = 0;
    struct buf b;
    if (r->index != seen.last + 1 || !span_u64(&data, &value))
        return ERR_CORRUPT;
    buf_open(&b, &heap);
    put_data(&b, value);
    bool good = span_equal(buf_all(&b), r->data);
    buf_close(&b);
    seen.value[++seen.last] = value;
    seen.term[seen.last] = r->term;
    return good ? ERR_OK : ERR_CORRUPT;
}

static enum err take_record(void *context, const struct log_record *r)
{
    struct reading *reading = context;
    switch (r->type) {
    case LOG_ENTRY:
        return take_entry(r);
    case LOG_HARD_STATE:
        seen.hard_term = r->term;
        seen.hard_vote = r->vote;
        return ERR_OK;
    case LOG_TRUNCATE:
        while (seen.last > reading->checkpoint && seen.last >= r->index)
            seen.last--;
        return ERR_OK;
    }
    return ERR_CORRUPT;
}

static enum err open_and_read(struct storage **s, char *why)
{
    struct storage_options o = { .dir = "data",
                                 .cluster = 7,
                                 .member = 8,
                                 .salt = prng_next(&prng),
                                 .incarnation = prng_next(&prng) | 1,
                                 .segment_bytes = SEGMENT_BYTES };
    struct reading r = { 0 };
    struct storage_reader reader = { &r, take_piece, take_checkpoint, take_record };
    seen = (struct model){ .last = 0 };
    enum err e = storage_open(&heap, &o, s, why);
    if (e != ERR_OK)
        return e;
    e = storage_recover(*s, &reader, why);
    if (e != ERR_OK)
        storage_close(*s);
    else if (r.checkpoint > committed) /* installed by a process that did not live to tell */
        committed = r.checkpoint;
    return e;
}

/* ---- working ---- */

struct work {
    struct storage *s;
    uint64_t spare, spares_made, trim_from;
    uint64_t checkpoint, written; /* under way: its index, how many entries are in it */
    struct model snapshot;
    int fulls;
    bool quiet; /* nothing is appended in this life */
    bool staging;
    uint64_t staged; /* of the offer */
    struct storage_source source;
    struct buf sent; /* what the source gave when it was opened */
};

static void record(struct buf *out, struct log_record r)
{
    log_batch_record(out, &r);
}

/* What one update of raft has for the disk: cut, hard state, entries. */
static void make_update(struct model *m, struct buf *out)
{
    if (m->last > committed && prng_below(&prng, 5) == 0) {
        m->last = committed + prng_below(&prng, m->last - committed);
        record(out, (struct log_record){ .type = LOG_TRUNCATE, .index = m->last + 1 });
    }
    if (prng_below(&prng, 8) == 0 || m->hard_term == 0) {
        m->hard_term++;
        m->hard_vote = 1 + prng_below(&prng, 3);
        record(out, (struct log_record){ .type = LOG_HARD_STATE,
                                         .term = m->hard_term,
                                         .vote = m->hard_vote });
    }
    for (uint64_t n = prng_below(&prng, 3); n > 0 && m->last < ENTRIES_MAX; n--) {
        struct buf data;
        buf_open(&data, &heap);
        m->value[++m->last] = prng_next(&prng);
        m->term[m->last] = m->hard_term;
        put_data(&data, m->value[m->last]);
        record(out, (struct log_record){ .type = LOG_ENTRY,
                                         .entry_type = 2,
                                         .index = m->last,
                                         .term = m->hard_term,
                                         .data = buf_all(&data) });
        buf_close(&data);
    }
}

/* Grows *m by a batch, and writes its records: of several updates, so that cuts stand between
 * entries and void some of the same batch. */
static void make_batch(struct model *m, struct buf *out)
{
    for (uint64_t n = 1 + prng_below(&prng, 3); n > 0; n--)
        make_update(m, out);
}

/* Nothing that an offer could contradict. */
static void commit(void)
{
    if (durable.last > committed && !offer.index)
        committed += prng_below(&prng, durable.last - committed + 1);
}

/* False: the process ends here. */
static bool append(struct work *w)
{
    struct buf records;
    bool used = false;
    enum err e;
    buf_open(&records, &heap);
    pending = durable;
    make_batch(&pending, &records);
    do {
        e = ERR_OK;
        if (records.len)
            e = storage_append(w->s, buf_all(&records), pending.last, w->spare, &used);
        w->spare = used ? 0 : w->spare;
        if (e == ERR_DISK_FULL && ++w->fulls == FULL_RETRIES)
            disk_arm(FAULT_NONE, 0); /* somebody has made room */
    } while (e == ERR_DISK_FULL && w->fulls <= FULL_RETRIES);
    bool wrote = records.len > 0;
    buf_close(&records);
    has_pending = e != ERR_OK;
    if (e == ERR_OK) {
        if (wrote)
            before = durable;
        durable = pending;
        commit();
    }
    return e == ERR_OK;
}

/* The same care that the node takes: what fails here is tried again later. */
static void checkpoint(struct work *w)
{
    struct buf piece;
    enum err e;
    if (!w->checkpoint) {
        if (!committed || prng_below(&prng, 6))
            return;
        w->checkpoint = committed;
        w->written = 0;
        w->snapshot = durable;
        e = storage_checkpoint_begin(w->s, committed, durable.term[committed]);
    } else if (w->written < w->checkpoint) {
        buf_open(&piece, &heap);
        for (uint64_t n = 1 + prng_below(&prng, 60); n > 0 && w->written < w->checkpoint; n--) {
            put_entry(&piece, &w->snapshot, ++w->written);
        }
        e = storage_checkpoint_piece(w->s, buf_all(&piece));
        buf_close(&piece);
    } else {
        e = storage_checkpoint_commit(w->s, &w->trim_from);
        w->checkpoint = 0;
    }
    if (e != ERR_OK) {
        storage_checkpoint_cancel(w->s);
        w->checkpoint = 0;
    }
}

/* ---- a snapshot comes from elsewhere ---- */

static void put_checksum(struct buf *b, size_t at, size_t from)
{
    uint32_t crc = crc32c(0, b->data + from, b->len - from);
    for (size_t i = 0; i < 4; i++)
        b->data[at + i] = (uint8_t)(crc >> 8 * i);
}

/* A checkpoint's file as docs/formats/disk.md has it. */
static void write_offer(struct buf *b)
{
    uint64_t bytes = 0;
    uint32_t pieces = 0;
    buf_reset(b);
    buf_text(b, "CNFK");
    buf_u32(b, 1);
    buf_u64(b, 7);
    buf_u64(b, 9);
    buf_u64(b, offer.index);
    buf_u64(b, offer.term);
    buf_u32(b, 0);
    b->len -= 4;
    put_checksum(b, b->len, 0);
    b->len += 4;
    for (uint64_t i = 0; i < offer.index; pieces++) {
        size_t start = b->len;
        uint64_t n = 1 + prng_below(&prng, 40);
        n = n > offer.index - i ? offer.index - i : n;
        buf_text(b, "CNFP");
        buf_u32(b, 0);
        buf_u32(b, (uint32_t)(n * (2 + PAD_WORDS) * 8));
        buf_u32(b, pieces);
        bytes += n * (2 + PAD_WORDS) * 8;
        while (n-- > 0)
            put_entry(b, &offered, ++i);
        put_checksum(b, start + 4, start + 8);
    }
    size_t end = b->len;
    buf_text(b, "CNFE");
    buf_u32(b, 0);
    buf_u64(b, pieces);
    buf_u64(b, bytes);
    put_checksum(b, end + 4, end + 8);
}

/* plain: nothing of the log is void, and the term stays, so that an install writes no batch. */
static void make_offer(bool plain)
{
    offered = durable;
    offer.index = (plain ? durable.last : committed) + 1 + prng_below(&prng, 12);
    offer.term = durable.hard_term + (plain ? 0 : prng_below(&prng, 2));
    if (offer.index <= durable.last && durable.term[offer.index] == offer.term)
        offer.term++;
    for (uint64_t i = committed + 1; i <= offer.index; i++) {
        offered.value[i] = prng_next(&prng);
        offered.term[i] = offer.term;
    }
    offered.last = offer.index;
    write_offer(&offered_bytes);
    offer.size = offered_bytes.len;
    offer.id = prng_next(&prng) | 1;
}

/* As raft_wants has it. */
static bool wanted(void)
{
    return offer.index > committed &&
           (offer.index > durable.last || durable.term[offer.index] != offer.term);
}

static enum err check_staged(struct work *w)
{
    struct storage_load l;
    struct span piece;
    char why[STORAGE_WHY_MAX];
    enum err e = storage_stage_load(w->s, &l, why);
    if (e != ERR_OK)
        return e;
    seen = (struct model){ .last = 0 };
    while ((e = storage_load_next(&l, &piece, why)) == ERR_OK)
        if (take_piece(&l, piece) != ERR_OK)
            break;
    storage_load_close(&l);
    seen.hard_term = offered.hard_term;
    seen.hard_vote = offered.hard_vote;
    return e == ERR_END && same(&seen, &offered) ? ERR_OK : e == ERR_IO ? e : ERR_CORRUPT;
}

static size_t count_files(const char *prefix)
{
    size_t n = 0;
    for (size_t i = 0; disk_name(i); i++)
        n += strncmp(disk_name(i), prefix, strlen(prefix)) == 0;
    return n;
}

static void raise_term(struct model *m)
{
    if (m->hard_term < offer.term) {
        m->hard_term = offer.term;
        m->hard_vote = 0;
    }
}

static bool install(struct work *w)
{
    enum err e;
    if (w->checkpoint)
        storage_checkpoint_cancel(w->s);
    w->checkpoint = 0;
    midway = durable;
    if (midway.last >= offer.index)
        midway.last = offer.index - 1;
    raise_term(&midway);
    pending = offered;
    pending.hard_term = midway.hard_term;
    pending.hard_vote = midway.hard_vote;
    do {
        e = storage_install(w->s);
        if (e == ERR_DISK_FULL && ++w->fulls == FULL_RETRIES)
            disk_arm(FAULT_NONE, 0);
    } while (e == ERR_DISK_FULL && w->fulls <= FULL_RETRIES);
    has_pending = has_midway = e != ERR_OK;
    if (e != ERR_OK)
        return false;
    installs++;
    faulty = faulty || disk_hit();
    CHECK(faulty || (count_files("checkpoint-") == 1 && count_files("staged-") == 0));
    before = durable = pending;
    committed = offer.index;
    offer.index = 0;
    w->staging = false;
    return true;
}

/* What fails is tried again from the begin; but a connection that breaks goes on. */
static void stage(struct work *w)
{
    enum err e;
    if (!w->staging) {
        e = storage_stage_begin(w->s, &offer, &w->staged);
        resumes += e == ERR_OK && w->staged > 0;
    } else {
        uint64_t len = 1 + prng_below(&prng, CHUNK_MAX), rest = offer.size - w->staged;
        struct span chunk = span_of(offered_bytes.data + w->staged, len < rest ? len : rest);
        CHECK(storage_stage_chunk(w->s, w->staged + 1, chunk) == ERR_BAD_REQUEST);
        e = storage_stage_chunk(w->s, w->staged, chunk);
        w->staged += chunk.len;
    }
    w->staging = e == ERR_OK && prng_below(&prng, 10);
    spoiled = spoiled || (e != ERR_OK && !disk_dead());
    if (e != ERR_OK)
        storage_stage_drop(w->s);
}

/* False: the process ends here. */
static bool receive(struct work *w, bool *good)
{
    if (!offer.index && durable.last + 20 < ENTRIES_MAX && durable.hard_term && receiving &&
        prng_below(&prng, w->quiet ? 2 : 12) == 0)
        make_offer(w->quiet);
    if (!offer.index)
        return true;
    if (wanted() && (!w->staging || w->staged < offer.size)) {
        stage(w);
        return true;
    }
    enum err e = wanted() ? check_staged(w) : ERR_NOT_FOUND;
    if (e == ERR_OK)
        return install(w);
    if (e == ERR_CORRUPT && !spoiled)
        *good = failed("what was received is damaged", "");
    if (!wanted() || prng_below(&prng, 2))
        offer.index = 0;
    storage_stage_drop(w->s);
    w->staging = false;
    return true;
}

/* ---- and goes elsewhere ---- */

static enum err read_source(struct work *w, struct buf *out)
{
    enum err e = ERR_OK;
    buf_reset(out);
    while (e == ERR_OK && out->len < w->source.offer.size) {
        size_t rest = w->source.offer.size - out->len, n = rest < CHUNK_MAX ? rest : CHUNK_MAX;
        e = storage_source_read(&w->source, out->len, buf_room(out, n), n);
        out->len += n;
    }
    return e;
}

/* An open source gives the same bytes for as long as it is open. */
static bool send(struct work *w)
{
    struct buf again;
    if (!w->source.file) {
        if (prng_below(&prng, 8) == 0 && storage_source_open(w->s, &w->source) != ERR_OK)
            w->source.file = NULL;
        if (w->source.file && read_source(w, &w->sent) != ERR_OK)
            storage_source_close(&w->source);
        return true;
    }
    if (prng_below(&prng, 16))
        return true;
    buf_open(&again, &heap);
    enum err e = read_source(w, &again);
    bool good = e == ERR_OK ? span_equal(buf_all(&again), buf_all(&w->sent)) : disk_hit();
    buf_close(&again);
    storage_source_close(&w->source);
    sent++;
    return good || failed("an open source has changed", "");
}

static bool work(struct work *w, int steps, bool *good)
{
    for (int i = 0; i < steps; i++) {
        if (!w->quiet && !append(w))
            return false;
        if (!w->spare && prng_below(&prng, 2)) {
            w->spares_made++;
            if (storage_spare(w->s, w->spares_made) == ERR_OK)
                w->spare = w->spares_made;
        }
        checkpoint(w);
        if (w->trim_from && storage_trim(w->s, w->trim_from) == ERR_OK)
            w->trim_from = 0;
        if (!receive(w, good) || !*good)
            return false;
        *good = send(w);
    }
    return true;
}

/* ---- one process after another ---- */

static bool check_seen(void)
{
    char text[200];
    if (same(&seen, &durable) || (has_pending && same(&seen, &pending)) ||
        (has_midway && same(&seen, &midway))) {
        durable = seen;
        has_pending = has_midway = false;
        return true;
    }
    snprintf(text, sizeof(text),
             "read back %d entries, hard state %d/%d; acknowledged were %d, %d/%d%s",
             (int)seen.last, (int)seen.hard_term, (int)seen.hard_vote, (int)durable.last,
             (int)durable.hard_term, (int)durable.hard_vote,
             has_pending ? ", and one batch was under way" : "");
    return failed("what came back is not what was acknowledged", text);
}

/* One process's life. It may be refused only for the fault's sake. */
static bool live(int steps)
{
    char why[STORAGE_WHY_MAX] = "";
    struct work w = { .quiet = steps < STEPS && prng_below(&prng, 3) == 0 };
    enum err e = open_and_read(&w.s, why);
    if (e != ERR_OK) {
        if (!why[0])
            return failed("refused without a reason", err_text(e));
        bool excused = disk_hit() && (e == ERR_IO || e == ERR_DISK_FULL);
        return excused || failed("refused to open", why);
    }
    if (incarnation && incarnation != storage_incarnation(w.s))
        return failed("the directory has changed its incarnation", "");
    incarnation = storage_incarnation(w.s);
    bool fresh = !seen.last && !seen.hard_term;
    if (storage_is_new(w.s) != fresh)
        return failed(fresh ? "a new directory passes for a used one"
                            : "a used directory passes for a new one", "");
    w.spare = storage_spare_found(w.s);
    w.spares_made = w.spare;
    buf_open(&w.sent, &heap);
    bool good = check_seen();
    bool alive = good && work(&w, steps, &good);
    faulty = faulty || disk_hit();
    if (w.source.file)
        storage_source_close(&w.source);
    buf_close(&w.sent);
    storage_close(w.s);
    if (good && !alive && !disk_hit())
        return failed("a write failed without a fault", "");
    return good;
}

/* The identity of format 1, which had no incarnation: magic, format, cluster, member, checksum. */
static void leave_old_identity(void)
{
    struct buf b;
    struct file *f;
    buf_open(&b, &heap);
    buf_text(&b, "CNFI");
    buf_u32(&b, 1);
    buf_u64(&b, 7);
    buf_u64(&b, 8);
    buf_u32(&b, crc32c(0, b.data, b.len));
    bool made = file_open("data/identity", FILE_CREATE, &f) == ERR_OK &&
                file_write(f, 0, buf_all(&b)) == ERR_OK && file_sync(f) == ERR_OK &&
                file_sync_dir("data") == ERR_OK;
    CHECK(made);
    file_close(f);
    buf_close(&b);
}

static void begin(uint64_t seed)
{
    prng.state = seed;
    disk_wipe(seed ^ 0x5555);
    durable = pending = before = (struct model){ .last = 0 };
    has_pending = has_midway = spoiled = faulty = false;
    receiving = true;
    committed = incarnation = offer.index = 0;
    if (seed % 2)
        leave_old_identity();
}

/* met: whether the n-th call came at all. */
static bool run(enum fault fault, uint64_t n, uint64_t seed, bool *met)
{
    begin(seed);
    for (uint64_t i = 1; i < seed % SEEDS; i++) /* some begin with a directory that is in use */
        if (!live(STEPS))
            return false;
    disk_arm(fault, n);
    bool good = live(STEPS);
    *met = disk_hit();
    for (int i = 0; i < LIVES && good; i++) {
        disk_restart(fault != FAULT_KILL && prng_below(&prng, 2));
        if (i == 0 && fault == FAULT_KILL) /* what the cache has must not be taken for granted */
            disk_arm(FAULT_POWER, 1 + prng_below(&prng, 30));
        else if (i < LIVES - 2 && prng_below(&prng, 2))
            disk_arm(FAULT_ERROR + (enum fault)prng_below(&prng, FAULT_COUNT - FAULT_ERROR),
                     1 + prng_below(&prng, 60));
        good = live(i < LIVES - 1 ? STEPS / 3 : 0);
    }
    buf_close(&offered_bytes);
    CHECK(heap.used == 0);
    return good;
}

/* ---- bit rot ---- */

static const char *newest_segment(void)
{
    const char *newest = "";
    for (size_t i = 0; disk_name(i); i++)
        if (strncmp(disk_name(i), "log-", 4) == 0 && strcmp(disk_name(i), newest) > 0)
            newest = disk_name(i);
    return newest;
}

/* Reads a disk on which name is damaged. */
static bool read_rotten(const char *name, const char *newest, int *refused, int *harmless)
{
    char why[STORAGE_WHY_MAX] = "";
    struct storage *s;
    enum err e = open_and_read(&s, why);
    if (e == ERR_OK)
        storage_close(s);
    if (e == ERR_CORRUPT || e == ERR_FORMAT || e == ERR_FOREIGN) {
        ++*refused;
        bool told = strstr(why, name) != NULL || strncmp(name, "log-", 4) == 0;
        return told || failed("refused, but the file is not named", why);
    }
    ++*harmless;
    bool whole = e == ERR_OK && same(&seen, &durable);
    bool newest_lost = e == ERR_OK && strcmp(name, newest) == 0 && same(&seen, &before);
    return whole || newest_lost || failed("read damaged bytes as good ones", why);
}

/* Changes the byte at `at`, or cuts the file there. */
static bool damage(const char *name, size_t at, bool cut, int *refused, int *harmless)
{
    char copy[64], newest[64], text[100];
    size_t len;
    snprintf(copy, sizeof(copy), "%s", name);
    snprintf(newest, sizeof(newest), "%s", newest_segment());
    uint8_t *bytes = disk_bytes(copy, &len);
    if (cut)
        disk_cut(copy, at);
    else
        bytes[at] = (uint8_t)(bytes[at] ^ (1 + prng_below(&prng, 255)));
    disk_restart(true);
    bool good = read_rotten(copy, newest, refused, harmless);
    disk_bring_back();
    snprintf(text, sizeof(text), " (%s, %s byte %zu)", copy, cut ? "cut at" : "changed", at);
    strncat(problem, text, sizeof(problem) - strlen(problem) - 1);
    return good;
}

/* A damaged newest checkpoint is refused; moved away, the older one and the log give everything. */
static bool fall_back(void)
{
    char name[64] = "", why[STORAGE_WHY_MAX] = "";
    struct storage *s;
    size_t len, checkpoints = 0;
    for (size_t i = 0; disk_name(i); i++)
        if (strncmp(disk_name(i), "checkpoint-", 11) == 0) {
            checkpoints++;
            if (strcmp(disk_name(i), name) > 0)
                snprintf(name, sizeof(name), "%s", disk_name(i));
        }
    if (checkpoints < STORAGE_CHECKPOINTS)
        return failed("the workload is too short", "there is one checkpoint only");
    disk_bytes(name, &len)[len / 2] ^= 1;
    disk_restart(true);
    if (open_and_read(&s, why) != ERR_CORRUPT || !strstr(why, name))
        return failed("a damaged checkpoint was not refused", why);
    disk_remove(name);
    enum err e = open_and_read(&s, why);
    if (e == ERR_OK)
        storage_close(s);
    disk_bring_back();
    return (e == ERR_OK && same(&seen, &durable)) || failed("no way back from a checkpoint", why);
}

static bool rot(uint64_t seed)
{
    int refused = 0, harmless = 0;
    begin(seed);
    for (int i = 0; i < 3; i++) {
        receiving = i < 2;
        if (!live(2 * STEPS))
            return false;
    }
    disk_restart(true);
    if (!live(0))
        return false;
    disk_keep();
    if (!fall_back())
        return false;
    for (size_t i = 0; disk_name(i); i++) {
        char name[64];
        size_t len;
        snprintf(name, sizeof(name), "%s", disk_name(i));
        disk_bytes(name, &len);
        for (size_t at = 0; at < len && at < EDGE; at++)
            if (!damage(name, at, false, &refused, &harmless) ||
                !damage(name, at, true, &refused, &harmless) ||
                !damage(name, len - 1 - at, true, &refused, &harmless))
                return false;
        for (int n = 0; n < ROT_FLIPS && len > EDGE; n++)
            if (!damage(name, prng_below(&prng, len), false, &refused, &harmless))
                return false;
    }
    if (!refused || !harmless)
        return failed("the damage proves nothing", "all refused, or none");
    return true;
}

/* ---- all of it ---- */

static int say(bool good, const char *what, uint64_t n, uint64_t seed)
{
    if (!good)
        fprintf(stderr, "FAIL crash: %s; again: crash %s %llu %llu\n", problem, what,
                (unsigned long long)n, (unsigned long long)seed);
    return !good;
}

static int run_all(void)
{
    int passed = 0, bad = 0;
    for (int f = FAULT_ERROR; f < FAULT_COUNT; f++) {
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            bool met = true;
            for (uint64_t n = 1; met && bad < 10; n++) {
                bool good = run((enum fault)f, n, seed, &met);
                bad += say(good, fault_names[f], n, seed);
                passed += good;
            }
        }
    }
    for (uint64_t seed = 1; seed <= ROT_SEEDS; seed++) {
        bool good = rot(seed);
        bad += say(good, "rot", 0, seed);
        passed += good;
    }
    if (!installs || !resumes || !sent)
        bad += say(false, "all", 0, 0);
    printf("%d passed, %d failed; %d snapshots sent, %d resumed, %d installed\n", passed, bad, sent,
           resumes, installs);
    return bad ? 1 : 0;
}

int main(int argc, char **argv)
{
    bool met;
    alloc_heap(&heap);
    buf_open(&offered_bytes, &heap);
    if (argc == 1)
        return run_all();
    if (argc == 4) {
        uint64_t n = strtoull(argv[2], NULL, 10), seed = strtoull(argv[3], NULL, 10);
        if (strcmp(argv[1], "rot") == 0)
            return say(rot(seed), argv[1], n, seed);
        for (int f = FAULT_ERROR; f < FAULT_COUNT; f++)
            if (strcmp(argv[1], fault_names[f]) == 0)
                return say(run((enum fault)f, n, seed, &met), argv[1], n, seed);
    }
    fprintf(stderr, "crash [error|errors|full|fulls|kill|power|rot N SEED]\n");
    return 2;
}
