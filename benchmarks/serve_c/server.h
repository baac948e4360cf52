/* A SavedModel in a session, and the requests that it answers. */
#ifndef SERVER_H_
#define SERVER_H_

#include <stddef.h>
#include <stdint.h>

#include "tensorflow/c/c_api.h"

#define MAX_INPUTS 256
#define MAX_SIZES 16
#define MAX_THREADS 64

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

/* Prints why and ends the program. */
void fail(const char* what, const char* why);
void check(TF_Status* status, const char* what);

void* allocate(size_t bytes);
char* read_file(const char* path, size_t* size);

/* Writes the path of `name` beside the file `path` to `full`. */
void beside(const char* path, const char* name, char* full, size_t room);

/* Seconds since some moment. */
double now(void);
void sleep_for(double seconds);

/* Memory of the process that no file backs, in bytes. */
long long resident_bytes(void);

/* Loads a SavedModel; `threads` of TensorFlow, or 0 for its own choice. */
void open_server(Server* server, const char* model, int threads);
void close_server(Server* server);
void read_requests(Server* server, const char* path);

/* Tensors of rows `start` to `start + rows`. */
void make_feeds(const Server* server, int64_t start, int64_t rows,
                TF_Tensor** feeds);
void delete_feeds(const Server* server, TF_Tensor** feeds);

/* The floats that the model answers; the caller deletes them. */
TF_Tensor* answer(const Server* server, TF_Tensor** feeds, TF_Status* status);

#endif
