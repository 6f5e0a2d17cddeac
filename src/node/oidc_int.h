/* oidc_int: what oidc.c and oidc_login.c share. */
#pragma once
#include "base/vec.h"
#include "io/fetch/fetch.h"
#include "node/login_int.h"
#include "node/oidc.h"
#include "wire/oidc/oidc.h"

struct oidc_checker {
    struct span id; /* of the key; may be empty */
    struct key *key;
};

enum oidc_stage { OIDC_IDLE, OIDC_DISCOVERY, OIDC_KEYS };

/* One request to the issuer, on a thread. */
struct oidc_job {
    struct job job;
    struct fetch fetch;
    struct alloc alloc; /* of body: the thread's */
    struct buf body, url, form;
    enum err err;
};

struct oidc {
    struct node *node;
    struct oidc_rule rules[OIDC_RULES_MAX];
    size_t n_rules;
    char audiences[2 * PARAM_TEXT_MAX]; /* of bearer tokens: oidc-audience, oidc-client-id */
    struct buf secret; /* of the client; empty: it has none */

    enum oidc_stage stage;
    struct worker *worker; /* of documents; NULL: not started yet */
    struct oidc_job job;
    struct arena found, ids;         /* of discovery, of keys */
    struct oidc_discovery discovery; /* issuer empty: not yet */
    VEC(struct oidc_checker) keys;
    size_t n_ids;                   /* keys, each counted once for all its methods */
    int64_t keys_ms, tried_ms; /* when they came, when last asked for; 0: never */
    size_t waiting;            /* calls */

    struct worker *threads[OIDC_CODE_THREADS]; /* of codes */
    size_t n_codes, next_thread;
};

/* Begins to ask, if that may be now. */
void oidc_refresh(struct node *n);
void oidc_job_open(struct oidc_job *j, const char *ca_file);
void oidc_job_close(struct oidc_job *j);
void oidc_job_run(struct job *job);
