// ota-device: a reference device for the native dialect of mosquitto-ota (ota/v1).
//
// One thread and one loop: Advance() does what is due, Poll() waits for the broker, the download
// server or the next due time, and libmosquitto calls On...() for what came. Whatever must not be
// lost is saved in the state before it is said, so that the power may fail at any line. Clause ids
// (N-...) are those of native.md.
#include <errno.h>
#include <mosquitto.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>
#include <openssl/rand.h>

#include "disk.h"
#include "fetch.h"
#include "options.h"
#include "protocol.h"
#include "signature.h"
#include "state.h"

enum {
  kConditionRetryS = 300,
  kBusyRetryS = 600,
  kReplyMs = 10000,
  kProgressMs = 1000,
  kRefusedRetryS = 3600
};

static const char kRebootVariable[] = "OTA_DEVICE_REBOOT";

// The kinds of uplink that are answered. At most one of each is outstanding.
typedef enum Uplink { kVersion, kConfirm, kProgress, kUplinks } Uplink;
static const char* const kUplinkNames[kUplinks] = {"version", "confirm", "progress"};

typedef struct Pending {
  char* text;  // NULL: none
  char id[16];
  int tries;
  int64_t due_ms;  // when it is sent again
} Pending;

typedef enum Step { kStepRest, kStepFetch, kStepInstall, kStepReboot } Step;

typedef struct Device {
  Options options;
  State state;
  char prefix[160];  // ota/v1/PRODUCT/DEVICE/
  struct mosquitto* mqtt;
  CURLM* curl;
  Fetch fetch;
  Step step;
  bool subscribed;  // on this connection
  bool answered;    // the first report of this connection has its reply
  int connect_tries;
  int64_t connect_ms;
  unsigned long ids;
  Pending pending[kUplinks];
  bool told_since_report;  // a plan or download came after the last report
  int64_t report_ms;       // when to report again; 0: no need
  Progress progress;
  bool progress_due;
  bool progress_needs_reply;
  int64_t progress_ms;  // when progress was last sent
  int percent_sent;
  int64_t heard_ms;   // when the broker last heard of the task
  char declined[33];  // task that was refused or postponed
  int64_t postponed_until_ms;
  int64_t reboot_ms;  // the latest time for it
  int64_t timeout_ms;
  bool ended;
  int exit_code;
} Device;

static volatile sig_atomic_t stop;

static void OnSignal(int signal_number) {
  (void)signal_number;
  stop = 1;
}

static int64_t NowMs(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Level 0: errors, to standard error; 1: steps; 2: messages.
__attribute__((format(printf, 3, 4))) static void Say(const Device* device, int level,
                                                      const char* format, ...) {
  if (level > device->options.level) {
    return;
  }
  va_list arguments;
  va_start(arguments, format);
  FILE* to = level == 0 ? stderr : stdout;
  fprintf(to, "%s: ", device->options.device);
  vfprintf(to, format, arguments);
  fputc('\n', to);
  fflush(to);
  va_end(arguments);
}

static void End(Device* device, int exit_code) {
  device->ended = true;
  device->exit_code = exit_code;
}

// A device whose disk cannot be written can promise nothing.
static void Saved(Device* device, bool ok) {
  if (!ok) {
    Say(device, 0, "cannot write %s: %s", device->state.dir, strerror(errno));
    End(device, 1);
  }
  CrashPoint();
}

static int64_t Scaled(const Device* device, int64_t ms) {
  return (int64_t)((double)ms * device->options.fetch.scale);
}

// From here on an upgrade is no longer stopped.
static bool Installing(Device* device) {
  return device->step >= kStepInstall || StateOnTrial(&device->state) != NULL;
}

// ---- uplinks

static void Publish(Device* device, const char* leaf, const char* text, int qos) {
  char topic[200];
  snprintf(topic, sizeof topic, "%sup/%s", device->prefix, leaf);
  Say(device, 2, "> up/%s %s", leaf, text);
  CrashPoint();
  mosquitto_publish(device->mqtt, NULL, topic, (int)strlen(text), text, qos, false);
  CrashPoint();
  device->heard_ms = NowMs();
}

static void Settle(Device* device, Uplink uplink) {
  free(device->pending[uplink].text);
  device->pending[uplink].text = NULL;
}

static const char* NextId(Device* device, Uplink uplink) {
  snprintf(device->pending[uplink].id, sizeof device->pending[uplink].id, "%lu", ++device->ids);
  return device->pending[uplink].id;
}

// Sends `text`, which has the id of NextId(), again and again until it is answered (N-8). Takes
// `text` over.
static void SendUntilAnswered(Device* device, Uplink uplink, char* text) {
  Pending* pending = &device->pending[uplink];
  Settle(device, uplink);
  pending->text = text;
  pending->tries = 0;
  pending->due_ms = NowMs() + RetryMs(0, device->options.fetch.scale);
  Publish(device, kUplinkNames[uplink], text, 1);
}

static void SendReport(Device* device) {
  device->told_since_report = false;
  device->report_ms = 0;
  const char* id = NextId(device, kVersion);
  SendUntilAnswered(device, kVersion, EncodeVersion(id, &device->state, &device->options.health));
}

static void SendConfirm(Device* device, const char* task, bool accept, const char* reason,
                        int64_t retry_after_s) {
  const char* id = NextId(device, kConfirm);
  SendUntilAnswered(device, kConfirm, EncodeConfirm(id, task, accept, reason, retry_after_s));
}

// Progress is sent by Advance(), at most once a second; what is newer replaces what is not sent
// yet.
__attribute__((format(printf, 5, 6))) static void SetProgress(Device* device, const char* state,
                                                              int percent, int code,
                                                              const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  memset(&device->progress, 0, sizeof device->progress);
  device->progress.state = state;
  device->progress.percent = percent;
  device->progress.code = code;
  vsnprintf(device->progress.message, sizeof device->progress.message, format, arguments);
  device->progress_due = device->state.task[0] != '\0';
  device->progress_needs_reply = false;
  va_end(arguments);
}

static void SendProgress(Device* device, int64_t now_ms) {
  if (!device->progress_due || !device->answered || now_ms - device->progress_ms < kProgressMs) {
    return;
  }
  device->progress_due = false;
  device->progress_ms = now_ms;
  if (device->progress_needs_reply) {
    const char* id = NextId(device, kProgress);
    SendUntilAnswered(device, kProgress, EncodeProgress(id, &device->state, &device->progress));
    return;
  }
  Settle(device, kProgress);
  char* text = EncodeProgress(NULL, &device->state, &device->progress);
  Publish(device, kUplinkNames[kProgress], text, 1);
  free(text);
}

// ---- the held task

static void Rest(Device* device) {
  FetchEnd(&device->fetch);
  device->fetch.fd = -1;
  device->step = kStepRest;
}

static void Forget(Device* device, const char* why) {
  Say(device, 1, "task %s is over: %s", device->state.task, why);
  if (!Installing(device)) {
    Rest(device);
  }
  device->progress_due = false;
  Settle(device, kConfirm);
  Settle(device, kProgress);
  Saved(device, StateForget(&device->state));
}

static void ReportFailure(Device* device) {
  SetProgress(device, "failed", -1, device->state.failure, "%s", device->state.failure_text);
  device->progress_needs_reply = true;
}

static void Fail(Device* device, int code, const char* why) {
  State* state = &device->state;
  Say(device, 1, "%s %s failed (%d): %s", state->download.component, state->download.to, code, why);
  Rest(device);
  state->failure = code;
  snprintf(state->failure_text, sizeof state->failure_text, "%s", why);
  Saved(device, StateSave(state));
  ReportFailure(device);
}

// True while --fail-at asks for a failure here.
static bool FailsAt(Device* device, FailAt where) {
  Options* options = &device->options;
  if (options->fail_at != where || options->fail_times == 0) {
    return false;
  }
  options->fail_times -= options->fail_times > 0 ? 1 : 0;
  return true;
}

static void Accept(Device* device) {
  State* state = &device->state;
  state->phase = kAccepted;
  device->declined[0] = '\0';
  Saved(device, StateSave(state));
  Say(device, 1, "accepts task %s", state->task);
  SendConfirm(device, state->task, true, NULL, 0);
}

static void Decline(Device* device, const char* task, const char* reason, int64_t retry_after_s) {
  Say(device, 1, "%s task %s: %s", retry_after_s > 0 ? "postpones" : "refuses", task, reason);
  snprintf(device->declined, sizeof device->declined, "%s", task);
  SendConfirm(device, task, false, reason, retry_after_s);
}

// Gives the condition that is not met, in words, or NULL. What the device does not know it does not
// judge.
static const char* Unmet(const Device* device, const Plan* plan, char text[128]) {
  const Health* health = &device->options.health;
  const struct {
    const char* name;
    int64_t have, need;
  } kConditions[] = {{"battery", health->battery, plan->battery},
                     {"signal", health->signal, plan->signal},
                     {"free space", health->free_bytes, plan->free_bytes}};
  for (size_t i = 0; i < sizeof kConditions / sizeof *kConditions; ++i) {
    if (kConditions[i].need != INT64_MIN && kConditions[i].have != INT64_MIN &&
        kConditions[i].have < kConditions[i].need) {
      snprintf(text, 128, "%s is %lld, wanted: %lld", kConditions[i].name,
               (long long)kConditions[i].have, (long long)kConditions[i].need);
      return text;
    }
  }
  return NULL;
}

static bool AtTargets(Device* device, const Plan* plan) {
  for (int i = 0; i < plan->count; ++i) {
    const Component* c = StateFind(&device->state, plan->components[i].name);
    if (c == NULL || strcmp(RunningVersion(c), plan->components[i].to) != 0) {
      return false;
    }
  }
  return true;
}

static void OnPlan(Device* device, const Plan* plan, int64_t now_ms) {
  State* state = &device->state;
  const Options* options = &device->options;
  bool same = strcmp(plan->task, state->task) == 0;
  char unmet[128];
  device->told_since_report = true;
  Say(device, 1, "offered task %s: %s -> %s%s", plan->task, plan->components[0].name,
      plan->components[0].to, plan->count > 1 ? ", ..." : "");
  if (Installing(device)) {
    if (!same) {
      SendConfirm(device, plan->task, false, "installing", kBusyRetryS);
    }
    return;
  }
  if (AtTargets(device, plan)) {
    SendReport(device);
    return;
  }
  if (same && state->phase == kAccepted) {
    SendConfirm(device, plan->task, true, NULL, 0);
    return;
  }
  if (!same) {
    if (state->task[0] != '\0') {
      Forget(device, "another one is offered");
    }
    snprintf(state->task, sizeof state->task, "%s", plan->task);
    state->phase = kOffered;
    Saved(device, StateSave(state));
  }
  if (plan->manual && !plan->consent) {
    Say(device, 1, "asks the user: \"%s\"",
        plan->text);  // whose answer --refuse and --postpone stand for
  }
  if (options->refuse) {
    Decline(device, plan->task, "refused by the user", 0);
  } else if (options->postpone_s > 0 &&
             (!state->postponed || now_ms < device->postponed_until_ms)) {
    if (!state->postponed) {
      state->postponed = true;
      device->postponed_until_ms = now_ms + options->postpone_s * 1000 - kProgressMs;
      Saved(device, StateSave(state));
    }
    Decline(device, plan->task, "not now", options->postpone_s);
  } else if (Unmet(device, plan, unmet) != NULL) {
    Decline(device, plan->task, unmet, kConditionRetryS);
  } else {
    Accept(device);
  }
}

static bool SameFiles(const Download* a, const Download* b) {
  if (strcmp(a->component, b->component) != 0 || a->file_count != b->file_count) {
    return false;
  }
  for (int i = 0; i < a->file_count; ++i) {
    if (a->files[i].bytes != b->files[i].bytes ||
        strcmp(a->files[i].sha256, b->files[i].sha256) != 0) {
      return false;
    }
  }
  return true;
}

static void BeginFetch(Device* device, int64_t now_ms) {
  State* state = &device->state;
  const Component* component = StateFind(state, state->download.component);
  if (device->options.refuse) {
    Fail(device, -5, "refused by the user");
  } else if (component == NULL) {
    Fail(device, -5, "no such component");
  } else if (state->download.delta && strcmp(state->download.from, component->version) != 0) {
    Fail(device, -5, "the delta starts from another version");
  } else if (!FetchBegin(&device->fetch, &device->options.fetch, state, device->curl, now_ms)) {
    Fail(device, -2, device->fetch.why);
  } else {
    Say(device, 1, "downloads %s %s over %s%s, attempt %d", state->download.component,
        state->download.to, FetchUsesBlocks(&device->fetch) ? "MQTT blocks" : "HTTP",
        FetchPercent(state) > 0 ? ", resumed" : "", state->download.attempt);
    device->step = kStepFetch;
    device->percent_sent = -100;
  }
}

static void OnDownload(Device* device, const char* task, const Download* download, int64_t now_ms) {
  State* state = &device->state;
  bool same = strcmp(task, state->task) == 0;
  bool same_component = same && strcmp(download->component, state->download.component) == 0;
  bool same_attempt = same_component && download->attempt == state->download.attempt;
  Component* component = StateFind(state, download->component);
  device->told_since_report = true;
  if (Installing(device) || strcmp(task, device->declined) == 0 ||
      (same_component && download->attempt < state->download.attempt)) {
    Say(device, 2, "ignores this download");
    return;
  }
  if (component != NULL && strcmp(component->version, download->to) == 0) {
    SendReport(device);
    return;
  }
  if (same_attempt && state->failure != 0) {
    ReportFailure(device);
    return;
  }
  bool same_files = SameFiles(download, &state->download);
  if (same_attempt && same_files &&
      device->step == kStepFetch) {  // only the addresses are new (N-21)
    state->download = *download;
    FetchRenewed(&device->fetch, now_ms);
    return;
  }
  Rest(device);
  if (!(same && same_files && (state->failure == 0 || state->failure == -2))) {
    state->file = 0;
    state->offset = 0;
  }
  snprintf(state->task, sizeof state->task, "%s", task);
  state->phase = kAccepted;
  state->download = *download;
  state->failure = 0;
  state->failure_text[0] = '\0';
  Saved(device, StateSave(state));
  BeginFetch(device, now_ms);
}

// A download that the site's key has not signed: nothing of it is fetched.
static void OnUntrusted(Device* device, const char* task, const Download* download,
                        const char* why) {
  State* state = &device->state;
  device->told_since_report = true;
  if (Installing(device)) {
    return;
  }
  Rest(device);
  state->file = 0;
  state->offset = 0;
  snprintf(state->task, sizeof state->task, "%s", task);
  state->phase = kAccepted;
  state->download = *download;
  Fail(device, -3, why);
}

static void OnCancel(Device* device, const char* task) {
  if (strcmp(task, device->state.task) != 0) {
    return;
  }
  if (Installing(device)) {
    Say(device, 1, "ignores the cancel: it is installing");
    return;
  }
  Forget(device, "canceled");
}

// ---- trial boot

// What a firmware must show before it is kept: its files are what was sent, and it reaches its
// broker.
static bool SelfCheck(Device* device, const Component* component) {
  const Download* download = &device->state.download;
  for (int i = 0; i < download->file_count && strcmp(download->component, component->name) == 0;
       ++i) {
    char path[kPathBytes];
    char hex[65];
    SlotPath(&device->state, component, i, path);
    if (!Sha256OfFile(path, hex) || strcmp(hex, download->files[i].sha256) != 0) {
      return false;
    }
  }
  return !device->options.roll_back;
}

static void AskToReboot(Device* device, const char* state, const char* message, int64_t now_ms) {
  SetProgress(device, state, -1, 0, "%s", message);
  device->progress_needs_reply = true;
  device->reboot_ms = now_ms + kProgressMs + Scaled(device, kReplyMs);
  device->step = kStepReboot;
}

static void EndTrial(Device* device, Component* component, int64_t now_ms) {
  if (SelfCheck(device, component)) {
    Say(device, 1, "keeps %s %s: its self-check passed", component->name, component->trial);
    Saved(device, StateKeep(&device->state, component));
    SendReport(device);
    return;
  }
  Say(device, 1, "goes back to %s %s: the self-check of %s failed", component->name,
      component->version, component->trial);
  Saved(device, StateGoBack(&device->state, component, "rolled back: the self-check failed"));
  AskToReboot(device, "rolledBack", "the self-check failed", now_ms);
}

// ---- replies

static void OnReport(Device* device, const Reply* reply, int64_t now_ms) {
  State* state = &device->state;
  Component* trial = StateOnTrial(state);
  if (!device->answered) {
    device->answered = true;
    device->connect_tries = 0;
  }
  if (reply->again > 0) {
    device->report_ms = now_ms + Scaled(device, reply->again * 1000);
  }
  if (device->step == kStepReboot) {
    return;
  }
  if (trial != NULL) {
    EndTrial(device, trial, now_ms);
    return;
  }
  if (reply->code != 200) {
    device->report_ms = now_ms + Scaled(device, kRefusedRetryS * 1000);
    return;
  }
  // All that the report caused came before its reply (N-13): a component was kept and nothing is
  // left to do.
  if (state->task[0] != '\0' && state->phase == kAccepted && state->download.attempt == 0 &&
      state->download.to[0] != '\0' && !device->told_since_report && reply->again == 0) {
    Forget(device, "every component is at its target");
  }
  const Component* wanted = StateFind(state, device->options.exit_component);
  if (wanted != NULL && strcmp(wanted->version, device->options.exit_version) == 0) {
    Say(device, 1, "done: %s %s is installed, kept and reported", wanted->name, wanted->version);
    End(device, 0);
  }
}

static void OnReply(Device* device, const Reply* reply, int64_t now_ms) {
  Uplink uplink = kVersion;
  while (uplink < kUplinks && strcmp(kUplinkNames[uplink], reply->to) != 0) {
    ++uplink;
  }
  Pending* pending = uplink < kUplinks ? &device->pending[uplink] : NULL;
  bool mine = pending != NULL && pending->text != NULL &&
              (strcmp(reply->id, pending->id) == 0 || (reply->id[0] == '\0' && reply->code != 200));
  bool of_task = reply->task[0] != '\0' && strcmp(reply->task, device->state.task) == 0;
  if (reply->code != 200 || reply->message[0] != '\0') {
    Say(device, reply->code == 200 ? 2 : 1, "reply %d to %s: %s", reply->code, reply->to,
        reply->message);
  }
  if (reply->code == 429 || reply->code == 503) {
    int64_t wait_s = reply->retry_after > 0 ? reply->retry_after : 10;
    if (mine) {
      pending->due_ms =
          now_ms + Scaled(device, wait_s * 1000) + RetryMs(0, device->options.fetch.scale) / 10;
    } else if (strcmp(reply->to, "block") == 0 && device->step == kStepFetch) {
      FetchPause(&device->fetch, wait_s, now_ms);
    }
    return;
  }
  if (mine) {
    Settle(device, uplink);
  }
  if ((reply->code == 404 || reply->code == 410) && of_task) {
    Forget(device, reply->message[0] != '\0' ? reply->message : "the broker says so");
  } else if ((reply->code == 416 || reply->code == 403 || reply->code == 400) &&
             strcmp(reply->to, "block") == 0 && device->step == kStepFetch) {
    Fail(device, -2, "a block request was refused");
  }
  if (mine && uplink == kVersion) {
    OnReport(device, reply, now_ms);
  }
}

// ---- libmosquitto's callbacks

static void OnText(Device* device, const char* leaf, const char* text, int64_t now_ms) {
  char error[128] = "";
  char task[33];
  Plan plan;
  Download download;
  Reply reply;
  bool ok = true;
  if (strcmp(leaf, "plan") == 0) {
    ok = DecodePlan(text, &plan, error);
    if (ok) {
      OnPlan(device, &plan, now_ms);
    }
  } else if (strcmp(leaf, "download") == 0) {
    ok = DecodeDownload(text, task, &download, error);
    if (ok && device->options.public_key != NULL &&
        !CheckSignature(text, device->options.product, device->options.public_key, error)) {
      OnUntrusted(device, task, &download, error);
    } else if (ok) {
      OnDownload(device, task, &download, now_ms);
    }
  } else if (strcmp(leaf, "cancel") == 0) {
    ok = DecodeCancel(text, task, error);
    if (ok) {
      OnCancel(device, task);
    }
  } else if (strcmp(leaf, "reply") == 0) {
    ok = DecodeReply(text, &reply, error);
    if (ok) {
      OnReply(device, &reply, now_ms);
    }
  }
  if (!ok) {
    Say(device, 0, "malformed down/%s: %s", leaf, error);
  }
}

static void OnMessage(struct mosquitto* mqtt, void* user, const struct mosquitto_message* message) {
  Device* device = user;
  size_t length = strlen(device->prefix);
  int64_t now_ms = NowMs();
  (void)mqtt;
  CrashPoint();
  if (device->ended || strncmp(message->topic, device->prefix, length) != 0 ||
      strncmp(message->topic + length, "down/", 5) != 0) {
    return;
  }
  const char* leaf = message->topic + length + 5;
  if (strncmp(leaf, "block/", 6) == 0) {
    char ref[9];
    long long offset = 0;
    int end = 0;
    if (device->step == kStepFetch &&
        sscanf(leaf, "block/%8[A-Za-z0-9]/%lld%n", ref, &offset, &end) == 2 && leaf[end] == '\0') {
      Say(device, 2, "< down/%s (%d bytes)", leaf, message->payloadlen);
      FetchBlock(&device->fetch, ref, offset, message->payload, message->payloadlen, now_ms);
    }
    return;
  }
  if (message->payloadlen > device->options.health.max_bytes) {
    Say(device, 0, "down/%s has %d bytes, more than --max-bytes", leaf, message->payloadlen);
    return;
  }
  char* text = calloc(1, (size_t)message->payloadlen + 1);
  if (text == NULL) {
    return;
  }
  if (message->payloadlen > 0) {
    memcpy(text, message->payload, (size_t)message->payloadlen);
  }
  Say(device, 2, "< down/%s %s", leaf, text);
  OnText(device, leaf, text, now_ms);
  free(text);
}

static void OnConnect(struct mosquitto* mqtt, void* user, int code) {
  Device* device = user;
  char filter[200];
  if (code != 0) {
    Say(device, 0, "the broker refuses the connection: %s", mosquitto_connack_string(code));
    return;  // the broker closes it
  }
  Say(device, 1, "connected to %s:%d", device->options.host, device->options.port);
  snprintf(filter, sizeof filter, "%sdown/#", device->prefix);
  mosquitto_subscribe(mqtt, NULL, filter, 1);
}

// The first report follows the SUBACK, so that nothing which it causes is lost (N-2).
static void OnSubscribe(struct mosquitto* mqtt, void* user, int mid, int count,
                        const int* granted) {
  Device* device = user;
  (void)mid;
  if (count != 1 || granted[0] > 2) {
    Say(device, 0, "the broker refuses the subscription: product, device and user name must agree");
    mosquitto_disconnect(mqtt);
    return;
  }
  device->subscribed = true;
  const Component* trial = StateOnTrial(&device->state);
  const Component* shown = trial != NULL ? trial : &device->state.components[0];
  Say(device, 1, "reports %s %s%s, boot %ld", shown->name, RunningVersion(shown),
      trial != NULL ? " (on trial)" : "", device->state.boot);
  SendReport(device);
}

static void OnDisconnect(struct mosquitto* mqtt, void* user, int code) {
  Device* device = user;
  (void)mqtt;
  device->subscribed = false;
  device->answered = false;
  for (int i = 0; i < kUplinks; ++i) {
    Settle(device,
           (Uplink)i);  // the next connection begins with a report; what is owed comes again
  }
  if (!device->ended) {
    int64_t wait_ms = RetryMs(device->connect_tries++, device->options.fetch.scale);
    device->connect_ms = NowMs() + wait_ms;
    Say(device, 1, "disconnected (%s), again in %lld s",
        code != 0 ? mosquitto_strerror(code) : "by itself", (long long)(wait_ms + 500) / 1000);
  }
}

// ---- the loop

static void Connect(Device* device, int64_t now_ms) {
  if (mosquitto_socket(device->mqtt) >= 0 || now_ms < device->connect_ms) {
    return;
  }
  int rc = mosquitto_connect(device->mqtt, device->options.host, device->options.port, 60);
  if (rc != MOSQ_ERR_SUCCESS) {
    int64_t wait_ms = RetryMs(device->connect_tries++, device->options.fetch.scale);
    device->connect_ms = now_ms + wait_ms;
    Say(device, 1, "cannot connect to %s:%d: %s, again in %lld s", device->options.host,
        device->options.port, rc == MOSQ_ERR_ERRNO ? strerror(errno) : mosquitto_strerror(rc),
        (long long)(wait_ms + 500) / 1000);
  }
}

static void Retry(Device* device, int64_t now_ms) {
  for (int i = 0; device->subscribed && i < kUplinks; ++i) {
    Pending* pending = &device->pending[i];
    if (pending->text != NULL && now_ms >= pending->due_ms) {
      pending->due_ms = now_ms + RetryMs(++pending->tries, device->options.fetch.scale);
      Publish(device, kUplinkNames[i], pending->text, 1);
    }
  }
  if (device->answered && device->report_ms > 0 && now_ms >= device->report_ms) {
    SendReport(device);
  }
}

static void Verify(Device* device) {
  State* state = &device->state;
  bool ok = !FailsAt(device, kFailVerify);
  for (int i = 0; ok && i < state->download.file_count; ++i) {
    char path[kPathBytes];
    char hex[65];
    SlotPath(state, device->fetch.component, i, path);
    ok = Sha256OfFile(path, hex) && strcmp(hex, state->download.files[i].sha256) == 0;
  }
  if (!ok) {
    state->file = 0;
    state->offset = 0;
    Fail(device, -3, "sha256 differs");
    return;
  }
  Say(device, 1, "verified: sha256 %.16s...", state->download.files[0].sha256);
  Rest(device);
  device->step = kStepInstall;
}

static void StepFetch(Device* device, int64_t now_ms) {
  State* state = &device->state;
  Fetch* fetch = &device->fetch;
  if (FetchUsesBlocks(fetch) && !device->answered) {
    return;  // as for the broker, so for the blocks: wait for the connection
  }
  FetchEvent event = FetchStep(fetch, now_ms);
  int percent = FetchPercent(state);
  if ((percent >= 50 || event == kFetchDone) && FailsAt(device, kFailDownload)) {
    Fail(device, -2, "failed as told by --fail-at");
    return;
  }
  switch (event) {
    case kFetchDone:
      SetProgress(device, "verifying", -1, 0, "%s", "");
      Verify(device);
      break;
    case kFetchAskBlocks: {
      char* text = EncodeBlockRequest(state, &fetch->blocks);
      Publish(device, "block", text, 0);
      free(text);
      break;
    }
    case kFetchNewAddress:
      Say(device, 1, "asks for a new address");
      if (device->answered) {
        SendConfirm(device, state->task, true, NULL, 0);
      }
      break;
    case kFetchWait:
      Say(device, 1, "waits %lld s: %s", (long long)fetch->retry_after, fetch->why);
      SetProgress(device, "waiting", -1, 0, "%s", fetch->why);
      device->progress.retry_after = fetch->retry_after;
      break;
    case kFetchFailed:
      Fail(device, fetch->failed_to_write ? -4 : -2, fetch->why);
      break;
    case kFetchRunning: {
      // Every 5 %, and often enough for the broker's deadline (N-25, N-26).
      int64_t quiet_ms = now_ms - device->heard_ms;
      bool overdue = state->download.deadline_s > 0 && quiet_ms > state->download.deadline_s * 500;
      if ((percent >= device->percent_sent + 5 && now_ms - device->progress_ms >= kProgressMs) ||
          overdue) {
        Say(device, 1, "downloading, %d %%", percent);
        SetProgress(device, "downloading", percent, 0, "%s", "");
        device->percent_sent = percent;
        device->heard_ms = now_ms;
      }
      break;
    }
  }
}

// The last moment at which a cancel counts has passed: the other slot is put on trial.
static void Install(Device* device, int64_t now_ms) {
  State* state = &device->state;
  Component* component = StateFind(state, state->download.component);
  if (component == NULL || FailsAt(device, kFailWrite)) {
    device->step = kStepRest;
    state->file = 0;
    state->offset = 0;
    Fail(device, -4, "the slot cannot be written");
    return;
  }
  Say(device, 1, "installs %s %s into slot %c", component->name, state->download.to,
      component->slot == 'a' ? 'b' : 'a');
  Saved(device, StatePutOnTrial(state, component, state->download.to));
  AskToReboot(device, "rebooting", "", now_ms);
}

static void Disconnect(Device* device) {
  device->ended = true;
  mosquitto_disconnect(device->mqtt);
  for (int i = 0;
       i < 100 && mosquitto_socket(device->mqtt) >= 0 && mosquitto_want_write(device->mqtt); ++i) {
    mosquitto_loop(device->mqtt, 10, 1);
  }
  FetchEnd(&device->fetch);
  mosquitto_destroy(device->mqtt);
  curl_multi_cleanup(device->curl);
  for (int i = 0; i < kUplinks; ++i) {
    Settle(device, (Uplink)i);
  }
}

// Starts the program anew: all that is not in the state directory is lost, as in a real reboot.
static void Reboot(Device* device, char** argv) {
  char carry[64];
  Say(device, 1, "reboots");
  CrashPoint();
  Disconnect(device);
  snprintf(carry, sizeof carry, "%ld %lld", CrashPointsPassed(), (long long)device->timeout_ms);
  setenv(kRebootVariable, carry, 1);
  execv("/proc/self/exe", argv);
  execvp(argv[0], argv);
  Say(device, 0, "cannot reboot: %s", strerror(errno));
  _exit(1);
}

static void Poll(Device* device, int timeout_ms) {
  struct curl_waitfd wait = {0};
  int fd = mosquitto_socket(device->mqtt);
  wait.fd = fd;
  wait.events =
      (short)(CURL_WAIT_POLLIN | (mosquitto_want_write(device->mqtt) ? CURL_WAIT_POLLOUT : 0));
  curl_multi_poll(device->curl, &wait, fd >= 0 ? 1 : 0, timeout_ms, NULL);
  // Reading without asking what poll saw is right: the socket does not block, and TLS may hold
  // bytes back.
  if (mosquitto_loop_read(device->mqtt, 1) == MOSQ_ERR_SUCCESS &&
      mosquitto_want_write(device->mqtt)) {
    mosquitto_loop_write(device->mqtt, 1);
  }
  mosquitto_loop_misc(device->mqtt);
}

static void Run(Device* device, char** argv) {
  while (!device->ended && !stop) {
    int64_t now_ms = NowMs();
    Step before = device->step;
    if (device->timeout_ms > 0 && now_ms >= device->timeout_ms) {
      Say(device, 0, "timeout");
      End(device, 3);
      break;
    }
    Connect(device, now_ms);
    Retry(device, now_ms);
    if (device->step == kStepFetch) {
      StepFetch(device, now_ms);
    } else if (device->step == kStepInstall) {
      Install(device, now_ms);
    }
    SendProgress(device, now_ms);
    bool told = !device->progress_due && device->pending[kProgress].text == NULL;
    if (device->step == kStepReboot &&
        (told || !device->subscribed || now_ms >= device->reboot_ms)) {
      Reboot(device, argv);
    }
    Poll(device, device->step != before ? 0 : 100);
  }
}

static bool Setup(Device* device) {
  const Options* options = &device->options;
  char client_id[160];
  char username[160];
  unsigned char random[4] = {0};
  RAND_bytes(random, sizeof random);
  snprintf(device->prefix, sizeof device->prefix, "ota/v1/%s/%s/", options->product,
           options->device);
  snprintf(username, sizeof username, "%s/%s", options->product, options->device);
  snprintf(client_id, sizeof client_id, "%s.%s", options->product, options->device);
  if (options->client_id_random) {
    snprintf(client_id, sizeof client_id, "%.100s.%02x%02x%02x%02x", options->device, random[0],
             random[1], random[2], random[3]);
  }
  device->curl = curl_multi_init();
  device->mqtt = mosquitto_new(client_id, !options->persistent, device);
  if (device->curl == NULL || device->mqtt == NULL) {
    Say(device, 0, "out of memory");
    return false;
  }
  mosquitto_int_option(device->mqtt, MOSQ_OPT_TCP_NODELAY, 1);
  mosquitto_username_pw_set(device->mqtt, options->username != NULL ? options->username : username,
                            options->password[0] != '\0' ? options->password : NULL);
  if (options->ca_file != NULL) {
    int rc = mosquitto_tls_set(device->mqtt, options->ca_file, NULL, options->cert_file,
                               options->key_file, NULL);
    if (rc != MOSQ_ERR_SUCCESS) {
      Say(device, 0, "TLS: %s", mosquitto_strerror(rc));
      return false;
    }
  }
  mosquitto_connect_callback_set(device->mqtt, OnConnect);
  mosquitto_subscribe_callback_set(device->mqtt, OnSubscribe);
  mosquitto_disconnect_callback_set(device->mqtt, OnDisconnect);
  mosquitto_message_callback_set(device->mqtt, OnMessage);
  return true;
}

int main(int argc, char** argv) {
  static Device device;  // large
  char error[256];
  const char* went_back = NULL;
  long long timeout_ms = 0;
  long passed = 0;
  int code = ParseOptions(argc, argv, &device.options);
  if (code >= 0) {
    return code;
  }
  const char* carried = getenv(kRebootVariable);
  if (carried != NULL && sscanf(carried, "%ld %lld", &passed, &timeout_ms) == 2) {
    SetCrashPointsPassed(passed);
    device.timeout_ms = timeout_ms;
  } else if (device.options.timeout_s > 0) {
    device.timeout_ms = NowMs() + device.options.timeout_s * 1000;
  }
  CrashAt(device.options.crash_at);
  struct sigaction action = {.sa_handler = OnSignal};
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  signal(SIGPIPE, SIG_IGN);
  device.fetch.fd = -1;
  device.progress_ms = -kProgressMs;
  if (!StateOpen(&device.state, device.options.state_dir, device.options.components,
                 device.options.component_count, error)) {
    Say(&device, 0, "%s", error);
    return 1;
  }
  CrashPoint();
  Saved(&device, StateBoot(&device.state, &went_back));
  if (device.ended) {
    return device.exit_code;
  }
  if (went_back != NULL) {
    Say(&device, 1, "the boot loader went back: %s did not start %d times", went_back, kBootTries);
  }
  mosquitto_lib_init();
  curl_global_init(CURL_GLOBAL_DEFAULT);
  if (!Setup(&device)) {
    return 1;
  }
  Run(&device, argv);
  Disconnect(&device);
  curl_global_cleanup();
  mosquitto_lib_cleanup();
  return device.exit_code;
}
