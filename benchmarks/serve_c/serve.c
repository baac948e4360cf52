/* Serves a SavedModel through TensorFlow's C API, without Python.
 *
 * serve MODEL REQUESTS [--batch N,N,...|-] [--threads N] [--seconds N]
 *       [--session_threads N] [--print] [--expect FILE]
 *       [--load FILE] [--requests N]
 *
 * MODEL is the folder of a SavedModel. REQUESTS is a text file that names the
 * graph tensors ("operation:index") of a signature and the inputs' values:
 *
 *   output TENSOR
 *   rows N
 *   input TENSOR TYPE FILE       once for each input
 *
 * TYPE is "int32", "int64" or "float", whose FILE holds N values as they lie
 * in memory, or "string", whose FILE holds N strings, each ended by a zero
 * byte. FILE is relative to the folder of REQUESTS. The output is of floats.
 *
 * --print writes each float of the answer to all N rows on a line of its own
 * ("%.9g", which gives the float back). --expect compares the answer to all N
 * rows with the floats in FILE, bit for bit, and fails where they differ.
 *
 * With --batch, each thread answers batches of that many rows, one after the
 * other for so many seconds, after a warm-up; "-" reads sizes from the
 * standard input, one at a time, until its end. A JSON line for each size goes
 * to the standard output: "batch", "threads", "requests", "p50_us" and
 * "p99_us" (microseconds of a request, without making its tensors),
 * "per_second" (requests of all threads), and "resident_bytes" (RssAnon after
 * the warm-up).
 *
 * With --load, the threads send requests without a pause for so many seconds,
 * and on until --requests of them are answered. FILE has a line "SIZE SHARE
 * FILE" for each size of a request: how many of its kind come among the others,
 * and the floats that answer rows 0 to SIZE, SIZE to 2 SIZE, and so on, as far
 * as they go. Each answer is compared with those, bit for bit; where one
 * differs the program fails in the end. A hundred times a JSON line goes to the
 * standard output: "seconds", "requests" and "wrong" answers so far, and
 * "resident_bytes".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "latency.h"
#include "load.h"
#include "server.h"

/* The answer to all rows: printed, compared with a file, or both. */
static void answer_once(const Server* server, int print, const char* expected) {
  TF_Status* status = TF_NewStatus();
  TF_Tensor* feeds[MAX_INPUTS];
  make_feeds(server, 0, server->rows, feeds);
  TF_Tensor* found = answer(server, feeds, status);
  const float* values = TF_TensorData(found);
  if (print)
    for (int64_t i = 0; i < TF_TensorElementCount(found); ++i)
      printf("%.9g\n", values[i]);
  if (expected) {
    size_t size;
    char* content = read_file(expected, &size);
    if (size != TF_TensorByteSize(found) || memcmp(content, values, size) != 0)
      fail(expected, "the answer differs");
    free(content);
  }
  TF_DeleteTensor(found);
  delete_feeds(server, feeds);
  TF_DeleteStatus(status);
}

static const char* usage =
    "serve MODEL REQUESTS [--batch N,N,...|-] [--threads N] [--seconds N]\n"
    "      [--session_threads N] [--print] [--expect FILE]\n"
    "      [--load FILE] [--requests N]";

int main(int argc, char** argv) {
  int64_t sizes[MAX_SIZES];
  int size_count = 0, ask = 0, threads = 1, session_threads = 0, print = 0;
  double seconds = 2;
  int64_t requests = 0;
  const char *expected = NULL, *shapes = NULL;
  if (argc < 3) fail("usage", usage);
  for (int at = 3; at < argc; ++at) {
    const char* option = argv[at];
    if (strcmp(option, "--print") == 0) {
      print = 1;
      continue;
    }
    if (++at == argc) fail(option, usage);
    if (strcmp(option, "--batch") == 0 && strcmp(argv[at], "-") == 0) {
      ask = 1;
    } else if (strcmp(option, "--batch") == 0) {
      char* rest = argv[at];
      for (char* item; (item = strsep(&rest, ",")) != NULL;) {
        if (size_count == MAX_SIZES) fail(option, "too many sizes");
        sizes[size_count++] = atoll(item);
      }
    } else if (strcmp(option, "--threads") == 0) {
      threads = atoi(argv[at]);
      if (threads < 1 || threads > MAX_THREADS) fail(option, "out of range");
    } else if (strcmp(option, "--session_threads") == 0) {
      session_threads = atoi(argv[at]);
      if (session_threads < 1 || session_threads > 127)
        fail(option, "out of range");
    } else if (strcmp(option, "--seconds") == 0) {
      seconds = atof(argv[at]);
    } else if (strcmp(option, "--expect") == 0) {
      expected = argv[at];
    } else if (strcmp(option, "--load") == 0) {
      shapes = argv[at];
    } else if (strcmp(option, "--requests") == 0) {
      requests = atoll(argv[at]);
    } else {
      fail(option, usage);
    }
  }

  static Server server;
  open_server(&server, argv[1], session_threads);
  read_requests(&server, argv[2]);

  if (print || expected) answer_once(&server, print, expected);
  for (int i = 0; i < size_count; ++i)
    measure(&server, sizes[i], threads, seconds);
  for (long long size; ask && scanf("%lld", &size) == 1;)
    measure(&server, size, threads, seconds);
  if (shapes) load(&server, shapes, threads, seconds, requests);
  close_server(&server);
  return 0;
}
