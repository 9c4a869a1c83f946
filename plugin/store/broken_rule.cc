// What a guard's text, a constant, cannot say when a rule of a profile is broken: the value and the
// limit. Rules are the words after "profile" that the view profile_rules knows; the value is that
// of the column that the text begins with, in the row that was about to be written.
#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>

#include "store/admin_watch.h"

namespace ota::store {
namespace {

// What hangs on a plan that is refused its activation: asked with its name.
struct Question {
  std::string_view word;  // of the guard's text
  std::string_view sql;
};
constexpr std::array<Question, 6> kQuestions{{
    {"langs",
     "SELECT 'plan_text: ' || coalesce(group_concat(lang, ' '), 'none') FROM plan_text"
     " WHERE plan = ?1"},
    {"max_listed",
     "SELECT count(*) || ' devices' FROM plan_device WHERE plan = ?1 AND list = 'white'"},
    {"max_tags", "SELECT count(*) || ' tags' FROM plan_tag WHERE plan = ?1"},
    {"package_verifications",
     "SELECT 'not verified: ' || group_concat(k.name, ', ') FROM plan_component c"
     " JOIN plan p ON p.name = c.plan JOIN package k ON k.product = p.product"
     "  AND k.name IN (c.\"full\", c.delta)"
     " WHERE c.plan = ?1 AND NOT EXISTS (SELECT 1 FROM verified v"
     "  WHERE v.product = k.product AND v.package = k.name)"},
    {"dynamic_unique",
     "SELECT 'dynamic plans with it: ' || group_concat(DISTINCT d.plan) FROM plan_component c"
     " JOIN plan p ON p.name = c.plan JOIN dynamic_sources d ON d.product = p.product"
     "  AND d.package IN (c.\"full\", c.delta) WHERE c.plan = ?1"},
    {"package_breaks",
     "SELECT group_concat(b.package || ': ' || b.rule || ' = ' || b.value || ', limit '"
     "  || b.\"limit\", '; ') FROM plan_component c JOIN plan p ON p.name = c.plan"
     " JOIN package_breaks b ON b.product = p.product AND b.package IN (c.\"full\", c.delta)"
     " WHERE c.plan = ?1"},
}};

std::string Shown(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    return *text;
  }
  const auto* number = std::get_if<std::int64_t>(&value);
  return number == nullptr ? "" : std::to_string(*number);
}

// "2592000 s (30 d)": in the largest unit that gives a whole number.
std::string Seconds(std::int64_t count) {
  struct Unit {
    std::int64_t seconds;
    const char* name;
  };
  for (const Unit& unit : {Unit{86400, " d"}, Unit{3600, " h"}, Unit{60, " min"}}) {
    if (count != 0 && count % unit.seconds == 0) {
      return std::to_string(count) + " s (" + std::to_string(count / unit.seconds) + unit.name +
             ")";
    }
  }
  return std::to_string(count) + " s";
}

std::string InUnit(const std::string& text, const std::string& unit) {
  std::int64_t count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (unit == "s" && error == std::errc{} && end == text.data() + text.size()) {
    return Seconds(count);
  }
  return text + (unit.empty() ? "" : " " + unit);
}

std::vector<std::string_view> Words(std::string_view text) {
  constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz_";
  std::vector<std::string_view> words;
  for (std::size_t at = 0; (at = text.find_first_of(kLetters, at)) != std::string_view::npos;) {
    const std::size_t end = std::min(text.find_first_not_of(kLetters, at), text.size());
    words.push_back(text.substr(at, end - at));
    at = end;
  }
  return words;
}

}  // namespace

std::string AdminState::BrokenRule(Admin& admin, std::string_view message) {
  const WatchState& watch = Of(admin);
  if (watch.table == "profile") {
    return {};
  }
  const auto field = [&](std::string_view column) -> Value {
    const auto found = watch.values.find(column);
    return found == watch.values.end() ? Value{} : found->second;
  };
  const auto ask = [&](std::string_view sql, std::span<const Value> parameters) {
    auto rows = admin.Query(sql, parameters);
    return rows ? std::move(rows->rows) : std::vector<std::vector<Value>>{};
  };
  const Value plan = watch.table == "plan" ? field("name") : field("plan");
  const Value product = watch.table == "product" ? field("name") : field("product");
  const std::array<Value, 3> of{field("profile"), product, plan};
  const auto rules =
      ask("SELECT profile, rule, \"limit\", unit FROM profile_rules WHERE profile = coalesce(?1,"
          " (SELECT profile FROM product WHERE name = coalesce(?2,"
          "  (SELECT product FROM plan WHERE name = ?3))))",
          of);
  std::string value;
  std::string limits;
  for (const std::string_view word :
       Words(message.substr(std::min(message.find("profile"), message.size())))) {
    const auto rule = std::ranges::find_if(
        rules, [&](const std::vector<Value>& row) { return Shown(row[1]) == word; });
    if (rule != rules.end() && limits.find(std::string(word) + " = ") == std::string::npos) {
      limits += (limits.empty() ? "profile '" + Shown((*rule)[0]) + "': " : ", ") +
                std::string(word) + " = " + InUnit(Shown((*rule)[2]), Shown((*rule)[3]));
    }
  }
  const std::vector<std::string_view> words = Words(message);
  for (const Question& question : kQuestions) {
    if (watch.table == "plan" && std::ranges::find(words, question.word) != words.end()) {
      const std::array<Value, 1> name{plan};
      const auto rows = ask(question.sql, name);
      value = rows.empty() ? "" : Shown(rows[0][0]);
    }
  }
  const std::size_t dot = message.find('.') + 1;
  const std::string_view column = message.substr(dot, message.find_first_of(",: ", dot) - dot);
  if (value.empty() && !limits.empty() && message.starts_with(watch.table) && column != "wanted" &&
      watch.values.contains(column)) {
    const std::array<Value, 3> times{field(column), field("start_ms"), std::string(column)};
    const auto rows = column.ends_with("_ms")
                          ? ask("SELECT iif(?3 = 'end_ms' AND ?2 IS NOT NULL, ?1 - ?2,"
                                " ?1 - (SELECT ms FROM now)) / 1000",
                                times)
                          : std::vector<std::vector<Value>>{};
    const bool after_start = column == "end_ms" && !Shown(times[1]).empty();
    value = std::string(column) + " = ";
    if (rows.empty()) {
      value += Shown(times[0]).empty() ? "NULL"
                                       : InUnit(Shown(times[0]), column.ends_with("_s") ? "s" : "");
    } else {
      value += (after_start ? "start_ms + " : "now + ") + InUnit(Shown(rows[0][0]), "s");
    }
  }
  const bool both = !value.empty() && !limits.empty();
  return value.empty() && limits.empty() ? "" : "; " + value + (both ? ", " : "") + limits;
}

}  // namespace ota::store
