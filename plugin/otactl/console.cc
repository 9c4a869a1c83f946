// See console.h.
#include "otactl/console.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <thread>

#include "otactl/output.h"
#include "package/descriptor.h"
#include "store/lock.h"
#include "store/who.h"

namespace ota::otactl {
namespace {

constexpr std::size_t kMaxFileBytes = std::size_t{1} << 30;

using core::ErrorCode;
using core::Fail;
using store::Admin;
using store::Rows;
using store::Value;

constexpr auto kLockWait = std::chrono::seconds(10);
constexpr std::size_t kAnswerState = 5;  // the column of Answers

}  // namespace

core::Instant Now() {
  return std::chrono::time_point_cast<core::Duration>(std::chrono::system_clock::now());
}

void Print(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

void Note(const Context& context, const std::string& text) {
  if (!context.json) {
    Print(Clean(text) + "\n");
  }
}

core::Result<store::Admin> Open(const Context& context) {
  return Admin::Open(context.database, kLockWait);
}

std::string TextAt(const Rows& rows, std::size_t row, std::size_t column) {
  const auto* text = std::get_if<std::string>(&rows.rows[row][column]);
  return text == nullptr ? "" : *text;
}

std::int64_t NumberAt(const Rows& rows, std::size_t row, std::size_t column) {
  const auto* number = std::get_if<std::int64_t>(&rows.rows[row][column]);
  return number == nullptr ? 0 : *number;
}

int PrintTable(const Context& context, const core::Result<Rows>& rows) {
  if (!rows) {
    return Report(rows.error());
  }
  Print(context.json ? Json(*rows) + "\n" : Table(*rows, WantsColour()));
  return kOk;
}

int Show(const Context& context, std::string_view sql, const Values& values) {
  auto admin = Open(context);
  return admin ? PrintTable(context, admin->Query(sql, values)) : Report(admin.error());
}

// One part of what a `show` command prints: a record, or a table under a title.

int ShowSections(const Context& context, const std::string& what, const std::vector<Section>& all,
                 const Values& values) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  std::string out;
  for (const Section& section : all) {
    auto rows = admin->Query(section.sql, values);
    if (!rows) {
      return Report(rows.error());
    }
    const bool first = out.empty();
    if (first && rows->rows.empty()) {
      return Report({ErrorCode::kNotFound, what + ": does not exist"});
    }
    if (context.json) {
      out += (first ? "{" : ",\n ") + JsonString(section.name) + ": " +
             (section.record ? JsonObject(*rows) : Json(*rows));
    } else if (!rows->rows.empty()) {
      out += first ? "" : std::string("\n") + section.name + "\n";
      out += section.record ? Record(*rows, WantsColour()) : Table(*rows, WantsColour());
    }
  }
  Print(context.json ? out + "}\n" : out);
  return kOk;
}

store::Author Author(const std::string& file, const std::string& sha256) {
  return {store::CurrentUser(), store::HostName(), file, sha256};
}

core::Result<store::Changes> Transact(Admin& admin, const std::string& command,
                                      const std::function<core::Result<void>()>& change) {
  auto done = admin.Begin();
  if (done) {
    done = admin.SetAuthor(Author("otactl " + command, ""), Now());
  }
  if (done) {
    done = change();
  }
  if (!done) {
    admin.Rollback();
    return tl::unexpected(done.error());
  }
  auto changes = admin.Commit();
  if (!changes) {
    admin.Rollback();
  }
  return changes;
}

core::Result<void> Execute(Admin& admin, std::string_view sql, const Values& values) {
  auto rows = admin.Query(sql, values);
  return rows ? core::Result<void>{} : tl::unexpected(rows.error());
}

bool Running(const Context& context) {
  return store::IsLocked(context.database);
}

void NoteIfStopped(const Context& context) {
  if (!Running(context)) {
    Note(context, "The broker is not running; the plugin acts on this when it starts.");
  }
}

core::Result<std::int64_t> InsertRequests(Admin& admin, const std::string& command,
                                          const std::vector<Request>& requests) {
  std::int64_t last = 0;
  auto changes = Transact(admin, command, [&]() -> core::Result<void> {
    for (const Request& request : requests) {
      auto rows = admin.Query(
          "INSERT INTO request (act, plan, product, device)"
          " VALUES (?1, nullif(?2, ''), nullif(?3, ''), nullif(?4, '')) RETURNING id",
          Values{request.act, request.plan, request.product, request.device});
      if (!rows) {
        return tl::unexpected(rows.error());
      }
      last = NumberAt(*rows, 0, 0);
    }
    return {};
  });
  if (!changes) {
    return tl::unexpected(changes.error());
  }
  return last - static_cast<std::int64_t>(requests.size()) + 1;
}

core::Result<Rows> Answers(Admin& admin, std::int64_t first, std::size_t count, int wait_s) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(wait_s);
  while (true) {
    auto rows = admin.Query(
        "SELECT id, act, plan, product, device, state, answer FROM request"
        " WHERE id >= ?1 AND id < ?2 ORDER BY id",
        Values{first, first + static_cast<std::int64_t>(count)});
    bool waits = false;
    for (std::size_t i = 0; rows && i < rows->rows.size(); ++i) {
      waits = waits || TextAt(*rows, i, kAnswerState) == "new";
    }
    if (!waits || std::chrono::steady_clock::now() >= end) {
      return rows;
    }
    std::this_thread::sleep_for(kPoll);
  }
}

int Ask(const Context& context, const std::string& command, const std::vector<Request>& requests,
        int wait_s) {
  auto admin = Open(context);
  if (!admin) {
    return Report(admin.error());
  }
  auto first = InsertRequests(*admin, command, requests);
  if (!first) {
    return Report(first.error());
  }
  auto rows = Answers(*admin, *first, requests.size(), wait_s);
  const int shown = PrintTable(context, rows);
  bool refused = false;
  for (std::size_t i = 0; rows && i < rows->rows.size(); ++i) {
    if (TextAt(*rows, i, kAnswerState) == "new") {
      return Report({ErrorCode::kUnavailable,
                     Running(context) ? "the engine has not answered yet; the request stays"
                                      : "the broker is not running: the request is answered when "
                                        "it starts"});
    }
    refused = refused || TextAt(*rows, i, kAnswerState) == "refused";
  }
  return shown == kOk && refused ? kNo : shown;
}

int Report(const core::Error& error) {
  std::fprintf(stderr, "otactl: %s\n", Clean(error.message).c_str());
  switch (error.code) {
    case ErrorCode::kNotFound:
      return kNo;
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kConflict:
    case ErrorCode::kInternal:
      return kRefused;
    case ErrorCode::kCorruption:
    case ErrorCode::kUnsupported:
    case ErrorCode::kUnavailable:
      break;
  }
  return kUnavailable;
}

core::Result<std::string> ReadFile(const std::string& path) {
  const package::Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  std::vector<char> buffer(std::size_t{256} * 1024);
  ssize_t got = file ? 1 : -1;
  while (got > 0 && text.size() < kMaxFileBytes) {
    got = read(file.get(), buffer.data(), buffer.size());
    if (got > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
  }
  if (got < 0) {
    return Fail(ErrorCode::kInvalidArgument,
                path + ": cannot be read: " + std::generic_category().message(errno));
  }
  if (got > 0) {
    return Fail(ErrorCode::kInvalidArgument, path + ": is longer than 1 GiB; give it in parts");
  }
  return text;
}

}  // namespace ota::otactl
