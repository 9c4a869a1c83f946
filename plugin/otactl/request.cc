// Commands: release, task cancel, retry and consent, and the brakes: hold, unhold, stop, go.
#include "otactl/commands.h"
#include "otactl/console.h"
#include "otactl/output.h"

namespace ota::otactl {
namespace {

using core::ErrorCode;
using core::Fail;
using store::Value;

// What a hold is of, for people.
std::string Name(const DeviceName& what) {
  if (what.product.empty()) {
    return "the site";
  }
  return what.device.empty() ? "product '" + what.product + "'"
                             : "device '" + what.product + "/" + what.device + "'";
}

// Changes rows by one statement, says `done` or `same`, and prints `shown` with --json.
int Change(const Context& context, const std::string& command, std::string_view sql,
           const Values& values, const std::string& done, const std::string& same,
           std::string_view shown) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  auto changes = Transact(*admin, command, [&] { return Execute(*admin, sql, values); });
  if (!changes) {
    return Report(changes.error());
  }
  Note(context, changes->empty() ? same : done);
  if (!context.json && !changes->empty() && !Running(context)) {
    NoteIfStopped(context);
  }
  return context.json ? PrintTable(context, admin->Query(shown)) : kOk;
}

constexpr std::string_view kHolds = "SELECT * FROM holds ORDER BY product, device";
constexpr std::string_view kStopped = "SELECT value AS stopped FROM setting WHERE name = 'stopped'";

}  // namespace

int Release(const Context& context, const std::string& plan, int wait_s) {
  return Ask(context, "release " + plan, {{"release", plan, "", ""}}, wait_s);
}

int ActOnTask(const Context& context, const std::string& act, const std::string& task, int wait_s) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  auto found =
      admin->Query("SELECT plan, product, device FROM tasks WHERE task = ?1", Values{task});
  if (!found) {
    return Report(found.error());
  }
  if (found->rows.empty()) {
    return Report({ErrorCode::kNotFound, "task '" + task + "': does not exist"});
  }
  return Ask(context, "task " + act + " " + task,
             {{act, TextAt(*found, 0, 0), TextAt(*found, 0, 1), TextAt(*found, 0, 2)}}, wait_s);
}

int Hold(const Context& context, const DeviceName& what, const std::string& until,
         const std::string& reason) {
  Value end;
  if (!until.empty()) {
    auto admin = Open(context);
    // SQLite reads dates with or without time and zone; of what it cannot read it makes NULL, but
    // of 30 February 2 March.
    auto read = admin ? admin->Query(
                            "SELECT at * 1000, at > unixepoch() FROM (SELECT unixepoch("
                            "iif(date(substr(?1, 1, 10), '+0 days') = substr(?1, 1, 10), ?1, NULL)"
                            ") AS at)",
                            Values{until})
                      : tl::unexpected(admin.error());
    if (!read) {
      return Report(read.error());
    }
    end = read->rows[0][0];
    if (NumberAt(*read, 0, 1) == 0) {
      const bool date = std::holds_alternative<std::int64_t>(end);
      return Report({ErrorCode::kInvalidArgument,
                     "--until '" + until + "': " +
                         (date ? "is in the past"
                               : "is no date such as 2027-01-31 or 2027-01-31T08:00+01:00")});
    }
  }
  return Change(
      context, "hold " + what.product + " " + what.device,
      "INSERT INTO hold (product, device, until_ms, reason) VALUES (?1, ?2, ?3, ?4)"
      " ON CONFLICT (product, device) DO UPDATE SET until_ms = excluded.until_ms,"
      " reason = excluded.reason",
      {what.product, what.device, end, reason},
      Name(what) + ": is held: it gets no offers, addresses or blocks, and no deadline runs out",
      Name(what) + ": was held so already", kHolds);
}

int Unhold(const Context& context, const DeviceName& what) {
  return Change(context, "unhold " + what.product + " " + what.device,
                "DELETE FROM hold WHERE product = ?1 AND device = ?2", {what.product, what.device},
                Name(what) + ": is not held any more", Name(what) + ": was not held", kHolds);
}

int Stop(const Context& context, const std::string& reason) {
  return Change(context, "stop",
                "INSERT INTO setting (name, value) VALUES ('stopped', ?1)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                {reason},
                "everything is stopped: offers, addresses, blocks and running downloads; to let it"
                " go on: otactl go",
                "everything was stopped already", kStopped);
}

int Go(const Context& context) {
  return Change(context, "go", "DELETE FROM setting WHERE name = 'stopped'", {},
                "what was stopped goes on", "nothing was stopped", kStopped);
}

}  // namespace ota::otactl
