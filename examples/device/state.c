// state.json <-> State, and the little boot loader.
#include "state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "disk.h"

static void Copy(char* to, size_t size, const cJSON* object, const char* member) {
  const char* text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, member));
  snprintf(to, size, "%s", text != NULL ? text : "");
}

static int64_t Number(const cJSON* object, const char* member) {
  const cJSON* item = cJSON_GetObjectItemCaseSensitive(object, member);
  return cJSON_IsNumber(item) ? (int64_t)item->valuedouble : 0;
}

static bool MakeSlots(const State* state, const Component* component) {
  char name[80];
  snprintf(name, sizeof name, "%s.a", component->name);
  bool ok = MakeDirectory(state->dir, name);
  snprintf(name, sizeof name, "%s.b", component->name);
  return ok && MakeDirectory(state->dir, name);
}

static cJSON* DownloadToJson(const Download* download) {
  cJSON* object = cJSON_CreateObject();
  cJSON_AddStringToObject(object, "component", download->component);
  cJSON_AddStringToObject(object, "from", download->from);
  cJSON_AddStringToObject(object, "to", download->to);
  cJSON_AddNumberToObject(object, "attempt", download->attempt);
  cJSON* files = cJSON_AddArrayToObject(object, "files");
  for (int i = 0; i < download->file_count; ++i) {
    cJSON* file = cJSON_CreateObject();
    cJSON_AddNumberToObject(file, "bytes", (double)download->files[i].bytes);
    cJSON_AddStringToObject(file, "sha256", download->files[i].sha256);
    cJSON_AddItemToArray(files, file);
  }
  return object;
}

static void DownloadFromJson(const cJSON* object, Download* download) {
  const cJSON* file = NULL;
  Copy(download->component, sizeof download->component, object, "component");
  Copy(download->from, sizeof download->from, object, "from");
  Copy(download->to, sizeof download->to, object, "to");
  download->attempt = (int)Number(object, "attempt");
  cJSON_ArrayForEach(file, cJSON_GetObjectItemCaseSensitive(object, "files")) {
    if (download->file_count < kMaxFiles) {
      File* f = &download->files[download->file_count++];
      f->bytes = Number(file, "bytes");
      Copy(f->sha256, sizeof f->sha256, file, "sha256");
    }
  }
}

bool StateSave(const State* state) {
  cJSON* object = cJSON_CreateObject();
  cJSON_AddNumberToObject(object, "boot", (double)state->boot);
  cJSON* components = cJSON_AddArrayToObject(object, "components");
  for (int i = 0; i < state->component_count; ++i) {
    const Component* c = &state->components[i];
    const char slot[2] = {c->slot, '\0'};
    cJSON* component = cJSON_CreateObject();
    cJSON_AddStringToObject(component, "name", c->name);
    cJSON_AddStringToObject(component, "version", c->version);
    cJSON_AddStringToObject(component, "slot", slot);
    cJSON_AddStringToObject(component, "trial", c->trial);
    cJSON_AddNumberToObject(component, "tries", c->tries);
    cJSON_AddItemToArray(components, component);
  }
  cJSON_AddNumberToObject(object, "phase", state->phase);
  cJSON_AddStringToObject(object, "task", state->task);
  cJSON_AddBoolToObject(object, "postponed", state->postponed);
  cJSON_AddItemToObject(object, "download", DownloadToJson(&state->download));
  cJSON_AddNumberToObject(object, "file", state->file);
  cJSON_AddNumberToObject(object, "offset", (double)state->offset);
  cJSON_AddNumberToObject(object, "failure", state->failure);
  cJSON_AddStringToObject(object, "failureText", state->failure_text);
  char* text = cJSON_Print(object);
  cJSON_Delete(object);
  errno = ENOMEM;
  bool ok = text != NULL && WriteAtomically(state->dir, "state.json", text);
  free(text);
  return ok;
}

static bool Decode(State* state, const char* text) {
  const cJSON* item = NULL;
  cJSON* object = cJSON_Parse(text);
  const cJSON* components = cJSON_GetObjectItemCaseSensitive(object, "components");
  state->component_count = 0;
  cJSON_ArrayForEach(item, components) {
    if (state->component_count < kMaxComponents) {
      Component* c = &state->components[state->component_count++];
      char slot[2];
      Copy(c->name, sizeof c->name, item, "name");
      Copy(c->version, sizeof c->version, item, "version");
      Copy(c->trial, sizeof c->trial, item, "trial");
      Copy(slot, sizeof slot, item, "slot");
      c->slot = slot[0] == 'b' ? 'b' : 'a';
      c->tries = (int)Number(item, "tries");
    }
  }
  state->boot = (long)Number(object, "boot");
  state->phase = (Phase)Number(object, "phase");
  Copy(state->task, sizeof state->task, object, "task");
  state->postponed = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(object, "postponed"));
  DownloadFromJson(cJSON_GetObjectItemCaseSensitive(object, "download"), &state->download);
  state->file = (int)Number(object, "file");
  state->offset = Number(object, "offset");
  state->failure = (int)Number(object, "failure");
  Copy(state->failure_text, sizeof state->failure_text, object, "failureText");
  cJSON_Delete(object);
  return state->component_count > 0;
}

bool StateOpen(State* state, const char* dir, const Component* components, int count,
               char error[256]) {
  memset(state, 0, sizeof *state);
  if (snprintf(state->dir, sizeof state->dir, "%s", dir) >= (int)sizeof state->dir) {
    snprintf(error, 256, "the name of the state directory is too long");
    return false;
  }
  if (!MakeDirectory(dir, "")) {
    snprintf(error, 256, "%.150s: cannot be made: %s", dir, strerror(errno));
    return false;
  }
  char* text = ReadText(dir, "state.json");
  if (text == NULL && errno == ENOENT) {
    memcpy(state->components, components, (size_t)count * sizeof *components);
    state->component_count = count;
  } else if (text == NULL || !Decode(state, text)) {
    snprintf(error, 256, "%.150s/state.json: cannot be read: %s", dir,
             text == NULL ? strerror(errno) : "damaged");
    free(text);
    return false;
  }
  free(text);
  for (int i = 0; i < state->component_count; ++i) {
    if (!MakeSlots(state, &state->components[i])) {
      snprintf(error, 256, "%.150s: cannot be written: %s", dir, strerror(errno));
      return false;
    }
  }
  return true;
}

bool StateBoot(State* state, const char** went_back) {
  *went_back = NULL;
  ++state->boot;
  Component* c = StateOnTrial(state);
  if (c != NULL && ++c->tries > kBootTries) {
    *went_back = c->name;
    return StateGoBack(state, c, "rolled back: the new version did not start");
  }
  return StateSave(state);
}

Component* StateFind(State* state, const char* name) {
  for (int i = 0; i < state->component_count; ++i) {
    if (strcmp(state->components[i].name, name) == 0) {
      return &state->components[i];
    }
  }
  return NULL;
}

const char* RunningVersion(const Component* component) {
  return component->trial[0] != '\0' ? component->trial : component->version;
}

Component* StateOnTrial(State* state) {
  for (int i = 0; i < state->component_count; ++i) {
    if (state->components[i].trial[0] != '\0') {
      return &state->components[i];
    }
  }
  return NULL;
}

void SlotPath(const State* state, const Component* component, int index, char path[kPathBytes]) {
  snprintf(path, kPathBytes, "%s/%s.%c/%d", state->dir, component->name,
           component->slot == 'a' ? 'b' : 'a', index);
}

bool StatePutOnTrial(State* state, Component* component, const char* version) {
  snprintf(component->trial, sizeof component->trial, "%s", version);
  component->tries = 0;
  state->phase = kInstalling;
  return StateSave(state);
}

static bool EndTrial(State* state, Component* component) {
  component->trial[0] = '\0';
  component->tries = 0;
  state->phase = state->task[0] != '\0' ? kAccepted : kIdle;
  state->file = 0;
  state->offset = 0;
  return StateSave(state);
}

bool StateKeep(State* state, Component* component) {
  memcpy(component->version, component->trial, sizeof component->version);
  component->slot = component->slot == 'a' ? 'b' : 'a';
  state->download.attempt = 0;
  return EndTrial(state, component);
}

bool StateGoBack(State* state, Component* component, const char* why) {
  state->failure = -1;
  snprintf(state->failure_text, sizeof state->failure_text, "%s", why);
  return EndTrial(state, component);
}

bool StateForget(State* state) {
  state->task[0] = '\0';
  if (state->phase != kInstalling) {
    state->phase = kIdle;
    memset(&state->download, 0, sizeof state->download);
    state->file = 0;
    state->offset = 0;
    state->failure = 0;
    state->failure_text[0] = '\0';
  }
  state->postponed = false;
  return StateSave(state);
}
