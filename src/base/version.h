/* version: what this build calls itself. */
#pragma once

#define CONFMAN_VERSION "0.1.0"
