/* Compaction by itself: the leader forgets history that is older than it was told to keep.
 *
 * Every member remembers what the newest revision was at which time, so that a new leader need not
 * begin from nothing. A process that starts knows no past: history is kept too long, never too
 * short. etcd's periodic and revision modes (etcdserver/api/v3compactor). */
#include <stdio.h>
#include <stdlib.h>
#include "base/check.h"
#include "node/etcdflag.h"
#include "node/node_int.h"

enum {
    PAST_MAX = 1024,
    HOUR_MS = 3600000,
    STEPS = 1000,    /* a retention is told apart in so many */
    EVERY_MS = 1000, /* and no finer than this */
};

bool compactor_open(struct node *n)
{
    struct compactor *c = &n->compactor;
    const struct params *p = &n->params;
    const char *keep = p->auto_compaction_retention, *why = "";
    char *end;
    long long number = strtoll(keep, &end, 10);
    bool whole = keep[0] && !*end && number >= 0, periodic;
    *c = (struct compactor){ .keep_ms = 0 };
    periodic = strcmp(p->auto_compaction_mode, "periodic") == 0;
    if (!periodic && strcmp(p->auto_compaction_mode, "revision") != 0)
        why = "auto-compaction-mode must be periodic or revision";
    else if (!periodic && !whole)
        why = "auto-compaction-retention must be a number of revisions";
    else if (!periodic)
        c->keep_revisions = number;
    else if (whole && number < INT32_MAX)
        c->keep_ms = number * HOUR_MS;
    else if (whole || !etcdflag_duration(keep, &c->keep_ms))
        why = "auto-compaction-retention must be a time like 30m or 12h, or a number of hours";
    if (why[0]) {
        slog(SLOG_ERROR, "auto-compaction", "error=%s", slog_quote(why));
        return false;
    }
    if (c->keep_ms)
        c->past = mem_zero(&n->alloc, PAST_MAX * sizeof(*c->past));
    return true;
}

void compactor_close(struct node *n)
{
    if (n->compactor.past)
        mem_free(&n->alloc, n->compactor.past, PAST_MAX * sizeof(struct past));
}

static void remember(struct compactor *c, int64_t now_ms, int64_t revision)
{
    CHECK(c->past);
    c->past[(c->first + c->n) % PAST_MAX] = (struct past){ now_ms, revision };
    if (c->n < PAST_MAX)
        c->n++;
    else
        c->first = (c->first + 1) % PAST_MAX;
}

/* The newest revision that is older than what is kept; 0: none is known. */
static int64_t old_enough(struct compactor *c, int64_t now_ms)
{
    int64_t found = 0;
    while (c->n && c->past[c->first].at_ms <= now_ms - c->keep_ms) {
        found = c->past[c->first].revision;
        c->first = (c->first + 1) % PAST_MAX;
        c->n--;
    }
    return found;
}

static int64_t wanted(struct compactor *c, int64_t now_ms, int64_t revision)
{
    if (c->keep_ms) {
        int64_t step = c->keep_ms / STEPS;
        c->next_ms = now_ms + (step > EVERY_MS ? step : 0);
        remember(c, now_ms, revision);
        return old_enough(c, now_ms);
    }
    /* Each compaction is an entry of the log: one for a tenth more than is kept. */
    int64_t over = revision - c->keep_revisions;
    return over - c->asked > c->keep_revisions / 10 ? over : 0;
}

void compactor_sweep(struct node *n)
{
    struct compactor *c = &n->compactor;
    int64_t now = loop_now_ms(n->loop), done = kv_compact_revision(n->machine.kv);
    if ((!c->keep_ms && !c->keep_revisions) || now < c->next_ms || transfer_loading(n))
        return;
    if (c->asked < done)
        c->asked = done;
    int64_t revision = wanted(c, now, kv_revision(n->machine.kv));
    if (revision <= c->asked || n->update.role != RAFT_LEADER)
        return;
    struct request r = { .type = REQUEST_COMPACT,
                         .author = SPAN("compactor"),
                         .auth_revision = REQUEST_BY_NODE,
                         .compact = { .revision = revision } };
    if (pump_propose(n, &r, NULL, 0) != ERR_OK)
        return; /* a later one will do */
    c->asked = revision;
    n->metrics.auto_compactions++;
    slog(SLOG_INFO, "compacting", "revision=%lld mode=%s retention=%s", (long long)revision,
         slog_quote(n->params.auto_compaction_mode),
         slog_quote(n->params.auto_compaction_retention));
}
