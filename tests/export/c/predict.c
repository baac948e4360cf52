/* Runs a SavedModel through TensorFlow's C API, as a server does.
 *
 * predict MODEL ROWS OUTPUT [INPUT TYPE VALUE...]...
 *
 * OUTPUT and INPUT are graph tensors, "operation:index"; TYPE is "string",
 * "int32", "int64" or "float" and takes ROWS values. Prints every element of
 * the float output on a line of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

#define MAX_INPUTS 64

static TF_Status* status;

static void check(const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

static TF_Output find_tensor(TF_Graph* graph, const char* name) {
  char operation[512];
  const char* colon = strrchr(name, ':');
  if (colon == NULL || (size_t)(colon - name) >= sizeof operation) {
    fprintf(stderr, "not operation:index: %s\n", name);
    exit(1);
  }
  memcpy(operation, name, colon - name);
  operation[colon - name] = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, operation),
                      atoi(colon + 1)};
  if (output.oper == NULL) {
    fprintf(stderr, "no operation %s\n", operation);
    exit(1);
  }
  return output;
}

static TF_Tensor* make_tensor(const char* type, int64_t rows, char** values) {
  TF_DataType dtype;
  size_t width;
  if (strcmp(type, "string") == 0) {
    dtype = TF_STRING, width = sizeof(TF_TString);
  } else if (strcmp(type, "int32") == 0) {
    dtype = TF_INT32, width = sizeof(int32_t);
  } else if (strcmp(type, "int64") == 0) {
    dtype = TF_INT64, width = sizeof(int64_t);
  } else if (strcmp(type, "float") == 0) {
    dtype = TF_FLOAT, width = sizeof(float);
  } else {
    fprintf(stderr, "unknown type %s\n", type);
    exit(1);
  }
  TF_Tensor* tensor = TF_AllocateTensor(dtype, &rows, 1, rows * width);
  void* data = TF_TensorData(tensor);
  for (int64_t i = 0; i < rows; ++i) {
    if (dtype == TF_STRING) {
      TF_TString* string = (TF_TString*)data + i;
      TF_StringInit(string);
      TF_StringCopy(string, values[i], strlen(values[i]));
    } else if (dtype == TF_INT32) {
      ((int32_t*)data)[i] = (int32_t)strtol(values[i], NULL, 10);
    } else if (dtype == TF_INT64) {
      ((int64_t*)data)[i] = strtoll(values[i], NULL, 10);
    } else {
      ((float*)data)[i] = strtof(values[i], NULL);
    }
  }
  return tensor;
}

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr, "predict MODEL ROWS OUTPUT [INPUT TYPE VALUE...]...\n");
    return 2;
  }
  status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[1], tags, 1, graph, NULL, status);
  check("load");

  int64_t rows = atoll(argv[2]);
  TF_Output output = find_tensor(graph, argv[3]);
  TF_Output inputs[MAX_INPUTS];
  TF_Tensor* feeds[MAX_INPUTS];
  int count = 0;
  for (int at = 4; at < argc; at += 2 + (int)rows) {
    if (count == MAX_INPUTS || at + 2 + rows > argc) {
      fprintf(stderr, "too many inputs, or too few values\n");
      return 2;
    }
    inputs[count] = find_tensor(graph, argv[at]);
    feeds[count++] = make_tensor(argv[at + 1], rows, argv + at + 2);
  }

  TF_Tensor* answer = NULL;
  TF_SessionRun(session, NULL, inputs, feeds, count, &output, &answer, 1, NULL,
                0, NULL, status);
  check("run");
  if (TF_TensorType(answer) != TF_FLOAT) {
    fprintf(stderr, "the output is not of type float\n");
    return 1;
  }
  const float* values = TF_TensorData(answer);
  for (int64_t i = 0; i < TF_TensorElementCount(answer); ++i)
    printf("%.9g\n", values[i]);

  TF_DeleteTensor(answer);
  while (count > 0) TF_DeleteTensor(feeds[--count]);
  TF_CloseSession(session, status);
  check("close");
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
