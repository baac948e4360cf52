/* Serves a SavedModel through TensorFlow's C API, without Python.
 *
 * serve MODEL REQUESTS [--batch N,N,...|-] [--threads N] [--seconds N]
 *       [--session_threads N] [--print] [--expect FILE]
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
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tensorflow/c/c_api.h"

#define MAX_INPUTS 256
#define MAX_SIZES 16
#define MAX_THREADS 64
#define MAX_SAMPLES 1000000
#define WARM_UP 20

typedef struct {
  TF_Output output;
  TF_DataType dtype;
  void* values; /* rows numbers, or rows pointers to strings */
} Input;

typedef struct {
  TF_Graph* graph;
  TF_Session* session;
  TF_Output output;
  int64_t rows;
  int input_count;
  Input inputs[MAX_INPUTS];
} Server;

typedef struct {
  const Server* server;
  int64_t size;  /* rows of a request */
  int64_t start; /* first row of the next one */
  atomic_int* stop;
  double* samples; /* seconds of each request */
  int64_t count;
} Worker;

static void fail(const char* what, const char* why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

static void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

static void* allocate(size_t bytes) {
  void* memory = malloc(bytes ? bytes : 1);
  if (memory == NULL) fail("malloc", "out of memory");
  return memory;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + 1e-9 * time.tv_nsec;
}

/* Memory of the process that no file backs, in bytes. */
static long long resident_bytes(void) {
  FILE* file = fopen("/proc/self/status", "r");
  char line[256];
  long long kilobytes = -1;
  if (file == NULL) fail("/proc/self/status", "cannot be opened");
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "RssAnon: %lld kB", &kilobytes) == 1) break;
  fclose(file);
  return kilobytes * 1024;
}

static char* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) fail(path, "cannot be opened");
  fseek(file, 0, SEEK_END);
  *size = (size_t)ftell(file);
  rewind(file);
  char* content = allocate(*size + 1);
  if (fread(content, 1, *size, file) != *size) fail(path, "cannot be read");
  content[*size] = '\0';
  fclose(file);
  return content;
}

/* Requests. */

static TF_Output find_tensor(TF_Graph* graph, const char* name) {
  char operation[512];
  const char* colon = strrchr(name, ':');
  if (colon == NULL || (size_t)(colon - name) >= sizeof operation)
    fail(name, "not operation:index");
  memcpy(operation, name, colon - name);
  operation[colon - name] = '\0';
  TF_Output found = {TF_GraphOperationByName(graph, operation),
                     atoi(colon + 1)};
  if (found.oper == NULL) fail(operation, "no such operation");
  return found;
}

static TF_DataType find_type(const char* name) {
  if (strcmp(name, "string") == 0) return TF_STRING;
  if (strcmp(name, "int32") == 0) return TF_INT32;
  if (strcmp(name, "int64") == 0) return TF_INT64;
  if (strcmp(name, "float") == 0) return TF_FLOAT;
  fail(name, "unknown type");
  return TF_FLOAT;
}

static void* read_values(const char* path, TF_DataType dtype, int64_t rows) {
  size_t size;
  char* content = read_file(path, &size);
  if (dtype != TF_STRING) {
    if (size != rows * TF_DataTypeSize(dtype)) fail(path, "not of `rows`");
    return content;
  }
  char** strings = allocate(rows * sizeof *strings);
  char* at = content;
  for (int64_t row = 0; row < rows; ++row) {
    if (at >= content + size) fail(path, "not of `rows`");
    strings[row] = at;
    at += strlen(at) + 1;
  }
  return strings;
}

static void read_requests(Server* server, const char* path) {
  char kind[16], tensor[512], type[16], name[512], full[1024];
  const char* slash = strrchr(path, '/');
  int folder = slash ? (int)(slash - path + 1) : 0;
  FILE* file = fopen(path, "r");
  if (file == NULL) fail(path, "cannot be opened");
  server->output.oper = NULL;
  server->rows = 0;
  server->input_count = 0;
  while (fscanf(file, "%15s", kind) == 1) {
    long long rows;
    if (strcmp(kind, "output") == 0 && fscanf(file, "%511s", tensor) == 1) {
      server->output = find_tensor(server->graph, tensor);
    } else if (strcmp(kind, "rows") == 0 && fscanf(file, "%lld", &rows) == 1) {
      server->rows = rows;
    } else if (strcmp(kind, "input") == 0 && server->rows > 0 &&
               server->input_count < MAX_INPUTS &&
               fscanf(file, "%511s %15s %511s", tensor, type, name) == 3) {
      Input* input = &server->inputs[server->input_count++];
      input->output = find_tensor(server->graph, tensor);
      input->dtype = find_type(type);
      snprintf(full, sizeof full, "%.*s%s", folder, path, name);
      input->values = read_values(full, input->dtype, server->rows);
    } else {
      fail(path, "not a file of requests");
    }
  }
  fclose(file);
  if (server->output.oper == NULL || server->rows < 1)
    fail(path, "`output` and `rows` must be given");
}

static TF_Tensor* make_tensor(const Input* input, int64_t start, int64_t rows) {
  int text = input->dtype == TF_STRING;
  size_t width = text ? sizeof(TF_TString) : TF_DataTypeSize(input->dtype);
  TF_Tensor* tensor = TF_AllocateTensor(input->dtype, &rows, 1, rows * width);
  char* data = TF_TensorData(tensor);
  if (!text) {
    memcpy(data, (const char*)input->values + start * width, rows * width);
    return tensor;
  }
  for (int64_t row = 0; row < rows; ++row) {
    const char* value = ((char**)input->values)[start + row];
    TF_TString* string = (TF_TString*)data + row;
    TF_StringInit(string);
    TF_StringCopy(string, value, strlen(value));
  }
  return tensor;
}

static void make_feeds(const Server* server, int64_t start, int64_t rows,
                       TF_Tensor** feeds) {
  for (int i = 0; i < server->input_count; ++i)
    feeds[i] = make_tensor(&server->inputs[i], start, rows);
}

static void delete_feeds(const Server* server, TF_Tensor** feeds) {
  for (int i = 0; i < server->input_count; ++i) TF_DeleteTensor(feeds[i]);
}

static TF_Tensor* answer(const Server* server, TF_Tensor** feeds,
                         TF_Status* status) {
  TF_Output outputs[MAX_INPUTS];
  TF_Tensor* found = NULL;
  for (int i = 0; i < server->input_count; ++i)
    outputs[i] = server->inputs[i].output;
  TF_SessionRun(server->session, NULL, outputs, feeds, server->input_count,
                &server->output, &found, 1, NULL, 0, NULL, status);
  check(status, "run");
  return found;
}

/* The answer to all rows: printed, compared with a file, or both. */
static void answer_once(const Server* server, int print, const char* expected) {
  TF_Status* status = TF_NewStatus();
  TF_Tensor* feeds[MAX_INPUTS];
  make_feeds(server, 0, server->rows, feeds);
  TF_Tensor* found = answer(server, feeds, status);
  if (TF_TensorType(found) != TF_FLOAT) fail("output", "not of type float");
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

/* Latency. */

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

static void measure(const Server* server, int64_t size, int threads,
                    double seconds) {
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
  struct timespec pause = {(time_t)seconds,
                           (long)(1e9 * (seconds - (time_t)seconds))};
  nanosleep(&pause, NULL);
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

/* A serialized ConfigProto: threads inside an op, and between ops. */
static void limit_threads(TF_SessionOptions* options, int threads) {
  TF_Status* status = TF_NewStatus();
  uint8_t config[] = {0x10, (uint8_t)threads, 0x28, (uint8_t)threads};
  TF_SetConfig(options, config, sizeof config, status);
  check(status, "config");
  TF_DeleteStatus(status);
}

static const char* usage =
    "serve MODEL REQUESTS [--batch N,N,...|-] [--threads N] [--seconds N]\n"
    "      [--session_threads N] [--print] [--expect FILE]";

int main(int argc, char** argv) {
  int64_t sizes[MAX_SIZES];
  int size_count = 0, ask = 0, threads = 1, session_threads = 0, print = 0;
  double seconds = 2;
  const char* expected = NULL;
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
    } else {
      fail(option, usage);
    }
  }

  static Server server;
  TF_Status* status = TF_NewStatus();
  TF_SessionOptions* options = TF_NewSessionOptions();
  if (session_threads) limit_threads(options, session_threads);
  const char* tags[] = {"serve"};
  server.graph = TF_NewGraph();
  server.session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[1], tags, 1, server.graph, NULL, status);
  check(status, "load");
  read_requests(&server, argv[2]);

  if (print || expected) answer_once(&server, print, expected);
  for (int i = 0; i < size_count; ++i)
    measure(&server, sizes[i], threads, seconds);
  for (long long size; ask && scanf("%lld", &size) == 1;)
    measure(&server, size, threads, seconds);

  TF_CloseSession(server.session, status);
  check(status, "close");
  TF_DeleteSession(server.session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(server.graph);
  TF_DeleteStatus(status);
  return 0;
}
