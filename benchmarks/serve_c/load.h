/* Load: many threads, each answer compared with the one that is known. */
#ifndef LOAD_H_
#define LOAD_H_

#include <stdint.h>

#include "server.h"

/* Keeps threads busy; see `--load` in serve.c.
 *
 * Ends the program where an answer differs, when all threads are done.
 */
void load(const Server* server, const char* path, int threads, double seconds,
          int64_t requests);

#endif
