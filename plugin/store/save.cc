// Values -> rows: what a decision says, and what workers found about files. See store.h. Engine
// thread.
#include <algorithm>

#include "core/names.h"
#include "store/connection.h"
#include "store/statements.h"

namespace ota::store {
namespace {

bool IsOpen(core::TaskState state) {
  switch (state) {
    case core::TaskState::kOffered:
    case core::TaskState::kPostponed:
    case core::TaskState::kAccepted:
    case core::TaskState::kDownloading:
    case core::TaskState::kWaiting:
    case core::TaskState::kInstalling:
    case core::TaskState::kRebooting:
    case core::TaskState::kRetrying:
      return true;
    case core::TaskState::kQueued:
    case core::TaskState::kSucceeded:
    case core::TaskState::kFailed:
    case core::TaskState::kRefused:
    case core::TaskState::kCanceled:
      return false;
  }
  return false;
}

void InsertDevice(Store::Impl& impl, core::Device& device) {
  impl.Write();
  impl.Ask(sql::kInsertDevice)
      .Run(device.key.product, device.key.device, device.boot_id, device.battery, device.signal,
           device.free_bytes, device.lang, device.max_bytes, device.sleep, device.registered,
           device.seen, device.reported);
  device.id = impl.database.getLastInsertRowid();
}

void UpdateDevice(Store::Impl& impl, const core::Device& device) {
  impl.Write();
  impl.Ask(sql::kUpdateDevice)
      .Run(device.id, device.boot_id, device.battery, device.signal, device.free_bytes, device.lang,
           device.max_bytes, device.sleep, device.registered, device.seen, device.reported);
}

// device.installed is the whole list: what it lacks is gone.
void SaveVersions(Store::Impl& impl, const core::Device& device) {
  impl.Write();
  std::vector<core::Installed> before;
  if (const Resting::Entry* kept = impl.resting.Find(device.key); kept != nullptr) {
    before = kept->known.device.installed;
  } else {
    before = LoadInstalled(impl, device.id);
  }
  for (const core::Installed& one : before) {
    if (std::ranges::find(device.installed, one.component, &core::Installed::component) ==
        device.installed.end()) {
      impl.Ask(sql::kDeleteVersion).Run(device.id, one.component);
    }
  }
  for (const core::Installed& one : device.installed) {
    const auto was = std::ranges::find(before, one.component, &core::Installed::component);
    if (was == before.end() || *was != one) {
      impl.Ask(was == before.end() ? sql::kInsertVersion : sql::kUpdateVersion)
          .Run(device.id, one.component, one.version, one.trial, one.since);
    }
  }
}

Status SaveTask(Store::Impl& impl, core::Task& task, std::int64_t device_id) {
  impl.Write();
  if (task.id == 0) {
    if (!task.plan) {
      return core::Fail(core::ErrorCode::kInternal, "task '" + task.name + "' has no plan");
    }
    impl.Ask(sql::kInsertTask)
        .Run(task.name, task.plan->name, device_id, core::Name(task.state), core::Name(task.reason),
             task.detail, task.code, task.owes_cancel, task.offers, task.retries, task.deadline,
             task.created, task.offered, task.ended, task.consent, task.position, task.progressed);
    task.id = impl.database.getLastInsertRowid();
  } else {
    impl.Ask(sql::kRenameTask).Run(task.id, task.name, task.created);
    impl.Ask(sql::kUpdateTaskState).Run(task.id, core::Name(task.state));
    impl.Ask(sql::kUpdateTaskEnd).Run(task.id, task.ended, task.owes_cancel);
    impl.Ask(sql::kUpdateTaskDeadline).Run(task.id, task.deadline);
    impl.Ask(sql::kUpdateTask)
        .Run(task.id, core::Name(task.reason), task.detail, task.code, task.offers, task.retries,
             task.offered, task.consent, task.position, task.progressed);
    impl.Ask(sql::kTrimTaskComponents)
        .Run(task.id, static_cast<std::int64_t>(task.components.size()));
  }
  int seq = 0;
  for (const core::TaskComponent& one : task.components) {
    impl.Ask(sql::kSaveTaskComponent)
        .Run(task.id, seq++, one.name, core::Name(one.state), one.source, one.target,
             core::Name(one.package), one.attempt, one.percent,
             one.progress ? core::Name(*one.progress) : std::string_view(), one.installing,
             one.boot_id, one.full, one.returned);
  }
  return {};
}

void WriteLog(Store::Impl& impl, const core::LogEntry& entry, const core::DeviceKey& key,
              core::Instant wall) {
  impl.Write();
  impl.lines.push_back({wall, key, entry});
  // What can be undone alone must not wait for what comes behind it.
  if (impl.undoable || impl.lines.size() == sql::kLogLines) {
    impl.WriteLines();
  }
}

}  // namespace

void Store::Impl::WriteLines() {
  const auto bind = [](Query& query, int at, const LogLine& line) {
    const core::LogEntry& entry = line.entry;
    query.BindLine(at, line.at, line.device.product, line.device.device, entry.plan, entry.task,
                   entry.component, entry.event, entry.old_state, entry.new_state,
                   core::Name(entry.reason), entry.attempt, entry.detail);
  };
  if (lines.size() == sql::kLogLines) {
    Query all = Ask(sql::kLogOfLines);
    for (int at = 0; const LogLine& line : lines) {
      bind(all, at++, line);
    }
    all.Run();
  } else {
    for (const LogLine& line : lines) {
      Query one = Ask(sql::kLog);
      bind(one, 0, line);
      one.Run();
    }
  }
  lines.clear();
}

Status Store::Save(core::Decision& decision, core::Instant wall) {
  return impl_->RunWrite([&]() -> Status {
    core::Device& device = decision.device;
    const bool registers = device.id == 0;
    if (registers &&
        (decision.device_changed || decision.installed_changed || !decision.tasks.empty())) {
      InsertDevice(*impl_, device);
    } else if (decision.device_changed) {
      UpdateDevice(*impl_, device);
    }
    if (decision.installed_changed || (registers && device.id != 0)) {
      SaveVersions(*impl_, device);
    }
    if (decision.streaks_changed && device.id != 0) {
      impl_->Write();
      impl_->Ask(sql::kDeleteStreaks).Run(device.id);
      for (const core::Streak& one : decision.streaks) {
        impl_->Ask(sql::kInsertStreak)
            .Run(device.id, one.component, one.target, one.failures, one.aside, one.until);
      }
    }
    // First those that are not open: one task may end and the next begin in the same decision.
    for (const bool open : {false, true}) {
      for (core::Task& task : decision.tasks) {
        if (IsOpen(task.state) != open) {
          continue;
        }
        if (Status saved = SaveTask(*impl_, task, device.id); !saved) {
          return saved;
        }
      }
    }
    for (const core::LogEntry& entry : decision.log) {
      WriteLog(*impl_, entry, device.key, wall);
    }
    if (Resting::Entry* kept = impl_->resting.Find(device.key); kept != nullptr) {
      if (decision.device_changed || registers) {
        kept->known.device = device;
        kept->known.device.connection = 0;  // not stored
        kept->known.device.reported_connection = 0;
      } else if (decision.installed_changed) {
        kept->known.device.installed = device.installed;
      }
      if (decision.streaks_changed) {
        kept->known.streaks = decision.streaks;
      }
      kept->idle = kept->idle && decision.tasks.empty();
      kept->unfailed = kept->unfailed && decision.tasks.empty();
    }
    return {};
  });
}

Status Store::AddTasks(std::span<const std::pair<DeviceRef, core::Task>> tasks,
                       core::Instant wall) {
  return impl_->RunWrite([&]() -> Status {
    core::LogEntry line;
    line.event = "plan";
    line.new_state = core::Name(core::TaskState::kQueued);
    line.detail = "the device matches";
    for (const auto& [device, task] : tasks) {
      core::Task copy = task;
      impl_->resting.Forget(device.key);
      if (Status saved = SaveTask(*impl_, copy, device.id); !saved) {
        return saved;
      }
      line.task = task.name;
      line.plan = task.plan->name;
      WriteLog(*impl_, line, device.key, wall);
    }
    return {};
  });
}

Status Store::SaveSeen(std::span<const core::Device> devices) {
  return impl_->RunWrite([&]() -> Status {
    for (const core::Device& device : devices) {
      impl_->resting.Forget(device.key);
      impl_->Write();
      impl_->Ask(sql::kUpdateSeen)
          .Run(device.id, device.seen, device.battery, device.signal, device.free_bytes,
               device.reported);
    }
    return {};
  });
}

Status Store::Log(const core::LogEntry& entry, const core::DeviceKey& key, core::Instant wall) {
  return impl_->RunWrite([&]() -> Status {
    WriteLog(*impl_, entry, key, wall);
    return {};
  });
}

core::Result<std::int64_t> Store::SavePackageState(const PackageFile& file) {
  return impl_->RunWrite([&]() -> core::Result<std::int64_t> {
    impl_->Write();
    std::int64_t id = 0;
    bool another = false;
    if (Query row = impl_->Ask(sql::kFileState);
        row.Bind(file.product, file.package, file.source, file.seq).Next()) {
      id = row.Int(0);
      const std::string sha256 = row.Text(2);
      another = row.Text(1) != file.path ||
                (!sha256.empty() && !file.sha256.empty() && sha256 != file.sha256);
    }
    if (another) {
      impl_->Ask(sql::kDeleteFileState).Run(id);
      id = 0;
    }
    if (id == 0) {
      impl_->Ask(sql::kInsertFileState)
          .Run(file.product, file.package, file.source, file.seq, file.path, Name(file.state),
               file.problem, file.bytes, file.sha256, file.md5, file.inode, file.mtime_ns,
               file.ctime_ns, file.checked);
      return impl_->database.getLastInsertRowid();
    }
    impl_->Ask(sql::kUpdateFileState)
        .Run(id, Name(file.state), file.problem, file.bytes, file.sha256, file.md5, file.inode,
             file.mtime_ns, file.ctime_ns, file.checked);
    return id;
  });
}

Status Store::Bind(const core::DeviceKey& key, const std::string& gateway) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kBind).Run(key.product, key.device, gateway);
    return {};
  });
}

Status Store::Unbind(const core::DeviceKey& key, const std::string& gateway) {
  return impl_->RunWrite([&]() -> Status {
    impl_->Write();
    impl_->Ask(sql::kUnbind).Run(key.product, key.device, gateway);
    return {};
  });
}

Status Store::ForgetGoneFiles() {
  return impl_->RunWrite([&]() -> Status {
    std::vector<std::int64_t> gone;
    for (Query rows = impl_->Ask(sql::kGoneFiles); rows.Next();) {
      gone.push_back(rows.Int(0));
    }
    for (const std::int64_t id : gone) {
      impl_->Write();
      impl_->Ask(sql::kDeleteFileState).Run(id);
    }
    return {};
  });
}

}  // namespace ota::store
