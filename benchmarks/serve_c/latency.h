/* Latencies: how long requests took. */
#ifndef LATENCY_H_
#define LATENCY_H_

#include <stdint.h>

#include "server.h"

/* Prints how long requests of `size` rows take, sent by so many threads. */
void measure(const Server* server, int64_t size, int threads, double seconds);

#endif
