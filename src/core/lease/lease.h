/* lease: which leases live, until when, and which keys hang on them.
 *
 * Replicated: id, granted TTL, keys, and a note of the time that was left: changed by commands
 * only. Local to the leader: the deadline, in its own monotonic milliseconds; renewals do not go
 * through the log. When a deadline has passed the node proposes a revoke and marks the lease as
 * expiring: a renewal that comes then waits for the revoke and finds the lease gone.
 *
 * How deadlines survive a change of leader, never early and not much late:
 *
 *   A note says "when this entry was proposed, the lease had this much time left". The leader
 *   proposes one when half of the time is gone, and again when half of the newest note is; clients
 *   renew every third of the TTL, so a lease that is looked after never has one. A new leader gives
 *   each lease what its note says, or the full TTL without one, from now on (lease_restart).
 *
 *   Late: by what passed since the note was proposed, at most half of what it says (of the TTL
 *   without one) and LEASE_NOTE_MS_MIN, and by the time the entry took and there was no leader.
 *
 *   Early is to end before the time that a leader promised in an answer: a renewal's arrival and
 *   the TTL. A note was true when it was proposed, and time only went on. What could make it a lie
 *   is a renewal answered after it was proposed, so:
 *   1. A lease with a note, applied or on its way, is renewed in three steps: the leader proposes a
 *      note of 0 (LEASE_NOTED), waits until that is applied, and only then answers. It proposes its
 *      own entries in order and no note while a clearing one is on its way; so the clearing one
 *      stands behind every note that it has proposed, and whoever has applied it owes the lease the
 *      full TTL. If it is lost the client has no answer.
 *   2. Notes on their way from former terms are not in this table's books. So a leader counts
 *      deadlines, answers renewals, proposes notes and expires from when it has applied the first
 *      entry of its own term, not before: what former terms left is then applied or void (Raft 6.4
 *      has the same rule for reads). The clearing notes of former terms are applied then too.
 *   3. Somebody else may have become leader, and begun to count, before the renewal came. So a
 *      leader answers a renewal only when a quorum has taken it for the leader after it came: as
 *      for a linearizable read.
 *   4. A lease may be revoked and granted again under its id while a note for the old one is on
 *      its way. So a note tells which state it was made from (as_of), and is void for what was
 *      granted since; and so does the revoke of a lease whose time has passed.
 *   Clocks: only lengths of time cross from one node to another, so that a clock that is off or
 *   jumps changes nothing; all that is asked is that a second is as long everywhere.
 *
 * Pure: time comes in as an argument. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

struct lease_table;

enum {
    LEASE_TTL_MIN_S = 2,      /* etcd: ceil(1.5 x election timeout) at its defaults */
    LEASE_NOTES_MAX = 10000,  /* in one entry */
    LEASE_NOTE_MS_MIN = 1000, /* between two entries of notes; with less left no note is due */
    LEASE_LOOKS_MAX = 20000,  /* leases looked at for one entry, the rest waits for the next: enough
                               * for 400,000 that are renewed every 20 s */
};
#define LEASE_TTL_MAX_S INT64_C(9000000000) /* etcd lease/lessor.go */

struct lease_table *lease_open(struct alloc *alloc);
void lease_close(struct lease_table *t);

/* ---- commands ---- */

/* id is chosen before the log and not 0. ttl_s below LEASE_TTL_MIN_S was raised before the log.
 * index is the entry's. ERR_LEASE_EXISTS, ERR_LEASE_TTL_TOO_LARGE. */
enum err lease_grant(struct lease_table *t, int64_t id, int64_t ttl_s, uint64_t index,
                     int64_t now_ms) MUST_CHECK;

/* Takes the lease away and gives the keys that hung on it, sorted, in the arena.
 * ERR_LEASE_NOT_FOUND. */
enum err lease_revoke(struct lease_table *t, int64_t id, struct arena *arena, struct span **keys,
                      size_t *n) MUST_CHECK;

struct lease_note {
    int64_t id;
    int64_t remaining_ms; /* when it was proposed; 0: the note that was no longer holds */
};
/* Quiet about a lease that is not known as of as_of. A note of the whole TTL is none. */
void lease_note(struct lease_table *t, const struct lease_note *note, uint64_t as_of);

/* Whether it lives and is the one that lived when the entry of index as_of was the newest applied,
 * not granted again since. */
bool lease_known_as_of(const struct lease_table *t, int64_t id, uint64_t as_of);
bool lease_known(const struct lease_table *t, int64_t id);

/* Both are quiet about leases that are not there. Key bytes are copied. */
void lease_attach(struct lease_table *t, int64_t id, struct span key);
void lease_detach(struct lease_table *t, int64_t id, struct span key);

/* ---- deadlines: the leader's, from the first entry of its term on ---- */

/* Deadlines begin to count anew, each with what its note says or the full TTL; what was on its way
 * is forgotten. When the first entry of one's own term is applied. */
void lease_restart(struct lease_table *t, int64_t now_ms);

enum lease_renewal {
    LEASE_RENEWED,
    LEASE_GONE,
    LEASE_EXPIRING, /* a revoke is on its way: ask again after it */
    LEASE_NOTED,    /* propose a note of 0 and ask again when it is applied */
    LEASE_CLEARING, /* such a note is on its way: ask again when it is applied */
};

/* RENEWED fills ttl_s (as granted); NOTED and CLEARING have moved the deadline too, but may not be
 * answered yet. */
enum lease_renewal lease_renew(struct lease_table *t, int64_t id, int64_t now_ms, int64_t *ttl_s);

/* The next lease whose deadline has passed and that is not yet expiring; marks it so. 0: none.
 * Never before its deadline. */
int64_t lease_expire(struct lease_table *t, int64_t now_ms);

/* The revoke of lease_expire, or the note of LEASE_NOTED, could not be proposed: the next
 * lease_expire or lease_renew may try again. */
void lease_not_proposed(struct lease_table *t, int64_t id);

/* What to put into the next entry of notes, at most LEASE_NOTES_MAX, in the arena; 0: nothing. They
 * count as on their way: a renewal has to clear them. One that is not applied by the next call is
 * given again. */
size_t lease_notes_due(struct lease_table *t, int64_t now_ms, struct arena *arena,
                       struct lease_note **out);

/* When lease_expire will next find something; INT64_MAX when no lease lives. */
int64_t lease_deadline_ms(const struct lease_table *t);

/* ---- reading ---- */

struct lease_info {
    int64_t id, ttl_s;
    int64_t remaining_ms; /* 0 when passed */
    struct span *keys;    /* sorted, in the arena; only when asked for */
    size_t n_keys;
};
/* ERR_LEASE_NOT_FOUND. */
enum err lease_look(const struct lease_table *t, int64_t id, int64_t now_ms, bool with_keys,
                    struct arena *arena, struct lease_info *out) MUST_CHECK;

/* Visits the keys of one lease (none, if it is not known), or of all, in order, until visit does
 * not say ERR_OK; that is the answer. */
enum err lease_keys_each(const struct lease_table *t, int64_t id,
                         enum err (*visit)(void *context, struct span key),
                         void *context) MUST_CHECK;
enum err lease_keys_all(const struct lease_table *t,
                        enum err (*visit)(void *context, struct span key),
                        void *context) MUST_CHECK;

/* A memory of who was found to be permitted all keys of a lease, so that they need not be gone
 * through for every key that is put to it: who, an address that is only compared, and as of which
 * revision of auth. A key that comes to the lease ends it. Not replicated: it only saves time. */
bool lease_cleared(const struct lease_table *t, int64_t id, const void *who, uint64_t revision);
void lease_clear(struct lease_table *t, int64_t id, const void *who, uint64_t revision);

/* All ids, soonest deadline first, in the arena. */
size_t lease_list(const struct lease_table *t, struct arena *arena, int64_t **ids);
int64_t lease_count(const struct lease_table *t);

/* All, in order of id. noted_ms: of the newest note, 0 without one. */
void lease_walk(const struct lease_table *t,
                void (*visit)(void *context, int64_t id, int64_t ttl_s, int64_t noted_ms),
                void *context);

/* ---- checkpoint: id, TTL, note and index of the grant of each, in order of id; keys come back by
 * lease_attach while the store loads ---- */
void lease_save(const struct lease_table *t, struct buf *out);
/* old: as they were before there were notes, id and TTL. ERR_CORRUPT. */
enum err lease_load(struct lease_table *t, struct span *records, bool old,
                    int64_t now_ms) MUST_CHECK;
