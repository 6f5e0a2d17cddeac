/* The commands of a story that step raft. Every update is printed.
 *
 *   start ID members=ID[,ID] [term= vote= snapshot=INDEX/TERM] [INDEX/TERM:DATA...]
 *   timeout MS   submit DATA...   persisted NUMBER   ask ID   applied INDEX   entry INDEX
 *   receive TYPE from= term= index= index_term= commit= round= rejected= granted=
 *           [INDEX/TERM:DATA...]
 *   unreachable ID gone=   change ID[,ID] (voters)   transfer ID */
#include "story.h"
#include <stdlib.h>

static const char *const type_names[] = { "?", "empty", "command", "members" };
static const char *const message_names[RAFT_MESSAGE_TYPES] = {
    "?", "prevote", "prevote_reply", "vote", "vote_reply", "append", "append_reply", "timeout_now",
};

static void put_entry(struct buf *out, const struct raft_entry *e)
{
    buf_format(out, "%d/%d %s ", (int)e->index, (int)e->term, type_names[e->type]);
    if (e->type != RAFT_MEMBERS)
        story_put_bytes(out, e->data);
    buf_u8(out, '\n');
}

static void put_message(struct buf *out, const struct raft_message *m)
{
    buf_format(out, "  to %d: %s term=%d index=%d", (int)m->to, message_names[m->type],
               (int)m->term, (int)m->index);
    const struct {
        const char *name;
        uint64_t value;
    } rest[] = {
        { "index_term", m->index_term }, { "rejected", m->rejected }, { "commit", m->commit },
        { "round", m->round },           { "granted", m->granted },   { "transfer", m->transfer },
        { "entries", m->n_entries },
    };
    for (size_t i = 0; i < sizeof(rest) / sizeof(*rest); i++)
        if (rest[i].value)
            buf_format(out, " %s=%d", rest[i].name, (int)rest[i].value);
    buf_u8(out, '\n');
}

static void step(struct story *s, const struct raft_event *e)
{
    static const char *const roles[] = { "follower", "precandidate", "candidate", "leader" };
    struct raft_update up;
    enum err err = raft_step(s->raft, e, &up);
    if (err)
        buf_format(s->out, "error %s\n", err_code(err));
    buf_format(s->out, "%s term=%d leader=%d commit=%d", roles[up.role], (int)up.term,
               (int)up.leader, (int)up.commit_index);
    if (up.timeout_ms != INT64_MAX)
        buf_format(s->out, " timeout=%d", (int)up.timeout_ms);
    buf_u8(s->out, '\n');
    if (up.number)
        buf_format(s->out, "  write number=%d\n", (int)up.number);
    if (up.cut)
        buf_format(s->out, "  write cut=%d\n", (int)up.cut);
    if (up.hard_state_changed)
        buf_format(s->out, "  write term=%d vote=%d\n", (int)up.term, (int)up.vote);
    for (size_t i = 0; i < up.n_entries; i++) {
        buf_text(s->out, "  write ");
        put_entry(s->out, &up.entries[i]);
    }
    for (size_t i = 0; i < up.n_reads; i++)
        buf_format(s->out, "  read %d at %d\n", (int)up.reads[i].id, (int)up.reads[i].index);
    for (size_t i = 0; i < up.n_messages; i++)
        put_message(s->out, &up.messages[i]);
    for (size_t i = 0; i < up.n_snapshots; i++)
        buf_format(s->out, "  snapshot for %d\n", (int)up.snapshots[i]);
    if (up.reads_lost)
        buf_text(s->out, "  reads lost\n");
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

/* ID,ID...: voters. */
static size_t take_members(struct span word, struct raft_member *out)
{
    size_t count = 0;
    while (word.len && count < RAFT_MEMBERS_MAX) {
        const uint8_t *comma = memchr(word.data, ',', word.len);
        size_t n = comma ? (size_t)(comma - word.data) : word.len;
        uint64_t id = (uint64_t)number_of(span_of(word.data, n));
        out[count++] = (struct raft_member){ .id = id, .votes = RAFT_VOTER };
        word = span_from(word, comma ? n + 1 : n);
    }
    return count;
}

static size_t take_entries(struct words *w, struct raft_entry *out)
{
    size_t n = 0;
    while (w->n) {
        struct span word = words_next(w);
        struct raft_entry *e = &out[n++];
        const uint8_t *colon = memchr(word.data, ':', word.len);
        *e = take_place(word);
        if (colon)
            e->data = span_from(word, (size_t)(colon - word.data) + 1);
    }
    return n;
}

static void start(struct story *s, struct words *w)
{
    struct raft_entry entries[STORY_WORDS_MAX], snapshot = { 0 };
    struct raft_member members[RAFT_MEMBERS_MAX];
    struct span word;
    struct raft_start start = { .entries = entries, .members = members, .keep_bytes = 1 << 20 };
    words_next(w);
    start.self = (uint64_t)number_of(words_next(w));
    start.term = (uint64_t)words_number(w, "term", 0);
    start.vote = (uint64_t)words_number(w, "vote", 0);
    if (words_option(w, "snapshot", &word))
        snapshot = take_place(word);
    start.snapshot_index = snapshot.index;
    start.snapshot_term = snapshot.term;
    if (words_option(w, "members", &word))
        start.n_members = take_members(word, members);
    start.n_entries = take_entries(w, entries);
    raft_close(s->raft);
    s->raft = raft_open(&s->heap);
    step(s, &(struct raft_event){ .type = RAFT_START, .now_ms = s->now_ms, .start = &start });
}

static void receive(struct story *s, struct words *w)
{
    struct raft_entry entries[STORY_WORDS_MAX];
    struct raft_message m = { .to = 1, .entries = entries };
    words_next(w);
    struct span type = words_next(w);
    for (int i = 1; i < RAFT_MESSAGE_TYPES; i++)
        if (span_is(type, message_names[i]))
            m.type = (enum raft_message_type)i;
    m.from = (uint64_t)words_number(w, "from", 2);
    m.term = (uint64_t)words_number(w, "term", 0);
    m.index = (uint64_t)words_number(w, "index", 0);
    m.index_term = (uint64_t)words_number(w, "index_term", 0);
    m.commit = (uint64_t)words_number(w, "commit", 0);
    m.round = (uint64_t)words_number(w, "round", 0);
    m.rejected = (uint64_t)words_number(w, "rejected", 0);
    m.granted = words_number(w, "granted", 0) != 0;
    m.transfer = words_number(w, "transfer", 0) != 0;
    m.n_entries = take_entries(w, entries);
    step(s, &(struct raft_event){ .type = RAFT_RECEIVE, .now_ms = s->now_ms, .message = &m });
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
    step(s, &(struct raft_event){
                .type = RAFT_SUBMIT, .now_ms = s->now_ms, .submit = { w->items, w->n } });
    w->n = 0;
}

static void persisted(struct story *s, struct words *w)
{
    step(s, &(struct raft_event){
                .type = RAFT_PERSISTED, .now_ms = s->now_ms, .persisted = take_number(w) });
}

static void ask(struct story *s, struct words *w)
{
    step(s, &(struct raft_event){
                .type = RAFT_READ, .now_ms = s->now_ms, .read_id = take_number(w) });
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

static void unreachable(struct story *s, struct words *w)
{
    bool gone = words_number(w, "gone", 0) != 0;
    step(s, &(struct raft_event){ .type = RAFT_UNREACHABLE,
                                  .now_ms = s->now_ms,
                                  .peer = { take_number(w), gone } });
}

static void change(struct story *s, struct words *w)
{
    struct raft_member members[RAFT_MEMBERS_MAX];
    words_next(w);
    size_t n = take_members(words_next(w), members);
    step(s, &(struct raft_event){
                .type = RAFT_CHANGE, .now_ms = s->now_ms, .change = { members, n } });
}

static void transfer(struct story *s, struct words *w)
{
    step(s, &(struct raft_event){
                .type = RAFT_TRANSFER, .now_ms = s->now_ms, .transfer_to = take_number(w) });
}

const struct story_command raft_commands[] = {
    { "start", start },
    { "timeout", timeout },
    { "submit", submit },
    { "persisted", persisted },
    { "ask", ask },
    { "applied", applied },
    { "entry", entry },
    { "receive", receive },
    { "unreachable", unreachable },
    { "change", change },
    { "transfer", transfer },
    { NULL, NULL },
};
