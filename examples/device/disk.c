// Files that survive a power cut: write a temporary file, fsync it, rename it, fsync the directory.
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/evp.h>

static long crash_at;
static long crash_points_passed;

void CrashAt(long n) {
  crash_at = n;
}
long CrashPointsPassed(void) {
  return crash_points_passed;
}
void SetCrashPointsPassed(long n) {
  crash_points_passed = n;
}

void CrashPoint(void) {
  if (++crash_points_passed == crash_at) {
    _exit(137);
  }
}

bool SyncDirectory(const char* dir) {
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  bool ok = fsync(fd) == 0;
  close(fd);
  return ok;
}

bool WriteAtomically(const char* dir, const char* name, const char* text) {
  char temporary[4096];
  char final[4096];
  if (snprintf(temporary, sizeof temporary, "%s/%s.new", dir, name) >= (int)sizeof temporary ||
      snprintf(final, sizeof final, "%s/%s", dir, name) >= (int)sizeof final) {
    errno = ENAMETOOLONG;
    return false;
  }
  CrashPoint();
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) {
    return false;
  }
  size_t left = strlen(text);
  while (left > 0) {
    ssize_t n = write(fd, text, left);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      close(fd);
      return false;
    }
    text += n;
    left -= (size_t)n;
    CrashPoint();
  }
  bool ok = fsync(fd) == 0;
  ok = close(fd) == 0 && ok;
  CrashPoint();
  ok = ok && rename(temporary, final) == 0;
  CrashPoint();
  return ok && SyncDirectory(dir);
}

char* ReadText(const char* dir, const char* name) {
  char path[4096];
  struct stat status;
  if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) {
    errno = ENAMETOOLONG;
    return NULL;
  }
  FILE* file = fopen(path, "re");
  if (file == NULL) {
    return NULL;
  }
  char* text = NULL;
  if (fstat(fileno(file), &status) == 0) {
    text = calloc(1, (size_t)status.st_size + 1);
    if (text != NULL && fread(text, 1, (size_t)status.st_size, file) != (size_t)status.st_size) {
      free(text);
      text = NULL;
    }
  }
  fclose(file);
  return text;
}

bool MakeDirectory(const char* parent, const char* name) {
  char path[4096];
  if (snprintf(path, sizeof path, "%s/%s", parent, name) >= (int)sizeof path) {
    errno = ENAMETOOLONG;
    return false;
  }
  if (mkdir(path, 0700) == 0) {
    return SyncDirectory(parent);
  }
  return errno == EEXIST;
}

bool Sha256OfFile(const char* path, char hex[65]) {
  unsigned char buffer[16384];
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  FILE* file = fopen(path, "re");
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  bool ok = file != NULL && context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
  while (ok) {
    size_t n = fread(buffer, 1, sizeof buffer, file);
    if (n == 0) {
      break;
    }
    ok = EVP_DigestUpdate(context, buffer, n) == 1;
  }
  ok = ok && ferror(file) == 0 && EVP_DigestFinal_ex(context, digest, &length) == 1 && length == 32;
  for (unsigned int i = 0; ok && i < length; ++i) {
    snprintf(hex + 2 * i, 3, "%02x", digest[i]);
  }
  EVP_MD_CTX_free(context);
  if (file != NULL) {
    fclose(file);
  }
  return ok;
}
