// HTTP by libcurl's multi interface, and blocks over MQTT.
#include "fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/rand.h>

#include "disk.h"

enum { kMaxTries = 6, kWindowBlocks = 8, kMaxWindowBytes = 262144, kSaveBytes = 16384 };

int64_t RetryMs(int tries, double scale) {
  static const int64_t kWaits[] = {10000, 30000, 60000, 120000};
  unsigned char random = 128;
  RAND_bytes(&random, 1);
  double jitter = 0.8 + 0.4 * random / 255;
  return (int64_t)((double)kWaits[tries < 3 ? tries : 3] * jitter * scale);
}

static File* CurrentFile(const Fetch* fetch) {
  return &fetch->state->download.files[fetch->state->file];
}

// Progress is promised only for bytes that are on disk, so the file is synced first.
static bool SaveProgress(Fetch* fetch) {
  CrashPoint();
  if ((fetch->fd >= 0 && fdatasync(fetch->fd) != 0) || !StateSave(fetch->state)) {
    snprintf(fetch->why, sizeof fetch->why, "cannot write: %s", strerror(errno));
    return false;
  }
  fetch->saved = fetch->state->offset;
  return true;
}

static bool OpenFile(Fetch* fetch) {
  char path[kPathBytes];
  SlotPath(fetch->state, fetch->component, fetch->state->file, path);
  fetch->fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fetch->fd < 0 || ftruncate(fetch->fd, fetch->state->offset) != 0) {
    snprintf(fetch->why, sizeof fetch->why, "cannot write: %s", strerror(errno));
    return false;
  }
  *strrchr(path, '/') = '\0';
  CrashPoint();
  return SyncDirectory(path);
}

static bool WriteAt(int fd, const char* bytes, size_t length, int64_t offset) {
  while (length > 0) {
    ssize_t n = pwrite(fd, bytes, length, offset);
    if (n < 0 && errno != EINTR) {
      return false;
    }
    if (n > 0) {
      bytes += n;
      length -= (size_t)n;
      offset += n;
    }
  }
  return true;
}

bool FetchUsesBlocks(const Fetch* fetch) {
  const Download* download = &fetch->state->download;
  return download->blocks &&
         (fetch->options->prefer_blocks || fetch->over_blocks || download->files[0].url[0] == '\0');
}

static void NewRef(Fetch* fetch) {
  unsigned char random[4] = {0};
  RAND_bytes(random, sizeof random);
  snprintf(fetch->ref, sizeof fetch->ref, "%02x%02x%02x%02x", random[0], random[1], random[2],
           random[3]);
  fetch->window_blocks = 0;
}

bool FetchBegin(Fetch* fetch, const FetchOptions* options, State* state, CURLM* multi,
                int64_t now_ms) {
  memset(fetch, 0, sizeof *fetch);
  fetch->options = options;
  fetch->state = state;
  fetch->component = StateFind(state, state->download.component);
  fetch->multi = multi;
  fetch->fd = -1;
  fetch->due_ms = now_ms;
  fetch->tried_from = -1;
  fetch->saved = state->offset;
  NewRef(fetch);
  if (!state->download.blocks && state->download.files[0].url[0] == '\0') {
    snprintf(fetch->why, sizeof fetch->why, "neither an address nor blocks");
    return false;
  }
  return true;
}

static void StopHttp(Fetch* fetch) {
  if (fetch->easy != NULL) {
    curl_multi_remove_handle(fetch->multi, fetch->easy);
    curl_easy_cleanup(fetch->easy);
    fetch->easy = NULL;
  }
}

static void CloseFile(Fetch* fetch) {
  if (fetch->fd >= 0) {
    close(fetch->fd);
    fetch->fd = -1;
  }
}

void FetchEnd(Fetch* fetch) {
  StopHttp(fetch);
  CloseFile(fetch);
}

void FetchRenewed(Fetch* fetch, int64_t now_ms) {
  if (fetch->easy == NULL && !FetchUsesBlocks(fetch)) {
    fetch->due_ms = now_ms;
  }
}

void FetchPause(Fetch* fetch, int64_t retry_after_s, int64_t now_ms) {
  fetch->due_ms = now_ms + (int64_t)((double)retry_after_s * 1000 * fetch->options->scale);
}

// Waits the retry pattern's time for the next try, unless too many tries in a row brought no byte.
static FetchEvent TryAgain(Fetch* fetch, int64_t now_ms) {
  if (fetch->state->offset != fetch->tried_from) {
    fetch->tries = 0;
  }
  if (++fetch->tries > kMaxTries) {
    return kFetchFailed;
  }
  int64_t wait_ms = RetryMs(fetch->tries - 1, fetch->options->scale);
  fetch->due_ms = now_ms + wait_ms;
  fetch->retry_after = wait_ms / 1000 + 1;
  return kFetchWait;
}

// ---- HTTP

static size_t TakeBody(char* bytes, size_t size, size_t count, void* user) {
  Fetch* fetch = user;
  State* state = fetch->state;
  size_t length = size * count;
  long status = 0;
  curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200 && status != 206) {
    return length;  // the text of an error
  }
  if (status == 200 && fetch->tried_from > 0 && state->offset == fetch->tried_from) {
    // The server does not know Range: from the start, this time and once.
    state->offset = 0;
    fetch->tried_from = 0;
  }
  if ((int64_t)length > CurrentFile(fetch)->bytes - state->offset) {
    snprintf(fetch->why, sizeof fetch->why, "the server sends more bytes than announced");
    return 0;
  }
  CrashPoint();
  if (!WriteAt(fetch->fd, bytes, length, state->offset)) {
    snprintf(fetch->why, sizeof fetch->why, "cannot write: %s", strerror(errno));
    fetch->failed_to_write = true;
    return 0;
  }
  state->offset += (int64_t)length;
  return length;
}

static bool StartHttp(Fetch* fetch) {
  const FetchOptions* options = fetch->options;
  fetch->tried_from = fetch->state->offset;
  fetch->why[0] = '\0';
  CURL* easy = fetch->easy = curl_easy_init();
  if (easy == NULL) {
    return false;
  }
  curl_easy_setopt(easy, CURLOPT_URL, CurrentFile(fetch)->url);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");  // the server is the site's own
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, 30L);
  // libcurl looks at the speed only after some buffers, so they are small when it matters.
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, options->slow > 0 ? 1024L : 16384L);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, TakeBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, fetch);
  if (options->ca_file != NULL) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
  }
  if (options->slow > 0) {
    curl_easy_setopt(easy, CURLOPT_MAX_RECV_SPEED_LARGE, (curl_off_t)options->slow);
  }
  if (fetch->state->offset > 0) {
    char range[32];
    snprintf(range, sizeof range, "%lld-", (long long)fetch->state->offset);
    curl_easy_setopt(easy, CURLOPT_RANGE, range);
  }
  return curl_multi_add_handle(fetch->multi, easy) == CURLM_OK;
}

static FetchEvent Failed(Fetch* fetch, const char* why) {
  snprintf(fetch->why, sizeof fetch->why, "%s", why);
  return kFetchFailed;
}

static FetchEvent EndHttp(Fetch* fetch, CURLcode result, int64_t now_ms) {
  long status = 0;
  curl_off_t retry_after = 0;
  curl_easy_getinfo(fetch->easy, CURLINFO_RESPONSE_CODE, &status);
  curl_easy_getinfo(fetch->easy, CURLINFO_RETRY_AFTER, &retry_after);
  StopHttp(fetch);
  if (fetch->why[0] != '\0') {
    return kFetchFailed;
  }
  if (status == 429 || status == 503) {
    fetch->retry_after = retry_after > 0 ? retry_after : 10;
    FetchPause(fetch, fetch->retry_after, now_ms);
    snprintf(fetch->why, sizeof fetch->why, "the server answers %ld", status);
    return kFetchWait;
  }
  if (status == 403) {
    snprintf(fetch->why, sizeof fetch->why, "the address has expired");
    return TryAgain(fetch, now_ms) == kFetchFailed ? kFetchFailed : kFetchNewAddress;
  }
  if (status >= 300) {
    snprintf(fetch->why, sizeof fetch->why, "HTTP %ld", status);
    return status >= 500 ? TryAgain(fetch, now_ms) : kFetchFailed;
  }
  if (result != CURLE_OK) {
    snprintf(fetch->why, sizeof fetch->why, "%s", curl_easy_strerror(result));
    if (fetch->state->download.blocks && status == 0) {
      fetch->over_blocks = true;  // only the MQTT port may be let through
      fetch->due_ms = now_ms;
      return kFetchRunning;
    }
    return TryAgain(fetch, now_ms);
  }
  if (fetch->state->offset != CurrentFile(fetch)->bytes) {
    return Failed(fetch, "the file is shorter than announced");
  }
  return kFetchRunning;
}

static FetchEvent StepHttp(Fetch* fetch, int64_t now_ms) {
  int left = 0;
  if (fetch->easy == NULL) {
    if (CurrentFile(fetch)->url[0] == '\0') {
      return TryAgain(fetch, now_ms) == kFetchFailed ? Failed(fetch, "no address")
                                                     : kFetchNewAddress;
    }
    return StartHttp(fetch) ? kFetchRunning : Failed(fetch, "libcurl refuses the address");
  }
  curl_multi_perform(fetch->multi, &left);
  const CURLMsg* message = NULL;
  while ((message = curl_multi_info_read(fetch->multi, &left)) != NULL) {
    if (message->msg == CURLMSG_DONE) {
      return EndHttp(fetch, message->data.result, now_ms);
    }
  }
  return kFetchRunning;
}

// ---- blocks

static int64_t BlockBytes(const Fetch* fetch, int index) {
  int64_t at = fetch->window + index * fetch->options->block_bytes;
  int64_t left = CurrentFile(fetch)->bytes - at;
  return left < fetch->options->block_bytes ? left : fetch->options->block_bytes;
}

void FetchBlock(Fetch* fetch, const char* ref, int64_t offset, const void* bytes, int64_t length,
                int64_t now_ms) {
  int64_t index = (offset - fetch->window) / fetch->options->block_bytes;
  if (strcmp(ref, fetch->ref) != 0 || fetch->fd < 0 || offset < fetch->window ||
      index >= fetch->window_blocks ||
      (offset - fetch->window) % fetch->options->block_bytes != 0 ||
      length != BlockBytes(fetch, (int)index) || (fetch->come & (UINT64_C(1) << index)) != 0) {
    return;
  }
  CrashPoint();
  if (!WriteAt(fetch->fd, bytes, (size_t)length, offset)) {
    snprintf(fetch->why, sizeof fetch->why, "cannot write: %s", strerror(errno));
    fetch->failed_to_write = true;
    return;
  }
  fetch->come |= UINT64_C(1) << index;
  fetch->tries = 0;
  fetch->due_ms = now_ms + (int64_t)(10000 * fetch->options->scale);
  int first = 0;  // the first block of the window that has not come
  while (first < fetch->window_blocks && (fetch->come & (UINT64_C(1) << first)) != 0) {
    ++first;
  }
  if (first == fetch->window_blocks) {
    int64_t end =
        fetch->window + (first - 1) * fetch->options->block_bytes + BlockBytes(fetch, first - 1);
    int64_t slow = fetch->options->slow;
    fetch->due_ms = now_ms + (slow > 0 ? (end - fetch->window) * 1000 / slow : 0);
    fetch->state->offset = end;
    fetch->window_blocks = 0;
  }
}

// Asks for the next window, or for the first gap of the current one when 10 s brought nothing new.
static FetchEvent StepBlocks(Fetch* fetch, int64_t now_ms) {
  const int64_t length = fetch->options->block_bytes;
  int first = 0;
  if (fetch->window_blocks == 0) {
    int64_t blocks = (CurrentFile(fetch)->bytes - fetch->state->offset + length - 1) / length;
    int64_t most =
        kMaxWindowBytes / length < kWindowBlocks ? kMaxWindowBytes / length : kWindowBlocks;
    fetch->window = fetch->state->offset;
    fetch->window_blocks = (int)(blocks < most ? blocks : most);
    fetch->come = 0;
  } else if (++fetch->tries > kMaxTries) {
    return Failed(fetch, "the blocks that were asked for do not come");
  }
  while ((fetch->come & (UINT64_C(1) << first)) != 0) {
    ++first;
  }
  int count = 1;
  while (first + count < fetch->window_blocks &&
         (fetch->come & (UINT64_C(1) << (first + count))) == 0) {
    ++count;
  }
  fetch->blocks =
      (BlockRequest){fetch->state->file, fetch->ref, fetch->window + first * length, length, count};
  fetch->due_ms = now_ms + (int64_t)(10000 * fetch->options->scale);
  return kFetchAskBlocks;
}

// ---- both

FetchEvent FetchStep(Fetch* fetch, int64_t now_ms) {
  State* state = fetch->state;
  if (fetch->failed_to_write) {
    return kFetchFailed;
  }
  if (state->file == state->download.file_count) {
    return kFetchDone;
  }
  if (fetch->fd < 0 && !OpenFile(fetch)) {
    fetch->failed_to_write = true;
    return kFetchFailed;
  }
  if (fetch->easy == NULL && state->offset == CurrentFile(fetch)->bytes) {
    bool synced = fdatasync(fetch->fd) == 0;
    CloseFile(fetch);
    ++state->file;
    state->offset = 0;
    NewRef(fetch);
    fetch->tried_from = -1;
    if (!synced || !SaveProgress(fetch)) {
      fetch->failed_to_write = true;
      return kFetchFailed;
    }
    return state->file == state->download.file_count ? kFetchDone : kFetchRunning;
  }
  // Often enough that little is lost, seldom enough that flash lasts.
  int64_t every =
      CurrentFile(fetch)->bytes / 64 > kSaveBytes ? CurrentFile(fetch)->bytes / 64 : kSaveBytes;
  if (state->offset - fetch->saved >= every && !SaveProgress(fetch)) {
    fetch->failed_to_write = true;
    return kFetchFailed;
  }
  if (fetch->easy == NULL && now_ms < fetch->due_ms) {
    return kFetchRunning;
  }
  return FetchUsesBlocks(fetch) ? StepBlocks(fetch, now_ms) : StepHttp(fetch, now_ms);
}

int FetchPercent(const State* state) {
  int64_t all = 0;
  int64_t have = state->offset;
  for (int i = 0; i < state->download.file_count; ++i) {
    all += state->download.files[i].bytes;
    have += i < state->file ? state->download.files[i].bytes : 0;
  }
  return all > 0 ? (int)(have * 100 / all) : 0;
}
