/* etcdstart: the parameters of a node that is started as etcd is: what etcd's flags mean, with
 * etcd's defaults, and what it insists on. */
#pragma once
#include "node/etcdflag.h"
#include "node/param.h"

/* ERR_BAD_REQUEST with the reason, PARAM_WHY_MAX bytes: a flag is refused, or they do not fit one
 * another. */
enum err etcdstart_params(const struct etcd_given *g, struct params *p, char *why) MUST_CHECK;

/* Logs which flags were given that have no meaning here. */
void etcdstart_tell(const struct etcd_given *g);
