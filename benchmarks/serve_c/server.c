#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void fail(const char* what, const char* why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(1);
}

void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) != TF_OK) fail(what, TF_Message(status));
}

void* allocate(size_t bytes) {
  void* memory = malloc(bytes ? bytes : 1);
  if (memory == NULL) fail("malloc", "out of memory");
  return memory;
}

double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec + 1e-9 * time.tv_nsec;
}

void sleep_for(double seconds) {
  time_t whole = (time_t)seconds;
  struct timespec pause = {whole, (long)(1e9 * (seconds - whole))};
  nanosleep(&pause, NULL);
}

long long resident_bytes(void) {
  FILE* file = fopen("/proc/self/status", "r");
  char line[256];
  long long kilobytes = -1;
  if (file == NULL) fail("/proc/self/status", "cannot be opened");
  while (fgets(line, sizeof line, file))
    if (sscanf(line, "RssAnon: %lld kB", &kilobytes) == 1) break;
  fclose(file);
  return kilobytes * 1024;
}

char* read_file(const char* path, size_t* size) {
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

void beside(const char* path, const char* name, char* full, size_t room) {
  const char* slash = strrchr(path, '/');
  int folder = slash ? (int)(slash - path + 1) : 0;
  int length = snprintf(full, room, "%.*s%s", folder, path, name);
  if (length < 0 || (size_t)length >= room) fail(name, "path too long");
}

/* A serialized ConfigProto: threads inside an op, and between ops. */
static void limit_threads(TF_SessionOptions* options, int threads) {
  TF_Status* status = TF_NewStatus();
  uint8_t config[] = {0x10, (uint8_t)threads, 0x28, (uint8_t)threads};
  TF_SetConfig(options, config, sizeof config, status);
  check(status, "config");
  TF_DeleteStatus(status);
}

void open_server(Server* server, const char* model, int threads) {
  TF_Status* status = TF_NewStatus();
  TF_SessionOptions* options = TF_NewSessionOptions();
  if (threads) limit_threads(options, threads);
  const char* tags[] = {"serve"};
  server->graph = TF_NewGraph();
  server->session = TF_LoadSessionFromSavedModel(
      options, NULL, model, tags, 1, server->graph, NULL, status);
  check(status, "load");
  TF_DeleteSessionOptions(options);
  TF_DeleteStatus(status);
}

void close_server(Server* server) {
  TF_Status* status = TF_NewStatus();
  TF_CloseSession(server->session, status);
  check(status, "close");
  TF_DeleteSession(server->session, status);
  TF_DeleteGraph(server->graph);
  TF_DeleteStatus(status);
}

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

void read_requests(Server* server, const char* path) {
  char kind[16], tensor[512], type[16], name[512], full[1024];
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
      beside(path, name, full, sizeof full);
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

void make_feeds(const Server* server, int64_t start, int64_t rows,
                       TF_Tensor** feeds) {
  for (int i = 0; i < server->input_count; ++i)
    feeds[i] = make_tensor(&server->inputs[i], start, rows);
}

void delete_feeds(const Server* server, TF_Tensor** feeds) {
  for (int i = 0; i < server->input_count; ++i) TF_DeleteTensor(feeds[i]);
}

TF_Tensor* answer(const Server* server, TF_Tensor** feeds, TF_Status* status) {
  TF_Output outputs[MAX_INPUTS];
  TF_Tensor* found = NULL;
  for (int i = 0; i < server->input_count; ++i)
    outputs[i] = server->inputs[i].output;
  TF_SessionRun(server->session, NULL, outputs, feeds, server->input_count,
                &server->output, &found, 1, NULL, 0, NULL, status);
  check(status, "run");
  if (TF_TensorType(found) != TF_FLOAT) fail("output", "not of type float");
  return found;
}
