// What the device remembers across power cuts: the number of boots, the installed versions, the
// held task and how far its download is. One JSON file, state.json, which is always replaced as a
// whole.
//
// Every component has two slots, the directories COMPONENT.a and COMPONENT.b. One holds what is
// installed; a download is written into the other. Installing is one write of state.json that puts
// the other slot on trial. StateBoot() plays the boot loader: a slot on trial is tried kBootTries
// times, then it goes back.
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { kMaxComponents = 32, kMaxFiles = 5, kBootTries = 3, kPathBytes = 4096 };

typedef struct Component {
  char name[65];
  char version[65];  // in slot `slot`
  char slot;         // 'a' or 'b'
  char trial[65];    // version in the other slot that runs but is not kept yet; "" if none
  int tries;         // boots of the trial so far
} Component;

typedef struct File {
  int64_t bytes;
  char sha256[65];
  char url[256];  // "" if blocks are the only way; not stored: an address is only good for a while
} File;

typedef struct Download {
  char component[65];
  char from[65];
  char to[65];
  bool delta;
  int attempt;
  int64_t deadline_s;  // 0: none
  bool blocks;
  int file_count;
  File files[kMaxFiles];
} Download;

// How far the held task is. The device can be switched off in each of them.
typedef enum Phase { kIdle, kOffered, kAccepted, kInstalling } Phase;

typedef struct State {
  char dir[3072];
  long boot;
  int component_count;
  Component components[kMaxComponents];
  // The held task.
  Phase phase;
  char task[33];      // "" when the device holds none, or was told while installing that it is over
  bool postponed;     // this offer was postponed once (for --postpone)
  Download download;  // attempt 0: none yet
  int file;  // progress: bytes [0, offset) of this file are on disk, and all files before it
  int64_t offset;
  int failure;  // code of the last failure of this attempt; 0: none
  char failure_text[257];
} State;

// Reads DIR/state.json, or starts with what `components` says when there is none. False: `error`
// says why.
bool StateOpen(State* state, const char* dir, const Component* components, int count,
               char error[256]);
bool StateSave(const State* state);
// Counts a boot and lets the boot loader choose the slots. Gives the component that went back, or
// NULL.
bool StateBoot(State* state, const char** went_back);

Component* StateFind(State* state, const char* name);
// The version that runs: the one on trial, if any.
const char* RunningVersion(const Component* component);
Component* StateOnTrial(State* state);
// Path of file `index` in the slot that the component does not use.
void SlotPath(const State* state, const Component* component, int index, char path[kPathBytes]);
bool StatePutOnTrial(State* state, Component* component, const char* version);
bool StateKeep(State* state, Component* component);
// Goes back to the old version. The attempt has failed: only a higher one is tried.
bool StateGoBack(State* state, Component* component, const char* why);
// Forgets the held task and its progress.
bool StateForget(State* state);
