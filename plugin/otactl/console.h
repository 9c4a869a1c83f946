// What the commands of otactl share: the connection, tables and records to standard output, one
// transaction under the name of the command, and requests to the engine with their answers.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "otactl/commands.h"
#include "store/admin.h"

namespace ota::otactl {

using Values = std::vector<store::Value>;

constexpr auto kPoll = std::chrono::milliseconds(200);

core::Instant Now();

void Print(const std::string& text);
// A line for people: nothing with --json.
void Note(const Context& context, const std::string& text);

core::Result<store::Admin> Open(const Context& context);

// One field of a result; empty or 0 for NULL and for another type.
std::string TextAt(const store::Rows& rows, std::size_t row, std::size_t column);
std::int64_t NumberAt(const store::Rows& rows, std::size_t row, std::size_t column);

// Prints the rows, or the error, and gives the exit code.
int PrintTable(const Context& context, const core::Result<store::Rows>& rows);
// Opens the database and prints the rows of one statement.
int Show(const Context& context, std::string_view sql, const Values& values);

// One part of what a `show` command prints: a record, or a table under a title.
struct Section {
  const char* name;
  bool record;
  std::string_view sql;
};
// Prints the sections for one thing; it does not exist when the first one is empty.
int ShowSections(const Context& context, const std::string& what, const std::vector<Section>& all,
                 const Values& values);

store::Author Author(const std::string& file, const std::string& sha256);
// Runs `change` in one transaction under the name of the command; nothing of it stays when it
// fails.
core::Result<store::Changes> Transact(store::Admin& admin, const std::string& command,
                                      const std::function<core::Result<void>()>& change);
core::Result<void> Execute(store::Admin& admin, std::string_view sql, const Values& values);

// The bytes of a file of at most 1 GiB. Fails with kInvalidArgument: "PATH: reason".
core::Result<std::string> ReadFile(const std::string& path);

// Whether the plugin runs on this database.
bool Running(const Context& context);
void NoteIfStopped(const Context& context);

// A request to the engine; what is empty is NULL.
struct Request {
  std::string act;
  std::string plan;
  std::string product;
  std::string device;
};
// Inserts the requests in one transaction, with consecutive ids, and gives the first one.
core::Result<std::int64_t> InsertRequests(store::Admin& admin, const std::string& command,
                                          const std::vector<Request>& requests);
// Waits until the engine has answered all of them, or for `wait_s`; gives their rows (id, act,
// plan, product, device, state, answer).
core::Result<store::Rows> Answers(store::Admin& admin, std::int64_t first, std::size_t count,
                                  int wait_s);
// Inserts the requests, waits for the answers, prints them and gives the exit code.
int Ask(const Context& context, const std::string& command, const std::vector<Request>& requests,
        int wait_s);

}  // namespace ota::otactl
