/* draft: what the files of drafts share. */
#pragma once
#include "api/rest/change.h"

#define DRAFTS "confman/draft/"
#define DRAFTS_DUE REST_DRAFTS_DUE

enum {
    DRAFT_KEYS_MAX = 10000,  /* of all drafts together: records, states, comments */
    DRAFT_EVENTS_MAX = 200,  /* comments and reviews of one */
    DRAFT_TEXT_MAX = 4000,   /* bytes of a comment */
    DRAFT_TITLE_MAX = 200,
    DRAFT_PAGE_BYTES = 4 << 20, /* of records that one page of a list has looked into */
};

#define DRAFT_TIME_MAX 9999999999999 /* ms since 1970: the year 2286 */

enum draft_verb {
    DRAFT_LIST,
    DRAFT_GET,
    DRAFT_PROPOSE,
    DRAFT_EDIT,
    DRAFT_DELETE,
    DRAFT_COMMENT,
    DRAFT_APPROVE,
    DRAFT_REJECT,
    DRAFT_PUBLISH,
    DRAFT_SCHEDULE,
    DRAFT_CANCEL,
};
enum draft_state { DRAFT_OPEN, DRAFT_SCHEDULED, DRAFT_PUBLISHED, DRAFT_REJECTED, DRAFT_FAILED };

struct draft_call {
    enum draft_verb verb;
    int64_t id, at_ms;
    struct span title, text;
    struct span state; /* list: only these; "" all */
    int64_t before, limit;
};

struct draft_event {
    struct span type, text, by;
    int64_t edit, at_ms;
};

struct draft {
    int64_t id;
    const struct kv_version *record, *state_key; /* state_key: NULL, it is open */
    struct span title, log, environment, why;
    const struct jdoc *changes, *base;
    enum draft_state state;
    int64_t at_ms; /* scheduled for */
    struct draft_event *events; /* draft_events fills them in */
    size_t n_events;
};

/* ---- draft.c ---- */

struct span draft_key(struct arena *arena, int64_t id, const char *below);
bool draft_find(const struct kv *kv, int64_t id, struct arena *arena, struct draft *out);
void draft_events(const struct kv *kv, struct draft *d, struct arena *arena);
struct span draft_author(const struct kv *kv, const struct kv_version *v);
struct guard draft_guard(const struct change_call *c, const struct kv *kv, struct arena *arena);
void draft_items(struct change_call *c, const struct draft *d, struct arena *arena);
bool draft_moved(const struct draft *d, size_t i, const struct kv *kv, const struct change *x);
struct span draft_state_name(enum draft_state s);

/* ---- draft_may.c: ERR_OK, or why not, as machine_permits says ---- */

/* Whether who asks might read all that c changes. */
enum err draft_may_read(const struct rest_call *call, const struct change_call *c,
                        struct arena *arena) MUST_CHECK;
/* Whether who asks may publish all of it: whoever may both put and delete it, or has the verb for
 * that: may write the key of the same name below "confman/publish/". */
enum err draft_may_publish(const struct rest_call *call, const struct change_call *c,
                           struct arena *arena) MUST_CHECK;
/* Whether who asks may propose it: whoever may do any of that to it, or has the verb propose; or
 * may write all of "confman/draft", not the drafts alone. */
enum err draft_may_propose(const struct rest_call *call, const struct change_call *c,
                           struct arena *arena) MUST_CHECK;
/* Whether who asks might read all that the draft changes. */
enum err draft_may_see(const struct rest_call *call, const struct draft *d,
                       struct arena *arena) MUST_CHECK;
/* As draft_may_publish, of reviewing, by that user (empty: who asks); the verb is approve. */
enum err draft_may_review(const struct rest_call *call, struct span as,
                          const struct change_call *c, struct arena *arena) MUST_CHECK;
/* Whether who asks may edit the draft, delete it or take back its time: who proposed it, and who
 * may review it. */
enum err draft_may_alter(const struct rest_call *call, const struct kv *kv, const struct draft *d,
                         struct arena *arena) MUST_CHECK;
/* Those who have approved the draft as it is and might do so still, each once. c: its items. */
size_t draft_approvers(const struct rest_call *call, const struct change_call *c,
                       const struct kv *kv, const struct draft *d, bool author_too,
                       struct arena *arena, struct span *out); /* room for DRAFT_EVENTS_MAX */

/* ---- draft_write.c ---- */

void draft_answer(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                  struct rest_answer *out);
void draft_list(const struct rest_call *call, const struct kv *kv, struct arena *arena,
                struct rest_answer *out);
