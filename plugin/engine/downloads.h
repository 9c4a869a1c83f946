// The files of packages: has them hashed by the workers, keeps package_state, hands the download
// server its table, and sends files block by block over MQTT. Engine thread only, but for what the
// workers run.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/model.h"
#include "core/result.h"
#include "engine/block_queue.h"
#include "engine/exchange.h"
#include "engine/inbox.h"
#include "engine/options.h"
#include "engine/outbox.h"
#include "guard/rate.h"
#include "package/address.h"
#include "package/served_files.h"
#include "package/server.h"
#include "package/workers.h"
#include "store/store.h"

namespace ota::engine {

class Downloads {
 public:
  // Opens the store directory, the key and the server's port, and starts the threads. Fails with a
  // mistake of the configuration.
  static core::Result<std::unique_ptr<Downloads>> Start(const Options& options, Inbox& inbox,
                                                        Outbox& outbox);
  ~Downloads();

  // Where devices fetch files, for Exchange.
  Delivery delivery() const;

  // Reads which files packages have now, and has those hashed that were not. Inside a transaction.
  store::Status Refresh(store::Store& store, core::Now now);

  // Writes what the workers have found since. Gives true when the catalogue is out of date. Inside
  // a transaction.
  core::Result<bool> SaveFindings(store::Store& store, core::Now now);
  bool has_findings() const { return !findings_.empty(); }

  // Downloads that have shown signs of life since the last call: device row and file.
  std::vector<std::pair<std::int64_t, std::int64_t>> TakeSigns();
  bool has_signs() const { return !signs_.empty(); }

  void Committed();
  void Undone();

  // Granted blocks take their turn within the budgets (ServeDue).
  void Serve(BlockJob job);
  // Has workers read and send the blocks whose time has come. `wanted`: their device is still
  // there.
  void ServeDue(const std::function<bool(const BlockJob&)>& wanted);
  std::optional<std::chrono::steady_clock::time_point> next_block() const { return blocks_.Next(); }

  // Has a worker look whether the store directory is still the one that its path names (a disk may
  // be mounted there by now), whether every file is still what it was, and whether a missing one
  // has come; a file whose digest has failed is tried again. About once a minute.
  void Check();

  // Opens key and store directory again (SIGHUP). Gives log lines for what failed; what failed
  // stays as it was.
  std::vector<LogLine> Reload(const Options& options);

  // Limits that follow from the registry and from `setting`.
  void SetReserved(std::int64_t devices);
  void SetBytesPerSecond(std::int64_t rate);

  // False: downloads and blocks that run are cut, new ones get 503.
  void SetServing(bool serving);
  // The same for these devices (rows), over HTTP; blocks are core's to refuse.
  void SetHeld(std::unordered_set<std::int64_t> devices);

  void Stop();

 private:
  using Key =
      std::tuple<std::string, std::string, std::string, int>;  // product, package, source, seq

  struct Finding {
    Key key;
    std::string path;  // that was looked at
    core::Result<package::FileFacts> facts;
  };

  Downloads(const Options& options, Inbox& inbox, Outbox& outbox)
      : inbox_(inbox),
        outbox_(outbox),
        blocks_(options.block_bytes_per_second, options.block_bytes_per_device) {}

  static Key KeyOf(const store::PackageFile& file);
  void Hash(const store::PackageFile& file);
  void HashAgain(std::int64_t file);
  void Sign(std::int64_t device, std::int64_t file);
  void Submit();
  core::Result<void> OpenAgain();  // the store directory
  void BuildTable();
  void Read(BlockJob job);
  // False: the device's dialect has no such answer, or none that fits.
  bool Refuse(const BlockJob& job, core::ReplyCode code, std::string why);
  // A line, at most one a minute, about a piece of work of a worker or of the server that has ended
  // with an exception. `name` may be empty. Their threads; does not throw.
  void Failed(std::string_view what, std::string_view name, const std::exception& why) noexcept;

  Inbox& inbox_;
  Outbox& outbox_;
  BlockQueue blocks_;
  std::string directory_;
  std::shared_ptr<const package::Descriptor> store_fd_;
  std::shared_ptr<package::Files> files_;
  std::unique_ptr<package::AddressKey> key_;  // null: another web server serves `base_`
  std::string base_;
  core::seconds lifetime_{0};
  std::unique_ptr<package::Workers> workers_;
  std::unique_ptr<package::Server> server_;

  std::map<Key, store::PackageFile> rows_;
  std::map<Key, std::string> hashing_;        // path that is being hashed, or waits for it
  std::map<Key, package::FileFacts> looked_;  // what a refused file was when it was last hashed
  std::deque<std::pair<Key, std::string>> waiting_;  // the first one is with a worker, if any is
  // A worker has one; it says itself when it has failed, for it may have no memory to post that.
  std::atomic<bool> inspecting_{false};
  std::atomic<bool> checking_{false};
  std::vector<Finding> findings_;
  std::size_t saved_ = 0;  // of findings_, by the open transaction
  std::vector<std::pair<std::int64_t, std::int64_t>> signs_;
  std::map<std::pair<std::int64_t, std::int64_t>, std::chrono::steady_clock::time_point> signed_;
  std::vector<LogLine> said_;  // by the open transaction
  bool table_changed_ = false;
  std::atomic<bool> serving_{true};  // workers read it
  guard::OncePerMinute surplus_;     // requests for blocks that were dropped in silence
  std::unordered_set<std::int64_t> held_;
  std::mutex failed_mutex_;
  guard::OncePerMinute failed_;  // guarded by failed_mutex_
};

}  // namespace ota::engine
