// A story: what people and devices do at a site and what they see, as text that can be read without
// programming. It runs the engine with a real database and real files; the test stands in for the
// broker and for the clock. README.md in this directory lists the sentences.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <SQLiteCpp/SQLiteCpp.h>

#include "engine/engine.h"

namespace ota::stories {

// The clocks of the site; they stand still until the story moves them. Any thread.
class Clock {
 public:
  engine::ClockReading Read() const;
  void Set(core::Instant wall);             // the wall clock alone
  void Pass(std::chrono::milliseconds by);  // time passes
  core::Instant wall() const;

 private:
  std::atomic<std::int64_t> wall_ms_{0};
  std::atomic<std::int64_t> monotonic_ms_{1'000'000'000};
};

class Story {
 public:
  explicit Story(std::filesystem::path file);
  ~Story();
  Story(const Story&) = delete;
  Story& operator=(const Story&) = delete;

  // Runs the whole story. Gives "" or what did not come about: line, expectation, what was there.
  std::string Run();

 private:
  struct Sentence {
    int line = 0;
    std::string text;
    std::vector<std::string> block;  // the indented lines below it
  };

  std::vector<Sentence> Read() const;
  std::string Tell(const Sentence& sentence);
  std::string Administrator(const Sentence& sentence, const std::string& refusal);
  std::string Table(const Sentence& sentence, const std::string& query);
  std::string Device(const Sentence& sentence, const std::string& name, const std::string& rest);
  std::string Says(const core::DeviceKey& key, const std::string& rest);
  std::string Hears(const core::DeviceKey& key, const std::string& rest);
  std::string Package(const std::string& rest);
  std::string Time(const std::string& text);

  void Start();
  void Stop();
  void Settle();  // until the engine has done what there is to do
  void Drain();
  bool Until(const std::function<bool()>& done);
  void Connect(const core::DeviceKey& key);
  void Disconnect(const core::DeviceKey& key);
  std::string Rows(const std::string& query);
  SQLite::Database& Shell();

  const std::filesystem::path file_;
  std::filesystem::path directory_;
  engine::Options options_;
  Clock clock_;
  std::unique_ptr<SQLite::Database> shell_;
  std::unique_ptr<engine::Inbox> inbox_;
  std::unique_ptr<engine::Outbox> outbox_;
  std::unique_ptr<engine::Engine> engine_;
  std::uint64_t connections_ = 0;
  std::map<core::DeviceKey, std::uint64_t> live_;
  std::map<core::DeviceKey, std::string> task_;  // of the last message that named one
  std::vector<engine::Message> heard_;
  std::vector<std::string> log_;
};

}  // namespace ota::stories
