// Fetches the files of the held download into the unused slot, over HTTP (libcurl) or in MQTT
// blocks, from where the last attempt or the last boot ended. Progress is saved in the state as it
// goes. Never waits: FetchStep() is called from the main loop. Governed by native.md, N-20 to N-22,
// N-28, N-29.
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <curl/curl.h>

#include "protocol.h"
#include "state.h"

typedef struct FetchOptions {
  bool prefer_blocks;
  int64_t block_bytes;  // length of one block that the device has room for
  int64_t slow;         // bytes a second; 0: as fast as it goes
  double scale;         // of all waits, for tests
  const char* ca_file;  // NULL: the system's
} FetchOptions;

typedef enum FetchEvent {
  kFetchRunning,
  kFetchDone,        // all bytes are on disk; not verified yet
  kFetchAskBlocks,   // `blocks` is to be sent as up/block
  kFetchNewAddress,  // the address has expired: confirm once more
  kFetchWait,        // the server asked for `retry_after` seconds of patience, or cannot be reached
  kFetchFailed       // `why`
} FetchEvent;

typedef struct Fetch {
  const FetchOptions* options;
  State* state;
  Component* component;
  CURLM* multi;
  CURL* easy;  // of a running HTTP transfer, else NULL
  int fd;      // of the file being written, else -1
  bool failed_to_write;
  bool over_blocks;
  int tries;           // in a row without a new byte
  int64_t due_ms;      // nothing is tried before
  int64_t tried_from;  // offset when the last try began
  int64_t saved;       // offset when progress was saved last
  // Blocks: the window [window, window + window_blocks * length), and which of its blocks have
  // come.
  char ref[9];
  int64_t window;
  int window_blocks;
  uint64_t come;
  // Of the last event.
  BlockRequest blocks;
  int64_t retry_after;
  char why[200];
} Fetch;

// Begins or resumes; `state` holds the download. False: `fetch->why`.
bool FetchBegin(Fetch* fetch, const FetchOptions* options, State* state, CURLM* multi,
                int64_t now_ms);
// True while the files come as blocks: then steps make sense only with a connection.
bool FetchUsesBlocks(const Fetch* fetch);
FetchEvent FetchStep(Fetch* fetch, int64_t now_ms);
// The download came again with fresh addresses.
void FetchRenewed(Fetch* fetch, int64_t now_ms);
// A block came. Blocks that were not asked for are ignored.
void FetchBlock(Fetch* fetch, const char* ref, int64_t offset, const void* bytes, int64_t length,
                int64_t now_ms);
// The broker answered a block request with an error and asked for patience.
void FetchPause(Fetch* fetch, int64_t retry_after_s, int64_t now_ms);
void FetchEnd(Fetch* fetch);

// Percent of the whole download that is on disk.
int FetchPercent(const State* state);
// Waits of a retry without an answer, by number of tries so far: 10, 30, 60, 120 s, with a jitter
// of 20 %.
int64_t RetryMs(int tries, double scale);
