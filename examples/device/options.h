// The command line.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fetch.h"
#include "protocol.h"
#include "state.h"

typedef enum FailAt { kFailNowhere, kFailDownload, kFailVerify, kFailWrite } FailAt;

typedef struct Options {
  char product[65];
  char device[65];
  const char* state_dir;
  int component_count;
  Component components[kMaxComponents];
  // Connection.
  const char* host;
  int port;
  const char* username;  // NULL: PRODUCT/DEVICE
  char password[256];    // "": none
  const char* ca_file;
  const char* cert_file;
  const char* key_file;
  const char* public_key;  // NULL: takes packages without a signature
  bool persistent;
  bool client_id_random;
  // What is reported and how files are fetched.
  Health health;
  FetchOptions fetch;
  // Behaviour.
  bool refuse;
  int64_t postpone_s;
  FailAt fail_at;
  int fail_times;  // -1: always
  bool roll_back;
  char exit_component[65];
  char exit_version[65];
  int64_t timeout_s;
  long crash_at;
  int level;  // 0 quiet, 1, 2 verbose
} Options;

// Gives -1 to go on, else the exit code (0 after --help, 2 after a mistake, which it prints).
int ParseOptions(int argc, char** argv, Options* options);
