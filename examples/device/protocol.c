// JSON of the native dialect, by cJSON.
#include "protocol.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

static const cJSON* Member(const cJSON* object, const char* name) {
  return cJSON_GetObjectItemCaseSensitive(object, name);
}

static bool Fail(char* error, const char* member, const char* rule) {
  snprintf(error, 128, "%s: %s", member, rule);
  return false;
}

// A string of min to size-1 bytes.
static bool Text(const cJSON* object, const char* name, char* to, size_t size, size_t min,
                 char* error) {
  const char* text = cJSON_GetStringValue(Member(object, name));
  size_t length = text != NULL ? strlen(text) : 0;
  if (text == NULL || length < min || length >= size) {
    return Fail(error, name, "must be a string of the allowed length");
  }
  memcpy(to, text, length + 1);
  return true;
}

// The same for a member that may be absent; what is too long is cut.
static void OptionalText(const cJSON* object, const char* name, char* to, size_t size) {
  const char* text = cJSON_GetStringValue(Member(object, name));
  snprintf(to, size, "%s", text != NULL ? text : "");
}

static int64_t Integer(const cJSON* object, const char* name, int64_t otherwise) {
  const cJSON* item = Member(object, name);
  const double limit = 9007199254740992.0;
  if (!cJSON_IsNumber(item) || !(item->valuedouble > -limit && item->valuedouble < limit)) {
    return otherwise;
  }
  return (int64_t)item->valuedouble;
}

static bool IsDigest(const char* text) {
  return strlen(text) == 64 && strspn(text, "0123456789abcdef") == 64;
}

static bool DecodePlanObject(const cJSON* object, Plan* plan, char* error) {
  char mode[16];
  const cJSON* item = NULL;
  const cJSON* components = Member(object, "components");
  const cJSON* conditions = Member(object, "conditions");
  memset(plan, 0, sizeof *plan);
  if (!Text(object, "task", plan->task, sizeof plan->task, 8, error)) {
    return false;
  }
  if (!cJSON_IsArray(components) || cJSON_GetArraySize(components) < 1 ||
      cJSON_GetArraySize(components) > kMaxPlanComponents) {
    return Fail(error, "components", "must be an array of 1 to 32");
  }
  cJSON_ArrayForEach(item, components) {
    Target* target = &plan->components[plan->count++];
    if (!Text(item, "name", target->name, sizeof target->name, 1, error) ||
        !Text(item, "to", target->to, sizeof target->to, 1, error)) {
      return false;
    }
  }
  OptionalText(object, "mode", mode, sizeof mode);
  OptionalText(object, "text", plan->text, sizeof plan->text);
  plan->manual = strcmp(mode, "manual") == 0;
  plan->consent = cJSON_IsTrue(Member(object, "consent"));
  plan->battery = Integer(conditions, "battery", INT64_MIN);
  plan->signal = Integer(conditions, "signal", INT64_MIN);
  plan->free_bytes = Integer(conditions, "freeBytes", INT64_MIN);
  return true;
}

static bool DecodeDownloadObject(const cJSON* object, char* task, Download* download, char* error) {
  char package[16];
  const cJSON* item = NULL;
  const cJSON* files = Member(object, "files");
  memset(download, 0, sizeof *download);
  if (!Text(object, "task", task, 33, 8, error) ||
      !Text(object, "component", download->component, sizeof download->component, 1, error) ||
      !Text(object, "to", download->to, sizeof download->to, 1, error)) {
    return false;
  }
  download->attempt = (int)Integer(object, "attempt", 0);
  if (download->attempt < 1) {
    return Fail(error, "attempt", "must be an integer above 0");
  }
  if (!cJSON_IsArray(files) || cJSON_GetArraySize(files) < 1 ||
      cJSON_GetArraySize(files) > kMaxFiles) {
    return Fail(error, "files", "must be an array of 1 to 5");
  }
  cJSON_ArrayForEach(item, files) {
    File* file = &download->files[download->file_count++];
    file->bytes = Integer(item, "bytes", 0);
    if (file->bytes < 1) {
      return Fail(error, "bytes", "must be an integer above 0");
    }
    if (!Text(item, "sha256", file->sha256, sizeof file->sha256, 64, error)) {
      return false;
    }
    if (!IsDigest(file->sha256)) {
      return Fail(error, "sha256", "must be 64 lower-case hex digits");
    }
    if (Member(item, "url") != NULL && !Text(item, "url", file->url, sizeof file->url, 1, error)) {
      return false;
    }
  }
  OptionalText(object, "from", download->from, sizeof download->from);
  OptionalText(object, "package", package, sizeof package);
  download->delta = strcmp(package, "delta") == 0;
  download->deadline_s = Integer(object, "deadlineIn", 0);
  download->blocks = cJSON_IsTrue(Member(object, "blocks"));
  return true;
}

static bool DecodeReplyObject(const cJSON* object, Reply* reply, char* error) {
  memset(reply, 0, sizeof *reply);
  OptionalText(object, "id", reply->id, sizeof reply->id);
  OptionalText(object, "to", reply->to, sizeof reply->to);
  OptionalText(object, "task", reply->task, sizeof reply->task);
  OptionalText(object, Member(object, "message") != NULL ? "message" : "warning", reply->message,
               sizeof reply->message);
  reply->code = (int)Integer(object, "code", 0);
  reply->retry_after = Integer(object, "retryAfter", 0);
  reply->again = Integer(object, "again", 0);
  return reply->code != 0 || Fail(error, "code", "must be an integer");
}

bool DecodePlan(const char* text, Plan* plan, char* error) {
  cJSON* object = cJSON_Parse(text);
  bool ok = cJSON_IsObject(object) ? DecodePlanObject(object, plan, error)
                                   : Fail(error, "payload", "no JSON object");
  cJSON_Delete(object);
  return ok;
}

bool DecodeDownload(const char* text, char* task, Download* download, char* error) {
  cJSON* object = cJSON_Parse(text);
  bool ok = cJSON_IsObject(object) ? DecodeDownloadObject(object, task, download, error)
                                   : Fail(error, "payload", "no JSON object");
  cJSON_Delete(object);
  return ok;
}

bool DecodeCancel(const char* text, char* task, char* error) {
  cJSON* object = cJSON_Parse(text);
  bool ok = cJSON_IsObject(object) ? Text(object, "task", task, 33, 8, error)
                                   : Fail(error, "payload", "no JSON object");
  cJSON_Delete(object);
  return ok;
}

bool DecodeReply(const char* text, Reply* reply, char* error) {
  cJSON* object = cJSON_Parse(text);
  bool ok = cJSON_IsObject(object) ? DecodeReplyObject(object, reply, error)
                                   : Fail(error, "payload", "no JSON object");
  cJSON_Delete(object);
  return ok;
}

static cJSON* Begin(const char* id, const char* task) {
  cJSON* object = cJSON_CreateObject();
  if (id != NULL && id[0] != '\0') {
    cJSON_AddStringToObject(object, "id", id);
  }
  if (task != NULL && task[0] != '\0') {
    cJSON_AddStringToObject(object, "task", task);
  }
  return object;
}

static char* End(cJSON* object) {
  char* text = cJSON_PrintUnformatted(object);
  cJSON_Delete(object);
  if (text == NULL) {
    abort();
  }
  return text;
}

static void AddText(cJSON* object, const char* name, const char* text) {
  if (text != NULL && text[0] != '\0') {
    cJSON_AddStringToObject(object, name, text);
  }
}

static void AddNumber(cJSON* object, const char* name, int64_t value, int64_t absent) {
  if (value != absent) {
    cJSON_AddNumberToObject(object, name, (double)value);
  }
}

char* EncodeVersion(const char* id, const State* state, const Health* health) {
  char boot[24];
  snprintf(boot, sizeof boot, "%ld", state->boot);
  cJSON* object = Begin(id, state->task);
  cJSON* components = cJSON_AddObjectToObject(object, "components");
  cJSON* trial = cJSON_CreateArray();
  for (int i = 0; i < state->component_count; ++i) {
    const Component* c = &state->components[i];
    cJSON_AddStringToObject(components, c->name, RunningVersion(c));
    if (c->trial[0] != '\0') {
      cJSON_AddItemToArray(trial, cJSON_CreateString(c->name));
    }
  }
  if (cJSON_GetArraySize(trial) > 0) {
    cJSON_AddItemToObject(object, "trial", trial);
  } else {
    cJSON_Delete(trial);
  }
  cJSON_AddStringToObject(object, "bootId", boot);
  AddNumber(object, "battery", health->battery, INT64_MIN);
  AddNumber(object, "signal", health->signal, INT64_MIN);
  AddNumber(object, "freeBytes", health->free_bytes, INT64_MIN);
  AddText(object, "lang", health->lang);
  AddNumber(object, "maxBytes", health->max_bytes, 0);
  if (health->request) {
    cJSON_AddTrueToObject(object, "request");
  }
  return End(object);
}

char* EncodeConfirm(const char* id, const char* task, bool accept, const char* reason,
                    int64_t retry_after) {
  cJSON* object = Begin(id, task);
  cJSON_AddBoolToObject(object, "accept", accept);
  AddText(object, "reason", reason);
  AddNumber(object, "retryAfter", retry_after, 0);
  return End(object);
}

char* EncodeProgress(const char* id, const State* state, const Progress* progress) {
  cJSON* object = Begin(id, state->task);
  cJSON_AddStringToObject(object, "component", state->download.component);
  AddNumber(object, "attempt", state->download.attempt, 0);
  cJSON_AddStringToObject(object, "state", progress->state);
  AddNumber(object, "percent", progress->percent, -1);
  AddNumber(object, "code", progress->code, 0);
  AddText(object, strcmp(progress->state, "waiting") == 0 ? "reason" : "message",
          progress->message);
  AddNumber(object, "retryAfter", progress->retry_after, 0);
  return End(object);
}

char* EncodeBlockRequest(const State* state, const BlockRequest* request) {
  cJSON* object = Begin(NULL, state->task);
  cJSON_AddStringToObject(object, "component", state->download.component);
  cJSON_AddNumberToObject(object, "file", request->file);
  cJSON_AddStringToObject(object, "ref", request->ref);
  cJSON_AddNumberToObject(object, "offset", (double)request->offset);
  cJSON_AddNumberToObject(object, "length", (double)request->length);
  cJSON_AddNumberToObject(object, "count", request->count);
  return End(object);
}
