// Files that survive a power cut, and the crash points that prove it. Knows nothing of upgrades.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// For tests: the process ends without any cleaning up at the n-th crash point that it passes; 0:
// never.
void CrashAt(long n);
long CrashPointsPassed(void);
void SetCrashPointsPassed(long n);
// Marks a place where the power may fail. Put one between any two effects on disk or on the wire.
void CrashPoint(void);

// Writes DIR/NAME so that after a power cut it has either its old or its new content. False: errno
// says why.
bool WriteAtomically(const char* dir, const char* name, const char* text);
// Gives the text of DIR/NAME, to be freed; NULL if it cannot be read.
char* ReadText(const char* dir, const char* name);
// Makes a directory that lasts, or leaves one that exists.
bool MakeDirectory(const char* parent, const char* name);
// Makes what was done to names in `dir` last.
bool SyncDirectory(const char* dir);
// Gives the lower-case hex SHA-256 of a file in `hex` (65 bytes).
bool Sha256OfFile(const char* path, char hex[65]);
