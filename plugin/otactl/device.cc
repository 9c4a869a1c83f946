// Commands: device list, show, explain, release, retire.
#include "otactl/commands.h"
#include "otactl/console.h"
#include "otactl/output.h"

namespace ota::otactl {
namespace {

using core::ErrorCode;
using core::Fail;
using store::Admin;
using store::Rows;
using store::Value;

std::string Name(const DeviceName& device) {
  return device.product + "/" + device.device;
}

}  // namespace

int ListDevices(const Context& context, const std::string& product) {
  return Show(context,
              "SELECT product, device, versions, last_seen, battery, signal, plan, shown, state,"
              " reason, queued, disabled FROM devices WHERE ?1 = '' OR product = ?1"
              " ORDER BY product, device",
              {product});
}

int ShowDevice(const Context& context, const DeviceName& device) {
  return ShowSections(
      context, "device '" + Name(device) + "'",
      {{"device", true, "SELECT * FROM devices WHERE product = ?1 AND device = ?2"},
       {"components", false,
        "SELECT component, version, trial, since FROM device_components"
        " WHERE product = ?1 AND device = ?2"},
       {"tasks", false,
        "SELECT task, plan, shown_detail AS shown, state, reason_text AS reason, detail, "
        "component, percent,"
        " attempt, next_retry, last_error, deadline, since FROM tasks WHERE product = ?1 AND "
        "device = ?2 ORDER BY created"},
       {"put aside", false,
        "SELECT component, target, failures, until FROM quarantine"
        " WHERE product = ?1 AND device = ?2"},
       {"log", false,
        "SELECT * FROM (SELECT id, at, plan, component, event, old_state, new_state, reason, detail"
        " FROM history WHERE product = ?1 AND device = ?2 ORDER BY id DESC LIMIT 20) ORDER BY id"}},
      {device.product, device.device});
}

int ExplainDevice(const Context& context, const DeviceName& device, const std::string& plan,
                  int wait_s) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  if (!Running(context)) {
    return Report({ErrorCode::kUnavailable,
                   "the broker is not running: the plugin judges its rules only while it runs"});
  }
  auto request = InsertRequests(*admin, "device explain " + Name(device),
                                {{"explain", plan, device.product, device.device}});
  auto answer = request ? Answers(*admin, *request, 1, wait_s) : tl::unexpected(request.error());
  auto rows = answer ? admin->Query(
                           "SELECT plan, rule, verdict, value, \"limit\", \"when\", reason_text AS"
                           " reason FROM explanations WHERE request = ?1 ORDER BY plan, seq",
                           Values{*request})
                     : answer;
  if (!rows) {
    return Report(rows.error());
  }
  const std::string state = TextAt(*answer, 0, 5);
  if (state == "new") {
    return Report(
        {ErrorCode::kUnavailable, "the engine has not answered yet; see the view health"});
  }
  // Rows of one plan stand together.
  bool offers = false;
  std::string out;
  for (std::size_t from = 0; from < rows->rows.size();) {
    const std::string name = TextAt(*rows, from, 0);
    Rows rules{{rows->columns.begin() + 1, rows->columns.end()}, {}};
    std::string blocked;
    for (; from < rows->rows.size() && TextAt(*rows, from, 0) == name; ++from) {
      if (TextAt(*rows, from, 2) != "ok") {
        blocked += (blocked.empty() ? "" : ", ") + TextAt(*rows, from, 1);
      }
      rules.rows.emplace_back(rows->rows[from].begin() + 1, rows->rows[from].end());
    }
    offers = offers || blocked.empty();
    out += (out.empty() ? "plan '" : "\nplan '") + Clean(name) +
           "': " + (blocked.empty() ? "may be offered now" : "blocked by " + Clean(blocked)) +
           "\n" + Table(rules, WantsColour());
  }
  if (context.json) {
    Print("{\"offer\": " + std::string(offers ? "true" : "false") + ",\n \"answer\": " +
          JsonString(TextAt(*answer, 0, 6)) + ",\n \"rules\": " + Json(*rows) + "}\n");
  } else {
    Print(out.empty() ? Clean(TextAt(*answer, 0, 6)) + "\n" : out);
  }
  if (state == "refused") {
    return kNo;
  }
  return offers ? kOk : kRefused;
}

int ReleaseDevice(const Context& context, const DeviceName& device, int wait_s) {
  return Ask(context, "device release " + Name(device),
             {{"release", "", device.product, device.device}}, wait_s);
}

int RetireDevice(const Context& context, const DeviceName& device, bool off) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  const std::string name = "device '" + Name(device) + "'";
  auto changes = Transact(*admin, "device retire " + Name(device), [&]() -> core::Result<void> {
    auto known = admin->Query("SELECT 1 FROM devices WHERE product = ?1 AND device = ?2",
                              Values{device.product, device.device});
    if (!known || known->rows.empty()) {
      return known ? Fail(ErrorCode::kNotFound, name + ": does not exist")
                   : tl::unexpected(known.error());
    }
    return Execute(*admin,
                   "INSERT INTO device (product, name, retired) VALUES (?1, ?2, ?3)"
                   " ON CONFLICT (product, name) DO UPDATE SET retired = excluded.retired",
                   {device.product, device.device, std::int64_t{off ? 0 : 1}});
  });
  if (!changes) {
    return Report(changes.error());
  }
  const char* now = off ? "in service" : "retired: it leaves every scope";
  Note(context, name + (changes->empty() ? ": was already " : ": is now ") + now);
  NoteIfStopped(context);
  return context.json ? PrintTable(context, admin->Query("SELECT product, device, retired FROM"
                                                         " devices WHERE product = ?1 AND"
                                                         " device = ?2",
                                                         Values{device.product, device.device}))
                      : kOk;
}

}  // namespace ota::otactl
