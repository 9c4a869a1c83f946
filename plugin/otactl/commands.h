// What the commands of otactl do, one function each, once the command line is read. Each prints to
// standard output and gives the exit code; errors go to standard error. They read views and write
// admin tables, nothing else.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/paths.h"
#include "core/result.h"

namespace ota::otactl {

// Exit codes, as --help lists them.
inline constexpr int kOk = 0;
inline constexpr int kNo = 1;           // not found, refused by the engine, something is wrong
inline constexpr int kUsage = 2;        // the command line
inline constexpr int kRefused = 3;      // the database or a rule refused; nothing was changed
inline constexpr int kUnavailable = 4;  // no database, locked, damaged; no answer from the broker

struct Context {
  std::string database = core::kDatabasePath;
  std::string packages;
  std::string secret_key;
  bool json = false;
};

// Prints the error and gives the exit code for it.
int Report(const core::Error& error);

struct DeviceName {
  std::string product;
  std::string device;
};

int Import(const Context& context, const std::vector<std::string>& files,
           const std::optional<std::string>& table,
           const std::vector<std::pair<std::string, std::string>>& constants, bool check);

// Replaces this process by the sqlite3 shell.
int Sql(const Context& context, const std::vector<std::string>& arguments);

struct PackageAdd {
  std::string product;
  std::string component;
  std::string version;
  std::vector<std::string> files;
  std::string name;        // empty: made from component and version
  std::string delta_from;  // empty: a full package
  std::string remarks;
  std::string type;  // of a component that does not exist yet; empty: firmware
  bool wait = false;
};
int AddPackage(const Context& context, const PackageAdd& add);
int ListPackages(const Context& context, const std::string& product);

// Prints the bytes that a package's signature is of.
int PrintManifest(const Context& context, const std::string& product, const std::string& package);
struct PackageSign {
  std::string product;
  std::string package;
  std::string key;        // file with a private key; empty: `signature` is given
  std::string signature;  // file with a signature made elsewhere
};
int SignPackage(const Context& context, const PackageSign& sign);
// file empty: the product wants no signatures any more
int SetProductKey(const Context& context, const std::string& product, const std::string& file);

int ListPlans(const Context& context, const std::string& product);
int ShowPlan(const Context& context, const std::string& plan, bool devices);
// Sets plan.wanted. `from`: what it must be now; empty: anything. `at_cancel`: scheduled,
// queued or all; empty: as it is.
int SetWanted(const Context& context, const std::string& plan, const std::string& from,
              const std::string& wanted, const std::string& at_cancel);
// devices empty: all that have failed
int RetryPlan(const Context& context, const std::string& plan,
              const std::vector<std::string>& devices, int wait_s);

int ListDevices(const Context& context, const std::string& product);
int ShowDevice(const Context& context, const DeviceName& device);
// Every rule for the device and `plan`; empty: each plan of its product. kOk: a plan may be offered
// now, kRefused: none may.
int ExplainDevice(const Context& context, const DeviceName& device, const std::string& plan,
                  int wait_s);
int ReleaseDevice(const Context& context, const DeviceName& device, int wait_s);
int RetireDevice(const Context& context, const DeviceName& device, bool off);

struct DeviceAdd {
  std::string product;
  std::string device;
  std::string secret_file;  // "-": standard input; empty: no secret
  std::string gateway;
  bool disabled = false;
};
// A device that exists gets what is given and keeps the rest.
int AddDevice(const Context& context, const DeviceAdd& add);
// `product`: of all rows, when the file does not name it; may be empty.
int AddDevices(const Context& context, const std::string& file, const std::string& product);
// secret_file empty: takes the secret away.
int SetSecret(const Context& context, const DeviceName& device, const std::string& secret_file);

int Status(const Context& context);
// plan empty: everything that is held, and the clock when it is not trusted
int Release(const Context& context, const std::string& plan, int wait_s);
// act: cancel, retry or consent
int ActOnTask(const Context& context, const std::string& act, const std::string& task, int wait_s);
// what: a device, a product (device empty), the site (both empty). until: a date; empty: for good
int Hold(const Context& context, const DeviceName& what, const std::string& until,
         const std::string& reason);
int Unhold(const Context& context, const DeviceName& what);
int Stop(const Context& context, const std::string& reason);
int Go(const Context& context);
int Log(const Context& context, const std::optional<DeviceName>& device, const std::string& plan,
        int lines, bool follow);

int BackUp(const Context& context, const std::string& file);
int RestoreFrom(const Context& context, const std::string& file);

}  // namespace ota::otactl
