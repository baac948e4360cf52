#include "load.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLES 100 /* of memory, over the time asked for */

/* What requests of one size are answered. */
typedef struct {
  int64_t size;
  int64_t share; /* of all requests, among the shares of the other sizes */
  int64_t blocks;
  size_t bytes; /* of an answer */
  char* answers;
} Shape;

typedef struct {
  const Server* server;
  Shape shapes[MAX_SIZES];
  int shape_count;
  int64_t shares;
  atomic_int stop;
  atomic_llong done;
  atomic_llong wrong;
} Load;

typedef struct {
  Load* load;
  unsigned seed;
} Client;

static void read_shapes(Load* load, const char* path) {
  char name[512], full[1024];
  long long size, share;
  FILE* file = fopen(path, "r");
  if (file == NULL) fail(path, "cannot be opened");
  int found;
  while ((found = fscanf(file, "%lld %lld %511s", &size, &share, name)) == 3) {
    if (load->shape_count == MAX_SIZES) fail(path, "too many sizes");
    if (size < 1 || size > load->server->rows || share < 1)
      fail(path, "sizes must be 1 to `rows`, shares 1 or more");
    Shape* shape = &load->shapes[load->shape_count++];
    size_t bytes;
    beside(path, name, full, sizeof full);
    *shape = (Shape){size, share, load->server->rows / size, 0, NULL};
    shape->answers = read_file(full, &bytes);
    shape->bytes = bytes / shape->blocks;
    if (bytes == 0 || bytes % (shape->blocks * size * sizeof(float)))
      fail(full, "not the answers of that size");
    load->shares += share;
  }
  fclose(file);
  if (found != EOF || load->shape_count == 0) fail(path, "not a file of sizes");
}

static const Shape* draw_shape(const Load* load, unsigned* seed) {
  int64_t drawn = rand_r(seed) % load->shares;
  const Shape* shape = load->shapes;
  while ((drawn -= shape->share) >= 0) ++shape;
  return shape;
}

static void* send_requests(void* argument) {
  Client* client = argument;
  Load* load = client->load;
  TF_Tensor* feeds[MAX_INPUTS];
  TF_Status* status = TF_NewStatus();
  while (!atomic_load(&load->stop)) {
    const Shape* shape = draw_shape(load, &client->seed);
    int64_t block = rand_r(&client->seed) % shape->blocks;
    make_feeds(load->server, block * shape->size, shape->size, feeds);
    TF_Tensor* found = answer(load->server, feeds, status);
    const char* expected = shape->answers + block * shape->bytes;
    if (TF_TensorByteSize(found) != shape->bytes ||
        memcmp(TF_TensorData(found), expected, shape->bytes) != 0)
      atomic_fetch_add(&load->wrong, 1);
    TF_DeleteTensor(found);
    delete_feeds(load->server, feeds);
    atomic_fetch_add(&load->done, 1);
  }
  TF_DeleteStatus(status);
  return NULL;
}

static void print_sample(Load* load, double started) {
  printf("{\"seconds\": %.2f, \"requests\": %lld, \"wrong\": %lld, "
         "\"resident_bytes\": %lld}\n",
         now() - started, atomic_load(&load->done), atomic_load(&load->wrong),
         resident_bytes());
  fflush(stdout);
}

void load(const Server* server, const char* path, int threads, double seconds,
          int64_t requests) {
  static Load load;
  static Client clients[MAX_THREADS];
  pthread_t ids[MAX_THREADS];
  load.server = server;
  read_shapes(&load, path);
  double started = now();
  for (int i = 0; i < threads; ++i) {
    clients[i] = (Client){&load, i + 1};
    if (pthread_create(&ids[i], NULL, send_requests, &clients[i]) != 0)
      fail("pthread_create", "no thread");
  }
  while (now() - started < seconds || atomic_load(&load.done) < requests) {
    sleep_for(seconds / SAMPLES);
    print_sample(&load, started);
  }
  atomic_store(&load.stop, 1);
  for (int i = 0; i < threads; ++i) pthread_join(ids[i], NULL);
  print_sample(&load, started);
  if (atomic_load(&load.wrong)) fail(path, "answers differ");
  for (int i = 0; i < load.shape_count; ++i) free(load.shapes[i].answers);
}
