/* deliveries: /v1/deliveries: what every member knows of who runs what (core/delivery), put
 * together by the one that was asked. A member that does not answer in time is named as such. */
#pragma once
#include <stdint.h>
#include "link/peer/peer.h"

struct call;
struct node;

enum { DELIVERIES_WAIT_MS = 1000, DELIVERIES_ASKED_MAX = 100 /* requests under way */ };

void deliveries_begin(struct call *call);
void deliveries_gone(struct call *call); /* it waits no longer */
void deliveries_frame(struct node *n, uint64_t from, const struct peer_frame *f);
