// The command line, by getopt_long.
#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char kHelp[] =
    "Usage: ota-device --product NAME --device NAME --state DIR [OPTION...]\n"
    "An example device: upgrades itself over the native dialect of mosquitto-ota.\n"
    "\n"
    "  --product NAME          the device's product\n"
    "  --device NAME           the device's name within the product\n"
    "  --state DIR             where it keeps what survives a power cut (made if absent)\n"
    "  --component NAME=VER    installed at the first start; once per component (main=1.0.0)\n"
    "\n"
    "Connection\n"
    "  --host HOST             the broker (127.0.0.1)\n"
    "  --port PORT             (1883)\n"
    "  --username NAME         (PRODUCT/DEVICE)\n"
    "  --password-file FILE    its first line is the password\n"
    "  --cafile FILE           TLS: certificates of the authorities, also for downloads\n"
    "  --cert FILE --key FILE  TLS: the device's own certificate\n"
    "  --public-key FILE       takes only packages that this key has signed (PEM)\n"
    "  --clean                 a clean session (the default)\n"
    "  --persistent            a persistent session\n"
    "  --client-id-random      another client id at every start\n"
    "\n"
    "What it reports\n"
    "  --battery PERCENT  --signal DBM  --free-bytes N  --lang LANG\n"
    "  --max-bytes N           longest message that it takes, 512 to 65536 (2048)\n"
    "  --request               asks for an upgrade in every report\n"
    "\n"
    "How it behaves\n"
    "  --refuse                refuses every offer\n"
    "  --postpone SECONDS      postpones every offer once (60 to 604800)\n"
    "  --blocks                fetches files over MQTT where it may choose\n"
    "  --block-bytes N         length of one block, 128 to 65536 (1024)\n"
    "  --slow BYTES            downloads that many bytes a second\n"
    "  --fail-at WHERE[:N]     fails at download, verify or write, N times (always)\n"
    "  --roll-back             does not pass its self-check after an upgrade and goes back\n"
    "  --exit-when [NAME=]VER  ends when that version is kept and reported\n"
    "  --timeout SECONDS       ends with exit code 3 after that time\n"
    "  --scale FACTOR          multiplies all waits of the protocol, for tests (1)\n"
    "  --crash-at N            dies like in a power cut at the Nth crash point\n"
    "  --quiet | --verbose     only errors | every message too\n"
    "\n"
    "Exit codes: 0 done or asked to end, 1 cannot go on, 2 wrong usage, 3 timeout, 137 "
    "--crash-at.\n";

enum {
  kOptProduct = 256,
  kOptDevice,
  kOptState,
  kOptComponent,
  kOptHost,
  kOptPort,
  kOptUsername,
  kOptPasswordFile,
  kOptCaFile,
  kOptCert,
  kOptKey,
  kOptPublicKey,
  kOptClean,
  kOptPersistent,
  kOptClientIdRandom,
  kOptBattery,
  kOptSignal,
  kOptFreeBytes,
  kOptLang,
  kOptMaxBytes,
  kOptRequest,
  kOptRefuse,
  kOptPostpone,
  kOptBlocks,
  kOptBlockBytes,
  kOptSlow,
  kOptFailAt,
  kOptRollBack,
  kOptExitWhen,
  kOptTimeout,
  kOptScale,
  kOptCrashAt,
  kOptQuiet,
  kOptVerbose,
  kOptHelp
};

static const struct option kLong[] = {{"product", required_argument, NULL, kOptProduct},
                                      {"device", required_argument, NULL, kOptDevice},
                                      {"state", required_argument, NULL, kOptState},
                                      {"component", required_argument, NULL, kOptComponent},
                                      {"host", required_argument, NULL, kOptHost},
                                      {"port", required_argument, NULL, kOptPort},
                                      {"username", required_argument, NULL, kOptUsername},
                                      {"password-file", required_argument, NULL, kOptPasswordFile},
                                      {"cafile", required_argument, NULL, kOptCaFile},
                                      {"cert", required_argument, NULL, kOptCert},
                                      {"key", required_argument, NULL, kOptKey},
                                      {"public-key", required_argument, NULL, kOptPublicKey},
                                      {"clean", no_argument, NULL, kOptClean},
                                      {"persistent", no_argument, NULL, kOptPersistent},
                                      {"client-id-random", no_argument, NULL, kOptClientIdRandom},
                                      {"battery", required_argument, NULL, kOptBattery},
                                      {"signal", required_argument, NULL, kOptSignal},
                                      {"free-bytes", required_argument, NULL, kOptFreeBytes},
                                      {"lang", required_argument, NULL, kOptLang},
                                      {"max-bytes", required_argument, NULL, kOptMaxBytes},
                                      {"request", no_argument, NULL, kOptRequest},
                                      {"refuse", no_argument, NULL, kOptRefuse},
                                      {"postpone", required_argument, NULL, kOptPostpone},
                                      {"blocks", no_argument, NULL, kOptBlocks},
                                      {"block-bytes", required_argument, NULL, kOptBlockBytes},
                                      {"slow", required_argument, NULL, kOptSlow},
                                      {"fail-at", required_argument, NULL, kOptFailAt},
                                      {"roll-back", no_argument, NULL, kOptRollBack},
                                      {"exit-when", required_argument, NULL, kOptExitWhen},
                                      {"timeout", required_argument, NULL, kOptTimeout},
                                      {"scale", required_argument, NULL, kOptScale},
                                      {"crash-at", required_argument, NULL, kOptCrashAt},
                                      {"quiet", no_argument, NULL, kOptQuiet},
                                      {"verbose", no_argument, NULL, kOptVerbose},
                                      {"help", no_argument, NULL, kOptHelp},
                                      {NULL, 0, NULL, 0}};

static bool Number(const char* text, int64_t least, int64_t most, int64_t* number) {
  char* end = NULL;
  long long value = strtoll(text, &end, 10);
  *number = value;
  return end != text && *end == '\0' && value >= least && value <= most;
}

// 1 to 64 characters of A-Z a-z 0-9 . _ : -   [N-1]
static bool Name(const char* text, size_t length, char to[65]) {
  static const char kAllowed[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-";
  if (length < 1 || length > 64 || strspn(text, kAllowed) < length) {
    return false;
  }
  memcpy(to, text, length);
  to[length] = '\0';
  return true;
}

// NAME=VERSION; the name may be missing if `name_optional`.
static bool NameAndVersion(const char* text, bool name_optional, char name[65], char version[65]) {
  const char* equals = strchr(text, '=');
  const char* after = equals != NULL ? equals + 1 : text;
  if (equals == NULL ? !name_optional : !Name(text, (size_t)(equals - text), name)) {
    return false;
  }
  size_t length = strlen(after);
  if (length < 1 || length > 64) {
    return false;
  }
  memcpy(version, after, length + 1);
  return true;
}

static bool FailWhere(const char* text, Options* options) {
  static const char* const kWhere[] = {"download", "verify", "write"};
  int64_t times = -1;
  size_t length = strcspn(text, ":");
  if (text[length] == ':' && !Number(text + length + 1, 1, 1000, &times)) {
    return false;
  }
  options->fail_times = (int)times;
  for (int i = 0; i < 3; ++i) {
    if (strlen(kWhere[i]) == length && strncmp(text, kWhere[i], length) == 0) {
      options->fail_at = (FailAt)(i + 1);
      return true;
    }
  }
  return false;
}

static bool ReadPassword(const char* path, char password[256]) {
  FILE* file = fopen(path, "re");
  bool ok = file != NULL && fgets(password, 256, file) != NULL;
  password[strcspn(password, "\r\n")] = '\0';
  if (file != NULL) {
    fclose(file);
  }
  return ok;
}

static bool Take(int option, const char* value, Options* o) {
  int64_t number = 0;
  char* end = NULL;
  switch (option) {
    case kOptProduct:
      return Name(value, strlen(value), o->product);
    case kOptDevice:
      return Name(value, strlen(value), o->device);
    case kOptState:
      o->state_dir = value;
      return true;
    case kOptComponent: {
      if (o->component_count == kMaxComponents) {
        return false;
      }
      Component* c = &o->components[o->component_count++];
      c->slot = 'a';
      return NameAndVersion(value, false, c->name, c->version);
    }
    case kOptHost:
      o->host = value;
      return true;
    case kOptPort:
      if (!Number(value, 1, 65535, &number)) {
        return false;
      }
      o->port = (int)number;
      return true;
    case kOptUsername:
      o->username = value;
      return true;
    case kOptPasswordFile:
      return ReadPassword(value, o->password);
    case kOptCaFile:
      o->ca_file = o->fetch.ca_file = value;
      return true;
    case kOptCert:
      o->cert_file = value;
      return true;
    case kOptKey:
      o->key_file = value;
      return true;
    case kOptPublicKey:
      o->public_key = value;
      return true;
    case kOptClean:
      o->persistent = false;
      return true;
    case kOptPersistent:
      o->persistent = true;
      return true;
    case kOptClientIdRandom:
      o->client_id_random = true;
      return true;
    case kOptBattery:
      return Number(value, 0, 100, &o->health.battery);
    case kOptSignal:
      return Number(value, -150, 0, &o->health.signal);
    case kOptFreeBytes:
      return Number(value, 0, INT64_C(1) << 50, &o->health.free_bytes);
    case kOptLang:
      o->health.lang = value;
      return true;
    case kOptMaxBytes:
      return Number(value, 512, 65536, &o->health.max_bytes);
    case kOptRequest:
      o->health.request = true;
      return true;
    case kOptRefuse:
      o->refuse = true;
      return true;
    case kOptPostpone:
      return Number(value, 60, 604800, &o->postpone_s);
    case kOptBlocks:
      o->fetch.prefer_blocks = true;
      return true;
    case kOptBlockBytes:
      return Number(value, 128, 65536, &o->fetch.block_bytes);
    case kOptSlow:
      return Number(value, 1, INT64_C(1) << 40, &o->fetch.slow);
    case kOptFailAt:
      return FailWhere(value, o);
    case kOptRollBack:
      o->roll_back = true;
      return true;
    case kOptExitWhen:
      return NameAndVersion(value, true, o->exit_component, o->exit_version);
    case kOptTimeout:
      return Number(value, 1, 31536000, &o->timeout_s);
    case kOptScale:
      o->fetch.scale = strtod(value, &end);
      return *end == '\0' && o->fetch.scale > 0 && o->fetch.scale <= 10;
    case kOptCrashAt:
      if (!Number(value, 0, 1000000, &number)) {
        return false;
      }
      o->crash_at = (long)number;
      return true;
    case kOptQuiet:
      o->level = 0;
      return true;
    case kOptVerbose:
      o->level = 2;
      return true;
    default:
      return false;
  }
}

static int Wrong(const char* what) {
  fprintf(stderr, "ota-device: %s (see ota-device --help)\n", what);
  return 2;
}

int ParseOptions(int argc, char** argv, Options* o) {
  memset(o, 0, sizeof *o);
  o->host = "127.0.0.1";
  o->port = 1883;
  o->level = 1;
  o->health = (Health){INT64_MIN, INT64_MIN, INT64_MIN, NULL, 2048, false};
  o->fetch.scale = 1;
  o->fetch.block_bytes = 1024;
  for (int option = 0, at = 0; (option = getopt_long(argc, argv, "h", kLong, &at)) != -1;) {
    if (option == kOptHelp || option == 'h') {
      fputs(kHelp, stdout);
      return 0;
    }
    if (option == '?') {
      return 2;
    }
    if (!Take(option, optarg, o)) {
      fprintf(stderr, "ota-device: --%s: '%s' is not allowed (see ota-device --help)\n",
              kLong[at].name, optarg);
      return 2;
    }
  }
  if (optind < argc) {
    fprintf(stderr, "ota-device: '%s': what is this?\n", argv[optind]);
    return 2;
  }
  if (o->product[0] == '\0' || o->device[0] == '\0' || o->state_dir == NULL) {
    return Wrong("--product, --device and --state are needed");
  }
  if (o->persistent && o->client_id_random) {
    return Wrong("--persistent needs a client id that stays, so not --client-id-random");
  }
  if ((o->cert_file == NULL) != (o->key_file == NULL) ||
      (o->cert_file != NULL && o->ca_file == NULL)) {
    return Wrong("--cert needs --key and --cafile");
  }
  if (o->component_count == 0) {
    o->component_count = 1;
    o->components[0] = (Component){.name = "main", .version = "1.0.0", .slot = 'a'};
  }
  if (o->exit_version[0] != '\0' && o->exit_component[0] == '\0') {
    memcpy(o->exit_component, o->components[0].name, sizeof o->exit_component);
  }
  return -1;
}
