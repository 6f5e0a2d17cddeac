/* The commands of a story that step raft. Every update is printed.
 *
 *   start ID members=ID[,ID] [term= vote= snapshot=INDEX/TERM] [INDEX/TERM:DATA...]
 *   timeout MS   submit DATA...   persisted INDEX   ask ID   applied INDEX   entry INDEX */
#include "story.h"
#include <stdlib.h>

static const char *const type_names[] = { "?", "empty", "command", "members" };

static void put_entry(struct buf *out, const struct raft_entry *e)
{
    buf_format(out, "%d/%d %s ", (int)e->index, (int)e->term, type_names[e->type]);
    story_put_bytes(out, e->data);
    buf_u8(out, '\n');
}

static void step(struct story *s, const struct raft_event *e)
{
    static const char *const roles[] = { "follower", "candidate", "leader" };
    struct raft_update up;
    enum err err = raft_step(s->raft, e, &up);
    if (err)
        buf_format(s->out, "error %s\n", err_code(err));
    buf_format(s->out, "%s term=%d leader=%d commit=%d", roles[up.role], (int)up.term,
               (int)up.leader, (int)up.commit_index);
    if (up.timeout_ms != INT64_MAX)
        buf_format(s->out, " timeout=%d", (int)up.timeout_ms);
    buf_u8(s->out, '\n');
    if (up.hard_state_changed)
        buf_format(s->out, "  write term=%d vote=%d\n", (int)up.term, (int)up.vote);
    for (size_t i = 0; i < up.n_entries; i++) {
        buf_text(s->out, "  write ");
        put_entry(s->out, &up.entries[i]);
    }
    for (size_t i = 0; i < up.n_reads; i++)
        buf_format(s->out, "  read %d at %d\n", (int)up.reads[i].id, (int)up.reads[i].index);
}

/* INDEX/TERM at the front of a word. */
static struct raft_entry take_place(struct span word)
{
    char text[32] = { 0 }, *end;
    memcpy(text, word.data, word.len < 31 ? word.len : 31);
    struct raft_entry e = { .type = RAFT_COMMAND };
    e.index = strtoull(text, &end, 10);
    e.term = *end == '/' ? strtoull(end + 1, NULL, 10) : 0;
    return e;
}

static void start(struct story *s, struct words *w)
{
    struct raft_entry entries[STORY_WORDS_MAX], snapshot = { 0 };
    uint64_t members[16];
    struct span word;
    struct raft_start start = { .entries = entries, .members = members };
    words_next(w);
    start.self = (uint64_t)number_of(words_next(w));
    start.term = (uint64_t)words_number(w, "term", 0);
    start.vote = (uint64_t)words_number(w, "vote", 0);
    if (words_option(w, "snapshot", &word))
        snapshot = take_place(word);
    start.snapshot_index = snapshot.index;
    start.snapshot_term = snapshot.term;
    if (words_option(w, "members", &word)) {
        while (word.len && start.n_members < 16) {
            const uint8_t *comma = memchr(word.data, ',', word.len);
            size_t n = comma ? (size_t)(comma - word.data) : word.len;
            members[start.n_members++] = (uint64_t)number_of(span_of(word.data, n));
            word = span_from(word, comma ? n + 1 : n);
        }
    }
    while (w->n) {
        word = words_next(w);
        struct raft_entry *e = &entries[start.n_entries++];
        const uint8_t *colon = memchr(word.data, ':', word.len);
        *e = take_place(word);
        if (colon)
            e->data = span_from(word, (size_t)(colon - word.data) + 1);
    }
    raft_close(s->raft);
    s->raft = raft_open(&s->heap);
    step(s, &(struct raft_event){ .type = RAFT_START, .now_ms = s->now_ms, .start = &start });
}

static uint64_t take_number(struct words *w)
{
    words_next(w);
    return (uint64_t)number_of(words_next(w));
}

static void timeout(struct story *s, struct words *w)
{
    s->now_ms = (int64_t)take_number(w);
    step(s, &(struct raft_event){ .type = RAFT_TIMEOUT, .now_ms = s->now_ms });
}

static void submit(struct story *s, struct words *w)
{
    words_next(w);
    step(s, &(struct raft_event){ .type = RAFT_SUBMIT, .submit = { w->items, w->n } });
    w->n = 0;
}

static void persisted(struct story *s, struct words *w)
{
    step(s, &(struct raft_event){ .type = RAFT_PERSISTED, .persisted_index = take_number(w) });
}

static void ask(struct story *s, struct words *w)
{
    step(s, &(struct raft_event){ .type = RAFT_READ, .read_id = take_number(w) });
}

static void applied(struct story *s, struct words *w)
{
    raft_applied(s->raft, take_number(w));
}

static void entry(struct story *s, struct words *w)
{
    struct raft_entry e;
    if (raft_entry_at(s->raft, take_number(w), &e))
        put_entry(s->out, &e);
    else
        buf_format(s->out, "not held; the last is %d\n", (int)raft_last_index(s->raft));
}

const struct story_command raft_commands[] = {
    { "start", start }, { "timeout", timeout }, { "submit", submit }, { "persisted", persisted },
    { "ask", ask },     { "applied", applied }, { "entry", entry },   { NULL, NULL },
};
