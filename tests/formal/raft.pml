/* raft: election and replication as src/core/raft does them, three nodes, small enough to try
 * every order of events. tests/formal/run says how it is checked, docs/testing.md what it covers.
 *
 * A step of the model is one event of one node, as in raft_step, and it is atomic. Where the code
 * decides when to do something (time-outs, what to send, how far back to probe), the model may do
 * it at any time: what holds here does not hang on timers, pre-vote or flow control.
 *
 * Network: what was once sent may be heard at any time after, in any order, often, or never. There
 * is no queue and so no bound to it: a message says something that stays true (what a candidate's
 * log was, what is in the log of a term's leader, what was voted or acknowledged), so that the
 * model keeps, for each term, all that was said in it. Replies are not heard one by one: who needs
 * two of three answers may go on once they were given, or later.
 *
 * Disk: records are written in order and in the background, so what is on disk is always what
 * memory was at some time before, and a crash goes back to it. A write that is late but done before
 * the next crash can as well be done at once: then promises are given sooner, but nobody has to
 * hear them sooner. What is left are nodes whose disk does nothing from some moment until they
 * crash: here a node is either not lazy, and all it knows is on disk, or lazy, and stays so until
 * it crashes. What a lazy node hears, it might as well never have heard, as it promises nothing
 * after. Others can see only that it leads; so unless LAZY_ALL is set, that is all that it does.
 *
 * Broken on purpose, each a -D flag, and each must be refuted:
 *   COUNT_OLD_TERM    an entry of an older term commits by counting (against Raft 3.6.2)
 *   VOTE_NOT_KEPT     a vote is given before it is on disk, and a crash forgets it (3.8)
 *   NO_LOG_CHECK      a vote is given to a candidate whose log is behind (3.6.1)
 *   NO_MATCH          entries are taken whatever stands before them (3.5)
 *   NO_CUT            entries that contradict the leader's are kept (3.5)
 *   COUNT_SELF_EARLY  a leader counts itself for entries that are not on its disk (10.2.1)
 *   ACK_EARLY         entries are acknowledged before they are on disk (3.8); LAZY_ALL
 *   ASK_EARLY         votes are asked for before the candidate's own, and with it all of its log,
 *                     is on disk; LAZY_ALL */

#ifndef TERMS
#define TERMS 3
#endif
#ifndef LOG
#define LOG 2
#endif
#if TERMS < 2 || TERMS > 5 || LOG < 1 || LOG > 3
#error "out of the bounds of the packed fields and of the lists of steps"
#endif

/* ONE_LED: a head start of one term: begin where 0 has been elected in term 1 by 1 and has its
 * first entry on its own disk alone. Raft's figure 3.7 takes four terms; this is the first of
 * them. */

/* ---- logs, packed: the term of each entry, three bits each, the first lowest; 0 is no entry ----
 * An entry needs no content: a leader makes one entry at an index, so index and term name it.
 * Indexes begin at 1; the term at 0 is 0. */

#define TERM_AT(log, k) ((((log) << 3) >> (3 * (k))) & 7)
#define UP_TO(log, k) ((log) & ((1 << (3 * (k))) - 1))
#define WITH(log, k, t) ((log) | ((t) << (3 * ((k) - 1))))
#define LEN(log) (((log) > 0) + ((log) > 7) + ((log) > 63))
/* The greater, the more up to date (3.6.1); never 0. */
#define NEWNESS(log) (TERM_AT(log, LEN(log)) * 4 + LEN(log) + 1)

#define MIN(a, b) ((a) < (b) -> (a) : (b))

/* ---- state ---- */

#define FOLLOWER 0
#define CANDIDATE 1
#define LEADER 2
#define NOBODY 3

typedef node_state {
    unsigned term : 3;
    unsigned vote : 2;
    unsigned role : 2; /* a crash takes it */
    unsigned log : 9;
    /* what a crash leaves; when not lazy that is the above, and these are 0 */
    unsigned lazy : 1;
    unsigned disk_term : 3;
    unsigned disk_vote : 2;
    unsigned disk_log : 9;
    unsigned on_disk : 2 /* entries up to here are on disk, as the node knows */
}
node_state n[3];

/* What was said in a term. */
typedef term_state {
    unsigned asks : 15;   /* each candidate's NEWNESS, five bits each; 0: did not ask */
    unsigned granted : 3; /* a bit for each candidate: another's vote was given, which makes two */
    unsigned leader : 2;  /* who led, + 1; 0: nobody yet */
    unsigned log : 9;     /* the leader's, as far as it ever was */
    unsigned commit : 2;  /* the leader's */
    unsigned acked : 6    /* two bits for each follower: up to where */
}
term_state t[TERMS + 1];

#define ASKED(t_, c) ((t[t_].asks >> (5 * (c))) & 31)
#define ACKED(t_, j) ((t[t_].acked >> (2 * (j))) & 3)
#define NEXT(i, d) (((i) + (d)) % 3)

/* Only for the properties. */
unsigned committed : 9; /* the log of what any node ever held for committed */
unsigned commit_in : 9; /* for each of those, the term whose leader did first */

hidden int a, k, x;

/* ---- properties ---- */

/* Log matching (3.5): the same term at an index means the same log up to there. */
#define MATCHING_AT(p, q, k) \
    (TERM_AT(p, k) == 0 || TERM_AT(p, k) != TERM_AT(q, k) || UP_TO(p, k) == UP_TO(q, k))
#define MATCHING(p, q) (MATCHING_AT(p, q, 1) && MATCHING_AT(p, q, 2) && MATCHING_AT(p, q, 3))
#define LOGS_MATCH \
    (MATCHING(n[0].log, n[1].log) && MATCHING(n[1].log, n[2].log) && MATCHING(n[0].log, n[2].log))

/* Leader completeness (3.6.3): what was committed in an earlier term is in the log. */
#define HAS(i, k) \
    (TERM_AT(commit_in, k) == 0 || TERM_AT(commit_in, k) >= n[i].term || \
     TERM_AT(n[i].log, k) == TERM_AT(committed, k))
#define COMPLETE(i) (HAS(i, 1) && HAS(i, 2) && HAS(i, 3))

/* State machine safety (3.6.3): no two nodes ever apply different entries at an index. */
inline leader_commits(i, index)
{
    x = MIN(index, LEN(committed));
    assert(UP_TO(committed, x) == UP_TO(n[i].log, x));
    t[n[i].term].commit = index;
    do
    :: LEN(committed) < index ->
        k = LEN(committed) + 1;
        committed = WITH(committed, k, TERM_AT(n[i].log, k));
        commit_in = WITH(commit_in, k, n[i].term)
    :: else -> break
    od;
    x = 0
}

inline follower_commits(i, index)
{
    assert(UP_TO(committed, index) == UP_TO(n[i].log, index))
}

/* ---- steps ---- */

#define DISK_TERM(i) (n[i].lazy -> n[i].disk_term : n[i].term)
#ifdef VOTE_NOT_KEPT
#define VOTE_ON_DISK(i) true
#else
#define VOTE_ON_DISK(i) \
    (!n[i].lazy || (n[i].disk_term == n[i].term && n[i].disk_vote == n[i].vote))
#endif
#define ON_DISK(i) (n[i].lazy -> n[i].on_disk : LEN(n[i].log))
#ifdef COUNT_SELF_EARLY
#define OWN(i) LEN(n[i].log)
#else
#define OWN(i) ON_DISK(i)
#endif
#ifdef COUNT_OLD_TERM
#define MAY_COUNT(i, index) true
#else
#define MAY_COUNT(i, index) (TERM_AT(n[i].log, index) == n[i].term)
#endif
#ifdef NO_LOG_CHECK
#define FIT(i, t_, c) true
#else
#define FIT(i, t_, c) (ASKED(t_, c) >= NEWNESS(n[i].log))
#endif

#ifdef NO_MATCH
#define FITS_BEHIND(i, t_, after) (after <= LEN(n[i].log))
#else
#define FITS_BEHIND(i, t_, after) (TERM_AT(n[i].log, after) == TERM_AT(t[t_].log, after))
#endif
#ifdef ASK_EARLY
#define MAY_ASK(i) true
/* It may crash and ask again in the same term. */
#define WAITS_FOR_VOTES(c, t_) (n[c].term < t_ || (n[c].term == t_ && n[c].role == CANDIDATE))
#else
#define MAY_ASK(i) (!n[i].lazy)
#define WAITS_FOR_VOTES(c, t_) (n[c].term == t_ && n[c].role == CANDIDATE)
#endif
#ifdef LAZY_ALL
#define MAY_GROW_LAZY(i) (!n[i].lazy)
#define HEARS(i) true
#else
#define MAY_GROW_LAZY(i) (!n[i].lazy && n[i].role != FOLLOWER)
#define HEARS(i) (!n[i].lazy)
#endif

/* Two of three have it on disk. */
#define BOTH(i, j, index) (OWN(i) >= index && ACKED(n[i].term, j) >= index)
#define QUORUM_HAS(i, index) \
    (BOTH(i, NEXT(i, 1), index) || BOTH(i, NEXT(i, 2), index) || \
     (ACKED(n[i].term, NEXT(i, 1)) >= index && ACKED(n[i].term, NEXT(i, 2)) >= index))

/* Nothing of term t_ matters to j any more, even after a crash. */
#define PAST(j, t_) (DISK_TERM(j) > t_)
#define VOTED(j, t_) (DISK_TERM(j) == t_ && (n[j].lazy -> n[j].disk_vote : n[j].vote) != NOBODY)
#define LEADS(i, t_) (n[i].role == LEADER && n[i].term == t_)
#define DEAF(j, t_) (PAST(j, t_) || VOTED(j, t_))

inline forget_request(t_, c)
{
    if
    :: DEAF(NEXT(c, 1), t_) && DEAF(NEXT(c, 2), t_) ->
        t[t_].asks = t[t_].asks & (32767 - (31 << (5 * c)))
    :: else
    fi
}

inline forget_log(t_, i)
{
    if
    :: t[t_].leader == i + 1 && !LEADS(i, t_) && PAST(NEXT(i, 1), t_) && PAST(NEXT(i, 2), t_) ->
        t[t_].log = 0;
        t[t_].commit = 0
    :: else
    fi
}

/* What can do nothing any more is forgotten, so that states that differ in it alone are one. */
inline forget()
{
    x = 1;
    do
    :: x <= TERMS ->
#ifndef VOTE_NOT_KEPT
        forget_request(x, 0);
        forget_request(x, 1);
        forget_request(x, 2);
#endif
        forget_log(x, 0);
        forget_log(x, 1);
        forget_log(x, 2);
        if
        :: PAST(0, x) && PAST(1, x) && PAST(2, x) ->
            t[x].granted = 0;
            t[x].leader = 0
        :: else
        fi;
        x++
    :: else -> break
    od;
    x = 0
}

/* A follower again: answers that still come are for nobody. */
inline step_down(i)
{
    if
    :: n[i].role == LEADER -> t[n[i].term].acked = 0
#ifndef ASK_EARLY
    :: n[i].role == CANDIDATE -> t[n[i].term].granted = t[n[i].term].granted & (7 - (1 << i))
#endif
    :: else
    fi;
    n[i].role = FOLLOWER
}

inline go_to_term(i, t_)
{
    if
    :: t_ > n[i].term -> step_down(i); n[i].term = t_; n[i].vote = NOBODY
    :: else
    fi
}

inline campaign(i)
{
    step_down(i);
    n[i].term++;
    n[i].vote = i;
    n[i].role = CANDIDATE;
    k = NEWNESS(n[i].log);
    /* What was heard of an earlier campaign of this term, before a crash, counts as well. */
    if
    :: MAY_ASK(i) && k > ASKED(n[i].term, i) ->
        t[n[i].term].asks = (t[n[i].term].asks & (32767 - (31 << (5 * i)))) | (k << (5 * i))
    :: else
    fi;
    forget()
}

inline on_vote(i, t_, c)
{
    go_to_term(i, t_);
    if
    :: n[i].vote == NOBODY && FIT(i, t_, c) ->
        n[i].vote = c;
        if
        :: VOTE_ON_DISK(i) && WAITS_FOR_VOTES(c, t_) ->
            t[t_].granted = t[t_].granted | (1 << c)
        :: else
        fi
    :: else
    fi;
    forget()
}

inline new_entry(i)
{
    n[i].log = WITH(n[i].log, LEN(n[i].log) + 1, n[i].term);
    t[n[i].term].log = n[i].log;
    assert(LOGS_MATCH)
}

inline lead(i)
{
    /* Election safety (3.4), also against the same node before a crash. */
    assert(t[n[i].term].leader == 0);
    t[n[i].term].leader = i + 1;
    assert(COMPLETE(i));
    t[n[i].term].granted = t[n[i].term].granted & (7 - (1 << i));
    n[i].role = LEADER;
    t[n[i].term].log = n[i].log;
    if
    :: LEN(n[i].log) < LOG -> new_entry(i)
    :: else /* the bound of the model: it leads, but commits nothing */
    fi;
    forget()
}

inline acknowledge(i, index)
{
#ifdef ACK_EARLY
    k = index;
#else
    k = MIN(index, ON_DISK(i));
#endif
    x = t[n[i].term].leader - 1;
    if
    :: k > ACKED(n[i].term, i) && LEADS(x, n[i].term) ->
        t[n[i].term].acked = (t[n[i].term].acked & (63 - (3 << (2 * i)))) | (k << (2 * i))
    :: else
    fi
}

inline on_entry(i, index, term)
{
    if
    :: TERM_AT(n[i].log, index) == 0 -> n[i].log = WITH(n[i].log, index, term)
#ifndef NO_CUT
    :: TERM_AT(n[i].log, index) != 0 && TERM_AT(n[i].log, index) != term ->
        n[i].log = WITH(UP_TO(n[i].log, index - 1), index, term);
        n[i].on_disk = (n[i].lazy -> MIN(n[i].on_disk, index - 1) : 0)
#endif
    :: else
    fi;
    assert(LOGS_MATCH)
}

/* The entry behind after, or none: several at once are as good as one after the other. The commit
 * index of a message may be an older one, but what that says, a newer one says too. */
inline on_append(i, t_, after, entry)
{
    go_to_term(i, t_);
    assert(n[i].role != LEADER);
    step_down(i);
    if
    :: FITS_BEHIND(i, t_, after) ->
        if
        :: entry -> on_entry(i, after + 1, TERM_AT(t[t_].log, after + 1))
        :: else
        fi;
        acknowledge(i, after + entry);
        x = MIN(after + entry, t[t_].commit);
        follower_commits(i, x)
    :: else
    fi;
    forget()
}

inline grow_lazy(i)
{
    n[i].lazy = 1;
    n[i].disk_term = n[i].term;
    n[i].disk_vote = n[i].vote;
    n[i].disk_log = n[i].log;
    n[i].on_disk = LEN(n[i].log)
}

inline crash(i)
{
    step_down(i);
    if
    :: n[i].lazy ->
        n[i].term = n[i].disk_term;
        n[i].vote = n[i].disk_vote;
        n[i].log = n[i].disk_log;
        n[i].lazy = 0;
        n[i].disk_term = 0;
        n[i].disk_vote = 0;
        n[i].disk_log = 0;
        n[i].on_disk = 0
    :: else
    fi;
#ifdef VOTE_NOT_KEPT
    n[i].vote = NOBODY;
#endif
    forget()
}

/* ---- a node: anything that it can do, at any time ---- */

#define HEAR_VOTE(t_, c) \
    :: d_step { HEARS(self) && ASKED(t_, c) && \
                (t_ > n[self].term || \
                 (t_ == n[self].term && n[self].vote == NOBODY && FIT(self, t_, c))) -> \
        on_vote(self, t_, c) }
#define FROM_LEADER(t_) \
    HEARS(self) && t[t_].leader && t[t_].leader != self + 1 && t_ >= n[self].term
#define HEAR_HEARTBEAT(t_, after) \
    :: d_step { FROM_LEADER(t_) && after <= LEN(t[t_].log) -> on_append(self, t_, after, 0) }
#define HEAR_ENTRY(t_, after) \
    :: d_step { FROM_LEADER(t_) && after < LEN(t[t_].log) -> on_append(self, t_, after, 1) }
#define COMMIT(index) \
    :: d_step { n[self].role == LEADER && index > t[n[self].term].commit && \
                index <= LEN(n[self].log) && MAY_COUNT(self, index) && \
                QUORUM_HAS(self, index) -> \
        leader_commits(self, index) }

#define OF_LOG_1(t_) \
    HEAR_HEARTBEAT(t_, 0) HEAR_HEARTBEAT(t_, 1) HEAR_ENTRY(t_, 0)
#if LOG > 1
#define OF_LOG_2(t_) HEAR_HEARTBEAT(t_, 2) HEAR_ENTRY(t_, 1)
#else
#define OF_LOG_2(t_)
#endif
#if LOG > 2
#define OF_LOG_3(t_) HEAR_HEARTBEAT(t_, 3) HEAR_ENTRY(t_, 2)
#else
#define OF_LOG_3(t_)
#endif
#define OF_TERM(t_) \
    HEAR_VOTE(t_, NEXT(self, 1)) HEAR_VOTE(t_, NEXT(self, 2)) \
    OF_LOG_1(t_) OF_LOG_2(t_) OF_LOG_3(t_)

proctype node(byte self)
{
    do
    /* A leader that campaigns stands for one that stepped down, for whatever reason. All are equal
     * at first: whoever is first to campaign may be called 0. */
    :: d_step { HEARS(self) && n[self].term < TERMS &&
                (self == 0 || n[0].term || n[1].term || n[2].term) -> campaign(self) }
    :: d_step { n[self].role == CANDIDATE && VOTE_ON_DISK(self) &&
                (t[n[self].term].granted & (1 << self)) -> lead(self) }
    :: d_step { n[self].role == LEADER && LEN(n[self].log) < LOG -> new_entry(self) }
    OF_TERM(1)
    OF_TERM(2)
#if TERMS > 2
    OF_TERM(3)
#endif
#if TERMS > 3
    OF_TERM(4)
#endif
#if TERMS > 4
    OF_TERM(5)
#endif
    COMMIT(1)
#if LOG > 1
    COMMIT(2)
#endif
#if LOG > 2
    COMMIT(3)
#endif
    :: d_step { MAY_GROW_LAZY(self) -> grow_lazy(self) }
    :: d_step { n[self].lazy || n[self].role != FOLLOWER || n[self].vote != NOBODY ->
        crash(self) }
    od
}

init
{
    d_step {
        n[0].vote = NOBODY; n[1].vote = NOBODY; n[2].vote = NOBODY;
#ifdef ONE_LED
        n[0].term = 1; n[0].vote = 0; n[0].role = LEADER; n[0].log = 1;
        n[1].term = 1; n[1].vote = 0;
        t[1].leader = 1; t[1].log = 1; t[1].asks = NEWNESS(0);
#endif
    }
    atomic { run node(0); run node(1); run node(2) }
}
