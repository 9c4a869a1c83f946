// Commands: status, log, backup, restore.
#include <cstdio>
#include <thread>

#include "otactl/backup.h"
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

}  // namespace

int Status(const Context& context) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  std::vector<Rows> parts;
  for (const char* sql :
       {"SELECT * FROM health",
        "SELECT plan, product, state, to_be_pushed, pushed, in_upgrade, updated, failed, rejected,"
        " canceled, success_rate, reason FROM plans WHERE state NOT IN ('draft', 'ended',"
        " 'canceled') ORDER BY product, plan",
        "SELECT product, package, problem FROM packages WHERE state = 'refused'",
        "SELECT id, act, plan, product, device FROM request WHERE state = 'new'"
        " AND created_ms < (unixepoch() - 60) * 1000",
        "SELECT (SELECT count(*) FROM product) AS products,"
        " (SELECT count(*) FROM device_state) AS registered_devices,"
        " (SELECT count(*) FROM plan) AS plans, (SELECT count(*) FROM package) AS packages",
        "SELECT value FROM setting WHERE name = 'stopped'",
        "SELECT scope, product, device, until, reason FROM holds WHERE in_force",
        "SELECT count(*), min(task) FROM overdue"}) {
    auto rows = admin->Query(sql);
    if (!rows) {
      return Report(rows.error());
    }
    parts.push_back(std::move(*rows));
  }
  const Rows& plans = parts[1];
  Rows problems{{"problem", "remedy"}, {}};
  if (!Running(context)) {
    problems.rows.push_back({"The broker is not running with the plugin on this database.",
                             "start it: systemctl start mosquitto"});
  } else if (TextAt(parts[0], 0, 0) != "ok") {
    problems.rows.push_back({TextAt(parts[0], 0, 1), "see the broker's log"});
  }
  if (!parts[5].rows.empty()) {
    problems.rows.push_back({"Everything is stopped: " + TextAt(parts[5], 0, 0), "otactl go"});
  }
  for (std::size_t i = 0; i < plans.rows.size(); ++i) {
    const std::string state = TextAt(plans, i, 2);
    if (state == "held" || state == "halted") {
      problems.rows.push_back({"Plan '" + TextAt(plans, i, 0) + "' " +
                                   (state == "held" ? "is held: " : "has halted: ") +
                                   TextAt(plans, i, 11),
                               "check it, then: otactl release " + TextAt(plans, i, 0)});
    }
  }
  if (NumberAt(parts[7], 0, 0) > 0 && Running(context)) {
    problems.rows.push_back({std::to_string(NumberAt(parts[7], 0, 0)) +
                                 " tasks are past their deadline, the first is '" +
                                 TextAt(parts[7], 0, 1) + "'",
                             "see the view overdue and the broker's log"});
  }
  for (std::size_t i = 0; i < parts[2].rows.size(); ++i) {
    problems.rows.push_back({"Package '" + TextAt(parts[2], i, 1) + "' of '" +
                                 TextAt(parts[2], i, 0) + "' is refused: " + TextAt(parts[2], i, 2),
                             "bring the file back, or add the package under another name"});
  }
  for (std::size_t i = 0; i < parts[3].rows.size(); ++i) {
    problems.rows.push_back({"Request " + std::to_string(NumberAt(parts[3], i, 0)) + " (" +
                                 TextAt(parts[3], i, 1) + ") is not answered.",
                             "see the broker's log"});
  }
  const bool colour = WantsColour();
  if (context.json) {
    Print("{\"ok\": " + std::string(problems.rows.empty() ? "true" : "false") +
          ",\n \"problems\": " + Json(problems) + ",\n \"health\": " + JsonObject(parts[0]) +
          ",\n \"counts\": " + JsonObject(parts[4]) + ",\n \"holds\": " + Json(parts[6]) +
          ",\n \"plans\": " + Json(plans) + "}\n");
  } else {
    Print(Record(parts[0], colour) + "\n" + Record(parts[4], colour));
    Print(plans.rows.empty() ? "\nno plan is in force\n" : "\n" + Table(plans, colour));
    Print(parts[6].rows.empty() ? "" : "\nheld\n" + Table(parts[6], colour));
    Print(problems.rows.empty() ? "\neverything is in order\n" : "\n" + Table(problems, colour));
  }
  return problems.rows.empty() ? kOk : kNo;
}

int Log(const Context& context, const std::optional<DeviceName>& device, const std::string& plan,
        int lines, bool follow) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  // One statement for each set of filters, so that each goes through its index.
  const std::string filter = std::string(device ? " AND product = ?3 AND device = ?4" : "") +
                             (plan.empty() ? "" : " AND plan = ?5");
  const std::string columns =
      "SELECT id, at, product, device, plan, component, event, old_state, new_state, reason,"
      " attempt, detail FROM history WHERE id > ?1" +
      filter;
  const auto values = [&](std::int64_t after, std::int64_t limit) {
    // A filter that is not there has no parameter; what is bound beyond is ignored.
    return Values{after, limit, device ? Value(device->product) : Value(),
                  device ? Value(device->device) : Value(), plan};
  };
  auto rows = admin->Query("SELECT * FROM (" + columns + " ORDER BY id DESC LIMIT ?2) ORDER BY id",
                           values(0, lines));
  if (!follow || !rows) {
    return PrintTable(context, rows);
  }
  std::int64_t last = 0;
  bool first = true;
  while (rows) {
    for (std::size_t i = 0; i < rows->rows.size(); ++i) {
      last = NumberAt(*rows, i, 0);
      const Rows one{rows->columns, {rows->rows[i]}};
      Print(context.json ? JsonObject(one) + "\n" : "");
    }
    if (!context.json && (first || !rows->rows.empty())) {
      std::string table = Table(*rows, WantsColour());
      Print(first ? table : table.substr(table.find('\n') + 1));
    }
    first = false;
    if (std::fflush(stdout) != 0) {
      return kOk;
    }
    std::this_thread::sleep_for(kPoll);
    rows = admin->Query(columns + " ORDER BY id LIMIT ?2", values(last, 1000));
  }
  return Report(rows.error());
}

int BackUp(const Context& context, const std::string& file) {
  auto names = Backup(context.database, file);
  if (!names) {
    return Report(names.error());
  }
  std::string list;
  std::string json;
  for (const std::string& name : *names) {
    list += (list.empty() ? "" : ", ") + name;
    json += (json.empty() ? "" : ", ") + JsonString(name);
  }
  Note(context, "wrote '" + file + "': " + list + ". Package files are not in it.");
  Print(context.json ? "{\"file\": " + JsonString(file) + ", \"parts\": [" + json + "]}\n" : "");
  return kOk;
}

int RestoreFrom(const Context& context, const std::string& file) {
  auto lines = Restore(context.database, file, Now());
  if (!lines) {
    return Report(lines.error());
  }
  std::string json;
  for (const std::string& line : *lines) {
    Note(context, line);
    json += (json.empty() ? "" : ", ") + JsonString(line);
  }
  Note(context,
       "Start the broker. It holds every plan until you have looked at it: otactl status, "
       "otactl release PLAN.");
  Print(context.json ? "{\"done\": [" + json + "]}\n" : "");
  return kOk;
}

}  // namespace ota::otactl
