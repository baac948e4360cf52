#include "latency.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SAMPLES 1000000
#define WARM_UP 20

typedef struct {
  const Server* server;
  int64_t size;  /* rows of a request */
  int64_t start; /* first row of the next one */
  atomic_int* stop;
  double* samples; /* seconds of each request */
  int64_t count;
} Worker;

/* Seconds of the next request; each takes other rows than the one before. */
static double answer_next(Worker* worker, TF_Status* status) {
  TF_Tensor* feeds[MAX_INPUTS];
  if (worker->start + worker->size > worker->server->rows) worker->start = 0;
  make_feeds(worker->server, worker->start, worker->size, feeds);
  worker->start += worker->size;
  double started = now();
  TF_DeleteTensor(answer(worker->server, feeds, status));
  double seconds = now() - started;
  delete_feeds(worker->server, feeds);
  return seconds;
}

static void* work(void* argument) {
  Worker* worker = argument;
  TF_Status* status = TF_NewStatus();
  while (!atomic_load(worker->stop)) {
    double seconds = answer_next(worker, status);
    if (worker->count < MAX_SAMPLES) worker->samples[worker->count++] = seconds;
  }
  TF_DeleteStatus(status);
  return NULL;
}

static int by_size(const void* left, const void* right) {
  double a = *(const double*)left, b = *(const double*)right;
  return (a > b) - (a < b);
}

static double percentile(const double* sorted, int64_t count, double share) {
  if (count == 0) fail("--seconds", "too few for one request");
  return sorted[(int64_t)(share * (count - 1) + 0.5)];
}

void measure(const Server* server, int64_t size, int threads, double seconds) {
  static Worker workers[MAX_THREADS];
  pthread_t ids[MAX_THREADS];
  atomic_int stop = 0;
  if (size < 1 || size > server->rows) fail("--batch", "must be 1 to `rows`");
  TF_Status* status = TF_NewStatus();
  Worker first = {server, size, 0, NULL, NULL, 0};
  for (int i = 0; i < WARM_UP; ++i) answer_next(&first, status);
  TF_DeleteStatus(status);
  long long resident = resident_bytes();

  double started = now();
  for (int i = 0; i < threads; ++i) {
    double* samples = allocate(MAX_SAMPLES * sizeof *samples);
    /* Each thread, and each call, on rows that others did not just read. */
    int64_t start = (server->rows / threads * i + rand()) % server->rows;
    workers[i] = (Worker){server, size, start, &stop, samples, 0};
    if (pthread_create(&ids[i], NULL, work, &workers[i]) != 0)
      fail("pthread_create", "no thread");
  }
  sleep_for(seconds);
  atomic_store(&stop, 1);
  int64_t count = 0;
  for (int i = 0; i < threads; ++i) {
    pthread_join(ids[i], NULL);
    count += workers[i].count;
  }
  double spent = now() - started;

  double* all = allocate(count * sizeof *all);
  int64_t filled = 0;
  for (int i = 0; i < threads; ++i) {
    memcpy(all + filled, workers[i].samples, workers[i].count * sizeof *all);
    filled += workers[i].count;
    free(workers[i].samples);
  }
  qsort(all, count, sizeof *all, by_size);
  printf("{\"batch\": %lld, \"threads\": %d, \"requests\": %lld, "
         "\"p50_us\": %.1f, \"p99_us\": %.1f, \"per_second\": %.1f, "
         "\"resident_bytes\": %lld}\n",
         (long long)size, threads, (long long)count,
         1e6 * percentile(all, count, 0.5), 1e6 * percentile(all, count, 0.99),
         count / spent, resident);
  fflush(stdout);
  free(all);
}
