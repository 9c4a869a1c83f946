// The messages of the native dialect, ota/v1: JSON texts <-> values. Checks every length and type,
// so that the rest of the program need not. Knows no network and no disk.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "state.h"

enum { kMaxPlanComponents = 32 };

typedef struct Target {
  char name[65];
  char to[65];
} Target;

typedef struct Plan {
  char task[33];
  bool manual;
  bool consent;    // the user was asked on the platform
  char text[512];  // for the user; cut here, a screen is small
  int count;
  Target components[kMaxPlanComponents];
  // Conditions; INT64_MIN: none.
  int64_t battery;
  int64_t signal;
  int64_t free_bytes;
} Plan;

typedef struct Reply {
  char id[65];    // "" if absent
  char to[16];    // version, confirm, progress, block
  char task[33];  // "" if absent
  int code;
  int64_t retry_after;  // seconds; 0 if absent
  int64_t again;
  char message[256];  // message or warning
} Reply;

// What a version report says besides the state. INT64_MIN: not known.
typedef struct Health {
  int64_t battery;
  int64_t signal;
  int64_t free_bytes;
  const char* lang;  // NULL: none
  int64_t max_bytes;
  bool request;
} Health;

// Each gives false, and in `error` (128 bytes) the member that is wrong. `task` has 33 bytes.
bool DecodePlan(const char* text, Plan* plan, char* error);
bool DecodeDownload(const char* text, char* task, Download* download, char* error);
bool DecodeCancel(const char* text, char* task, char* error);
bool DecodeReply(const char* text, Reply* reply, char* error);

// Each gives a text to be freed. Members that are NULL, "" or 0 are left out.
char* EncodeVersion(const char* id, const State* state, const Health* health);
char* EncodeConfirm(const char* id, const char* task, bool accept, const char* reason,
                    int64_t retry_after);
typedef struct Progress {
  const char* state;  // "downloading", ...
  int percent;        // -1: none
  int code;
  int64_t retry_after;
  char message[257];  // sent as `reason` when waiting, else as `message`
} Progress;
char* EncodeProgress(const char* id, const State* state, const Progress* progress);

typedef struct BlockRequest {
  int file;
  const char* ref;
  int64_t offset;
  int64_t length;
  int count;
} BlockRequest;
char* EncodeBlockRequest(const State* state, const BlockRequest* request);
