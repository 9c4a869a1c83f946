// Commands: plan list, show, activate, pause, resume, cancel, retry.
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

int ListPlans(const Context& context, const std::string& product) {
  return Show(context,
              "SELECT plan, product, wanted, state, to_be_pushed, pushed, in_upgrade, updated,"
              " failed, rejected, canceled, success_rate, reason FROM plans"
              " WHERE ?1 = '' OR product = ?1 ORDER BY product, plan",
              {product});
}

int ShowPlan(const Context& context, const std::string& plan, bool devices) {
  std::vector<Section> sections{
      {"plan", true, "SELECT * FROM plans WHERE plan = ?1"},
      {"components", false,
       "SELECT seq, component, type, target, \"full\", delta, sources FROM plan_components"
       " WHERE plan = ?1 ORDER BY seq"},
      {"states", false,
       "SELECT shown_detail AS shown, state, reason_text AS reason, count(*) AS devices"
       " FROM plan_devices WHERE plan = ?1 GROUP BY 1, 2, 3 ORDER BY 4 DESC"},
      {"failures", false,
       "SELECT component, source, target, reason_text AS reason, devices, detail FROM plan_failures"
       " WHERE plan = ?1 ORDER BY devices DESC"},
      {"durations", true,
       "SELECT updated, median_s, mean_s, fastest_s, slowest_s FROM plan_durations"
       " WHERE plan = ?1"},
  };
  if (devices) {
    sections.push_back(
        {"devices", false,
         "SELECT device, shown_detail AS shown, state, reason_text AS reason, detail,"
         " percent, attempt, next_retry, last_error, deadline, since, task"
         " FROM plan_devices WHERE plan = ?1 ORDER BY device"});
  }
  return ShowSections(context, "plan '" + plan + "'", sections, {plan});
}

int SetWanted(const Context& context, const std::string& plan, const std::string& from,
              const std::string& wanted, const std::string& at_cancel) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  const std::string name = "plan '" + plan + "'";
  auto changes = Transact(*admin, "plan " + plan + " " + wanted, [&]() -> core::Result<void> {
    auto now = admin->Query("SELECT wanted FROM plan WHERE name = ?1", Values{plan});
    if (!now) {
      return tl::unexpected(now.error());
    }
    if (now->rows.empty()) {
      return Fail(ErrorCode::kNotFound, name + ": does not exist");
    }
    const std::string was = TextAt(*now, 0, 0);
    if (was != wanted && !from.empty() && was != from) {
      return Fail(ErrorCode::kConflict, name + ": is " + was + ", not " + from);
    }
    return Execute(*admin,
                   "UPDATE plan SET wanted = ?2, at_cancel = coalesce(nullif(?3, ''), at_cancel)"
                   " WHERE name = ?1",
                   {plan, wanted, at_cancel});
  });
  if (!changes) {
    core::Error error = changes.error();
    if (error.message.find(name) == std::string::npos) {
      error.message = name + ": " + error.message;
    }
    return Report(error);
  }
  if (context.json) {
    auto rows =
        admin->Query("SELECT plan, wanted, state, reason FROM plans WHERE plan = ?1", Values{plan});
    Print(rows ? JsonObject(*rows) + "\n" : "");
    return rows ? kOk : Report(rows.error());
  }
  auto ends = admin->Query(
      "SELECT CASE coalesce(p.at_cancel, f.at_cancel) WHEN 'all' THEN 'all its tasks end'"
      "  WHEN 'queued' THEN 'its tasks that were not offered end, the others go on'"
      "  ELSE 'its tasks that wait for its start end, the others go on' END"
      " FROM plan p JOIN rules_of f ON f.product = p.product WHERE p.name = ?1 AND ?2 = 'canceled'",
      Values{plan, wanted});
  Note(context, name + (changes->empty() ? ": was " : ": is now ") + wanted +
                    (changes->empty() ? " already" : "") +
                    (ends && !ends->rows.empty() ? ": " + TextAt(*ends, 0, 0) : ""));
  auto waits = admin->Query(
      "SELECT 'It is ' || state || ' (' || reason || '); to let it go on: otactl release ' || plan"
      " FROM plans WHERE plan = ?1 AND state IN ('held', 'halted') AND ?2 = 'active'",
      Values{plan, wanted});
  if (waits && !waits->rows.empty()) {
    Note(context, TextAt(*waits, 0, 0));
  }
  NoteIfStopped(context);
  return kOk;
}

int RetryPlan(const Context& context, const std::string& plan,
              const std::vector<std::string>& devices, int wait_s) {
  std::vector<Request> requests;
  requests.reserve(devices.size());
  for (const std::string& device : devices) {
    requests.push_back({"retry", plan, "", device});
  }
  if (requests.empty()) {
    requests.push_back({"retry", plan, "", ""});
  }
  return Ask(context, "plan retry " + plan, requests, wait_s);
}

}  // namespace ota::otactl
