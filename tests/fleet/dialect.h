// What a device says and hears, in values that are the same for every dialect. One file per dialect
// implements Dialect; the table of their names is in main.cc. Knows no sockets and no behaviour.
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ota::fleet {

struct Name {
  std::string product;
  std::string device;
};

struct Uplink {
  std::string topic;
  std::string payload;
  bool answered = true;  // the dialect answers it
};

struct File {
  std::string url;     // empty: only over MQTT
  std::string sha256;  // lower-case hex; empty: the dialect names none
  std::int64_t bytes = 0;
};

struct Downlink {
  enum class Kind { kNone, kPlan, kDownload, kCancel, kReply, kBlock };
  Kind kind = Kind::kNone;
  std::string problem;  // not empty: what came is not what the dialect promises
  std::string task;
  std::string component;     // download; a plan's first
  std::string to;            // version
  int attempt = 0;           // download
  bool blocks = false;       // files may be fetched over MQTT
  std::vector<File> files;   // download
  std::string id;            // reply: of which uplink
  int code = 0;              // reply
  std::int64_t again_s = 0;  // reply: to call again, or not before
  std::string ref;           // block
  std::int64_t offset = 0;   // block
  std::string_view content;  // block
};

struct VersionReport {
  std::string id;
  std::vector<std::pair<std::string, std::string>> components;  // name, version
  std::string task;                                             // empty: none held
  std::string boot_id;
  std::string trial;  // a component, or empty
  std::int64_t battery = -1;
};

struct BlockRequest {
  std::string task;
  std::string component;
  int file = 0;
  std::string ref;
  std::int64_t offset = 0;
  std::int64_t length = 0;
  int count = 0;
};

class Dialect {
 public:
  virtual ~Dialect() = default;
  // Patterns of what the vendor's SDK logs in with.
  virtual std::string_view User() const = 0;
  virtual std::string_view ClientId() const = 0;
  // Whether tasks have names, and can be accepted, refused and tried out. Else a download comes by
  // itself; its task is called by the version, its attempt is 0: the device counts them.
  virtual bool NamesTasks() const = 0;
  // Empty: its devices subscribe to nothing.
  virtual std::vector<std::string> Filters(const Name& name) const = 0;
  virtual Downlink Decode(const Name& name, std::string_view topic,
                          std::string_view payload) const = 0;
  virtual Uplink Version(const Name& name, const VersionReport& report) const = 0;
  // Nothing: the dialect has no such message, the device goes on without it.
  virtual std::optional<Uplink> Confirm(const Name& name, const std::string& id,
                                        const std::string& task, bool accept,
                                        std::int64_t retry_after_s) const = 0;
  // `code`: of a failure, as the native dialect counts them; else 0. `percent`: -1: none.
  virtual std::optional<Uplink> Progress(const Name& name, const std::string& id,
                                         const Downlink& download, std::string_view state,
                                         int percent, int code) const = 0;
  virtual std::optional<Uplink> Blocks(const Name& name, const BlockRequest& request) const = 0;
};

const Dialect& NativeDialect();
const Dialect& AlibabaDialect();
const Dialect& EnosDialect();

}  // namespace ota::fleet
