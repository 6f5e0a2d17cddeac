/* digest: whether all members have made the same state of the same log.
 *
 * The machine rolls a digest over every command and its answer. The leader tells every member, once
 * a second, what its own was after an entry; a member that had another one there raises the CORRUPT
 * alarm in its own name. Nothing is to be waited for: who is behind compares when it gets there,
 * and who is far ahead lets it be. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct node;
struct peer_digest;

enum { DIGESTS_KEPT = 4096 }; /* entries back; a power of two */

struct digests {
    uint32_t kept[DIGESTS_KEPT]; /* by index */
    uint64_t first, newest;      /* indexes that are kept; none: first > newest */
    uint64_t told_index;         /* by the leader, and not reached yet; 0: nothing */
    uint32_t told;
};

enum digest_verdict { DIGEST_SAME, DIGEST_DIFFERS, DIGEST_LATER, DIGEST_TOO_OLD };

/* The state after this index; another than the next one: what was kept is void. Whether what was
 * told for it differs. */
bool digest_keep(struct digests *d, uint64_t index, uint32_t digest);
/* LATER: digest_keep will tell. */
enum digest_verdict digest_compare(struct digests *d, uint64_t index, uint32_t digest);

void digest_applied(struct node *n); /* an entry, or a checkpoint */
void digest_told(struct node *n, uint64_t from, const struct peer_digest *m);
void digest_sweep(struct node *n); /* the leader tells */
